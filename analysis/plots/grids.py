"""Sample grids beside each other: of the best trials, and of one trial through its training."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP, _LINE = 8, 18


def data_uri(picture: Image.Image, width: int | None = None, quality: int = 80) -> str:
    """A picture as text that a page can show without a request: WebP, at most ``width`` pixels wide."""
    shown = picture.convert("RGB")
    if width is not None and shown.width > width:
        shown = shown.resize((width, max(1, round(shown.height * width / shown.width))), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    shown.save(file, format="WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def kimg_of(name: str) -> int | None:
    """The training in kimg at which a sample grid was drawn, from its file name ``kimg-000120.png``."""
    found = re.fullmatch(r"kimg-(\d+)\.png", Path(name).name)
    return int(found[1]) if found else None


def strip_of(names: Sequence[str], most: int = 6) -> list[str]:
    """Up to ``most`` sample grids of a trial, evenly spread over its training, first and last among them."""
    ordered = sorted((name for name in names if kimg_of(name) is not None), key=lambda name: kimg_of(name) or 0)
    if len(ordered) <= most:
        return ordered
    return [ordered[round(place * (len(ordered) - 1) / (most - 1))] for place in range(most)]


def side_by_side(pictures: Sequence[tuple[str, Image.Image]], columns: int = 5, width: int = 360) -> Image.Image:
    """One picture of several, each ``width`` pixels wide below its caption, in rows of ``columns``."""
    if not pictures:
        raise ValueError("no picture to show")
    tiles = [
        (caption, one.convert("RGB").resize((width, max(1, round(one.height * width / one.width)))))
        for caption, one in pictures
    ]
    columns = min(columns, len(tiles))
    height = max(tile.height for _, tile in tiles) + _LINE + _GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (_GAP + columns * (width + _GAP), _GAP + rows * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for place, (caption, tile) in enumerate(tiles):
        left, top = _GAP + place % columns * (width + _GAP), _GAP + place // columns * height
        pen.text((left, top), caption, fill=(40, 40, 40), font=font)
        sheet.paste(tile, (left, top + _LINE))
    return sheet
