"""Image grids with labels, and lossless image files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from trainables.data.images import as_picture
from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_GAP = 2
_INK = (40, 40, 40)
_PAPER = (255, 255, 255)
GEOMETRY: Final = "gansweep.grid"
"""Name of the text of a PNG file that says where a grid's images are, as a JSON object: ``left`` and ``top`` of the
first, the ``size`` of each and the ``gap`` between two, in pixels. ``analysis.plots.grids`` reads it."""


def grid(
    pixels: NDArray[np.uint8],
    columns: int,
    labels: Sequence[str] = (),
    scale: int = 1,
    headings: Sequence[str] = (),
) -> Image.Image:
    """Arrange images ``(n, s, s, 3)`` or ``(n, s, s, 1)`` in rows of ``columns``, enlarged ``scale`` times.

    ``labels`` (one line each) are drawn left of the rows, ``headings`` (at most two lines) above the columns. Where the
    images are is in the grid's ``info``; ``write_png`` keeps it in the file.
    """
    size = pixels.shape[1] * scale
    rows = -(-len(pixels) // columns)
    font = ImageFont.load_default(size=max(10, min(16, size // 4)))
    margin = max((int(font.getlength(text)) for text in labels), default=-2 * _GAP) + 2 * _GAP
    small = ImageFont.load_default(size=10)
    top = int(2.5 * 10) if headings else 0
    sheet = Image.new("RGB", (margin + columns * (size + _GAP), top + rows * (size + _GAP)), _PAPER)
    sheet.info[GEOMETRY] = json.dumps({"left": margin, "top": top, "size": size, "gap": _GAP})
    pen = ImageDraw.Draw(sheet)
    for column, text in enumerate(headings):
        middle = (margin + column * (size + _GAP) + size // 2, top // 2)
        pen.multiline_text(middle, text, fill=_INK, font=small, anchor="mm", align="center", spacing=0)
    for row, text in enumerate(labels):
        pen.text((_GAP, top + row * (size + _GAP) + size // 2), text, fill=_INK, font=font, anchor="lm")
    for place, image in enumerate(pixels):
        tile = as_picture(image).resize((size, size), Image.Resampling.NEAREST)
        sheet.paste(tile, (margin + place % columns * (size + _GAP), top + place // columns * (size + _GAP)))
    return sheet


def write_png(image: Image.Image, path: Path) -> None:
    """Write a PNG file; that of a grid says where its images are."""
    text = PngImagePlugin.PngInfo()
    if GEOMETRY in image.info:
        text.add_text(GEOMETRY, image.info[GEOMETRY])
    # The size of Pillow's default of 6, in two fifths of the time.
    image.save(path, format="PNG", pnginfo=text, compress_level=4)


def save_image(image: Image.Image, path: Path) -> None:
    """Write a ``.png`` or a lossless ``.webp`` atomically."""
    with atomic_write(path) as partial:
        if path.suffix.lower() == ".webp":
            image.save(partial, format="WEBP", lossless=True)
        else:
            write_png(image, partial)
