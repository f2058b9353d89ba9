"""From tensors to pictures a person can look at."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trainables.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

_GAP = 2
_INK = (40, 40, 40)
_PAPER = (255, 255, 255)


def as_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor on the array's own memory, which may be read-only or shared by many trials: never write to it."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


def to_uint8(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1], values outside cut -> uint8, same shape."""
    import torch

    return pictures.float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)


def grid(
    pixels: NDArray[np.uint8],
    columns: int,
    labels: Sequence[str] = (),
    scale: int = 1,
    headings: Sequence[str] = (),
) -> Image.Image:
    """Pictures ``(n, s, s, 3)`` in rows of ``columns``, enlarged ``scale`` times.

    A label, of one line, stands left of each row, a heading, of two lines at most, above each column.
    """
    size = pixels.shape[1] * scale
    rows = -(-len(pixels) // columns)
    font = ImageFont.load_default(size=max(10, min(16, size // 4)))
    margin = max((int(font.getlength(text)) for text in labels), default=-2 * _GAP) + 2 * _GAP
    small = ImageFont.load_default(size=10)
    top = int(2.5 * 10) if headings else 0
    sheet = Image.new("RGB", (margin + columns * (size + _GAP), top + rows * (size + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, text in enumerate(headings):
        middle = (margin + column * (size + _GAP) + size // 2, top // 2)
        pen.multiline_text(middle, text, fill=_INK, font=small, anchor="mm", align="center", spacing=0)
    for row, text in enumerate(labels):
        pen.text((_GAP, top + row * (size + _GAP) + size // 2), text, fill=_INK, font=font, anchor="lm")
    for place, picture in enumerate(pixels):
        tile = Image.fromarray(np.ascontiguousarray(picture)).resize((size, size), Image.Resampling.NEAREST)
        sheet.paste(tile, (margin + place % columns * (size + _GAP), top + place // columns * (size + _GAP)))
    return sheet


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a ``.png``, or a ``.webp`` without loss, that appears whole or not at all."""
    with whole_file(path) as partial:
        if path.suffix.lower() == ".webp":
            picture.save(partial, format="WEBP", lossless=True)
        else:
            picture.save(partial, format="PNG")
