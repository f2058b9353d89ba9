from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from analysis.plots.grids import clear_paper, data_uri, kimg_of, side_by_side, strip_of
from trainables.visuals.image_grid import grid, save_image

if TYPE_CHECKING:
    from pathlib import Path


def test_a_image_travels_as_text() -> None:
    text = data_uri(Image.new("RGB", (40, 20), (200, 10, 10)), width=20)
    kind, _, content = text.partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert (kind, image.format, image.size) == ("data:image/webp;base64", "WEBP", (20, 10))
    red, green, blue = image.convert("RGB").getpixel((10, 5))  # type: ignore[misc]
    assert red > 180
    assert green < 40
    assert blue < 40
    small = Image.open(io.BytesIO(base64.b64decode(data_uri(Image.new("RGB", (8, 8)), width=20).partition(",")[2])))
    assert small.size == (8, 8)  # never enlarged


@pytest.mark.parametrize("border", [0, 3])
def test_the_paper_of_a_sample_grid_becomes_transparent_and_no_image_changes(tmp_path: Path, border: int) -> None:
    # Two rows of three images of 16 pixels, 2 apart, with white borders that look like more paper.
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    images[3:, :, 16 - border :] = images[:, 16 - border :] = images[0] = 255
    save_image(grid(images, 3, ["a label", "another"], headings=["one", "two", "three"]), tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as file:
        sheet = file.convert("RGB")  # as it is read from MLflow
    left, top = sheet.width - 3 * 18, sheet.height - 2 * 18
    assert left > 20
    assert top > 8
    clear = clear_paper(sheet)
    assert (clear.mode, clear.size) == ("RGBA", sheet.size)
    paper = np.ones((sheet.height, sheet.width), bool)
    pixels, shown = np.asarray(sheet), np.asarray(clear)
    for index, image in enumerate(images):
        x, y = left + index % 3 * 18, top + index // 3 * 18
        assert (shown[y : y + 16, x : x + 16, :3] == image).all()
        assert (shown[y : y + 16, x : x + 16, 3] == 255).all()
        paper[y : y + 16, x : x + 16] = False
    assert (shown[paper][:, :3] == 122).all()
    assert (shown[paper & (pixels == 255).all(axis=2)][:, 3] == 0).all()
    for area in (paper[:, :left], paper[:top]):  # labels and headings
        assert shown[: area.shape[0], : area.shape[1], 3][area].max() > 200
    # Ink has a brightness of 40: a pixel that it covers by half has 147.5.
    covered = (255 - pixels[..., 0].astype(float)) / (255 - 40) * 255
    assert np.abs(np.minimum(covered, 255) - shown[..., 3])[paper].max() <= 1


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"left": 0, "top": 0, "size": 0, "gap": 2}'])
def test_a_sheet_that_does_not_say_where_its_images_are_stays_as_it_is(text: str | None) -> None:
    sheet = Image.new("RGB", (38, 38), "white")
    for place in ((0, 0), (18, 0), (0, 18), (18, 18)):
        sheet.paste("red", (*place, place[0] + 16, place[1] + 16))
    if text is not None:
        sheet.info["gansweep.grid"] = text
    assert clear_paper(sheet) is sheet


def test_the_strip_spans_the_training() -> None:
    names = [f"samples/kimg-{kimg:06d}.png" for kimg in range(0, 1100, 100)]
    assert [kimg_of(name) for name in strip_of(reversed(names), most=3)] == [0, 500, 1000]  # type: ignore[arg-type]
    assert strip_of(names[:2]) == names[:2]
    assert strip_of(["samples/other.png"]) == []


def test_images_side_by_side_keep_their_order_and_shape() -> None:
    colours = ["red", "lime", "blue"]
    sheet = side_by_side([(name, Image.new("RGB", (10, 20), name)) for name in colours], columns=2, width=30)
    # 8 pixels between, 18 for a caption: two columns of 30, two rows of 60
    assert sheet.size == (8 + 2 * 38, 8 + 2 * (60 + 18 + 8))
    places = [(20, 50), (60, 50), (20, 140)]
    assert [sheet.getpixel(place) for place in places] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    with pytest.raises(ValueError, match="no image"):
        side_by_side([])
