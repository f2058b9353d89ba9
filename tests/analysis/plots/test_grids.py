from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from analysis.plots.grids import data_uri, kimg_of, side_by_side, strip_of


def test_a_picture_travels_as_text() -> None:
    text = data_uri(Image.new("RGB", (40, 20), (200, 10, 10)), width=20)
    kind, _, content = text.partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert (kind, picture.format, picture.size) == ("data:image/webp;base64", "WEBP", (20, 10))
    red, green, blue = picture.convert("RGB").getpixel((10, 5))  # type: ignore[misc]
    assert red > 180
    assert green < 40
    assert blue < 40
    small = Image.open(io.BytesIO(base64.b64decode(data_uri(Image.new("RGB", (8, 8)), width=20).partition(",")[2])))
    assert small.size == (8, 8)  # never enlarged


def test_the_strip_spans_the_training() -> None:
    names = [f"samples/kimg-{kimg:06d}.png" for kimg in range(0, 1100, 100)]
    assert [kimg_of(name) for name in strip_of(reversed(names), most=3)] == [0, 500, 1000]  # type: ignore[arg-type]
    assert strip_of(names[:2]) == names[:2]
    assert strip_of(["samples/other.png"]) == []


def test_pictures_side_by_side_keep_their_order_and_shape() -> None:
    colours = ["red", "lime", "blue"]
    sheet = side_by_side([(name, Image.new("RGB", (10, 20), name)) for name in colours], columns=2, width=30)
    # 8 pixels between, 18 for a caption: two columns of 30, two rows of 60
    assert sheet.size == (8 + 2 * 38, 8 + 2 * (60 + 18 + 8))
    places = [(20, 50), (60, 50), (20, 140)]
    assert [sheet.getpixel(place) for place in places] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    with pytest.raises(ValueError, match="no picture"):
        side_by_side([])
