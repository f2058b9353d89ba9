"""Sample grids side by side: of the best trials, and of one trial over its training."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GAP, _LINE = 8, 18
GEOMETRY: Final = "gansweep.grid"
"""Text of a PNG file that says where a grid's images are; ``trainables.visuals.image_grid`` writes it."""
_INK, _LABEL = 40, 122
"""Brightness of the labels of a sample grid, and of those on a transparent one: readable on white and on black."""


def data_uri(image: Image.Image, width: int | None = None, quality: int = 80) -> str:
    """Encode an image as a WebP data URI, at most ``width`` pixels wide; transparency is kept."""
    shown = image if image.mode == "RGBA" else image.convert("RGB")
    if width is not None and shown.width > width:
        shown = shown.resize((width, max(1, round(shown.height * width / shown.width))), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    shown.save(file, format="WEBP", quality=quality)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def clear_paper(sheet: Image.Image) -> Image.Image:
    """Make the paper of a sample grid transparent and its labels grey, for light and dark pages alike.

    Returns:
        An RGBA image; the sheet itself if its file does not say where its images are, as those of earlier versions.
    """
    if (geometry := _geometry(sheet)) is None:
        return sheet
    left, top, size, gap = geometry
    pixels = np.asarray(sheet.convert("RGB"))
    rows, columns = (
        _is_tile(length, first, size, gap) for length, first in zip(pixels.shape[:2], (top, left), strict=True)
    )
    alpha = (255 - pixels.min(axis=2)).astype(np.float64) * (255 / (255 - _INK))
    inside = rows[:, None] & columns[None, :]
    clear = np.dstack([np.where(inside[..., None], pixels, _LABEL), np.where(inside, 255, np.minimum(alpha, 255))])
    return Image.fromarray(clear.astype(np.uint8), "RGBA")


def _geometry(sheet: Image.Image) -> tuple[int, int, int, int] | None:
    """Return ``left``, ``top``, ``size`` and ``gap`` of a grid's images, as its file says; ``None`` if it does not."""
    try:
        values = json.loads(sheet.info[GEOMETRY])
        left, top, size, gap = (int(values[name]) for name in ("left", "top", "size", "gap"))
    except (KeyError, TypeError, ValueError):
        return None
    return (left, top, size, gap) if min(left, top, gap) >= 0 and size > 0 else None


def _is_tile(length: int, first: int, size: int, gap: int) -> NDArray[np.bool_]:
    """Mark the pixels of an axis that belong to images."""
    places = np.arange(length) - first
    marked: NDArray[np.bool_] = (places >= 0) & (places % (size + gap) < size)
    return marked


def kimg_of(name: str) -> int | None:
    """Return the kimg at which a sample grid was drawn, from its file name ``kimg-000120.png``."""
    match = re.fullmatch(r"kimg-(\d+)\.png", Path(name).name)
    return int(match[1]) if match else None


def strip_of(names: Sequence[str], most: int = 6) -> list[str]:
    """Choose up to ``most`` sample grids of a trial, evenly spread over its training, including first and last."""
    ordered = sorted((name for name in names if kimg_of(name) is not None), key=lambda name: kimg_of(name) or 0)
    if len(ordered) <= most:
        return ordered
    return [ordered[round(index * (len(ordered) - 1) / (most - 1))] for index in range(most)]


def stack(images: Sequence[Image.Image]) -> Image.Image:
    """Combine images into one, each below the one before it, on white."""
    sheet = Image.new("RGB", (max(one.width for one in images), sum(one.height for one in images)), "white")
    top = 0
    for one in images:
        sheet.paste(one.convert("RGB"), (0, top))
        top += one.height
    return sheet


def side_by_side(images: Sequence[tuple[str, Image.Image]], columns: int = 5, width: int = 360) -> Image.Image:
    """Combine images into one, each ``width`` pixels wide below its caption, in rows of ``columns``."""
    if not images:
        raise ValueError("no image to show")
    tiles = [
        (caption, image.convert("RGB").resize((width, max(1, round(image.height * width / image.width)))))
        for caption, image in images
    ]
    columns = min(columns, len(tiles))
    height = max(tile.height for _, tile in tiles) + _LINE + _GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (_GAP + columns * (width + _GAP), _GAP + rows * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for index, (caption, tile) in enumerate(tiles):
        left, top = _GAP + index % columns * (width + _GAP), _GAP + index // columns * height
        pen.text((left, top), caption, fill=(40, 40, 40), font=font)
        sheet.paste(tile, (left, top + _LINE))
    return sheet
