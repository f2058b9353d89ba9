"""Confusion matrices of tags as one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_CELL = 44
_GAP = 8
_INK = "black"
_NEVER_ASKED: Final = (229, 229, 229)
_SHARES: Final = (0.0, 0.5, 1.0)
_COLOURS: Final = ((247, 251, 255), (107, 174, 214), (8, 48, 107))
"""Colours of cells at ``_SHARES`` of their row, linear in between."""


def draw_confusions(confusions: Mapping[str, Mapping[str, Any]]) -> Image.Image:
    """Draw a panel per tag group, cells in percent of the row, row totals on the left.

    Matplotlib takes a second for it, a third of the time of all scores of a small trial.

    Args:
        confusions: for each group its ``classes`` and ``confusion`` counts, requested on rows, predicted on columns.
    """
    panels = [
        _draw_panel(name, one["classes"], np.asarray(one["confusion"], np.int64)) for name, one in confusions.items()
    ]
    sheet = Image.new("RGB", (sum(panel.width for panel in panels), max(panel.height for panel in panels)), "white")
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width
    return sheet


def _draw_panel(group: str, classes: list[str], counts: NDArray[np.int64]) -> Image.Image:
    asked, right = counts.sum(axis=1), counts.diagonal()
    rows = [f"{name} ({total})" for name, total in zip(classes, asked.tolist(), strict=True)]
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=12)
    left = max(int(small.getlength(text)) for text in [*rows, "requested (images)"]) + 2 * _GAP
    below = max(int(small.getlength(name)) for name in classes) + 2 * _GAP
    top, side = 3 * 20 + _GAP, _CELL * len(classes)
    title = (
        f"{group}: {_percent(right.sum(), asked.sum())} right, mean of classes {_mean_percent(right, asked)}\n"
        "percent of the images of each row"
    )
    width = max(left + side, int(max(font.getlength(line) for line in title.split("\n"))) + _GAP) + 2 * _GAP
    panel = Image.new("RGB", (width, top + side + below + 20 + _GAP), "white")
    pen = ImageDraw.Draw(panel)
    pen.multiline_text((_GAP, _GAP), title, fill=_INK, font=font)
    pen.text((_GAP, top - 4), "requested (images)", fill=_INK, font=small, anchor="ls")
    pen.text((left + side // 2, top + side + below), "predicted by the tag classifier", fill=_INK, font=small,
             anchor="ma")  # fmt: skip
    for row, text in enumerate(rows):
        pen.text((left - _GAP, top + row * _CELL + _CELL // 2), text, fill=_INK, font=small, anchor="rm")
        for column in range(len(classes)):
            corner = (left + column * _CELL, top + row * _CELL)
            _draw_cell(pen, corner, int(counts[row, column]), int(asked[row]), small)
    for column, name in enumerate(classes):
        label = _upright(name, small)
        panel.paste(label, (left + column * _CELL + (_CELL - label.width) // 2, top + side + _GAP // 2))
    return panel


def _draw_cell(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    count: int,
    asked: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    share = count / asked if asked else 0.0
    colour = tuple(round(float(np.interp(share, _SHARES, tone))) for tone in zip(*_COLOURS, strict=True))
    opposite = (corner[0] + _CELL - 1, corner[1] + _CELL - 1)
    pen.rectangle([corner, opposite], fill=colour if asked else _NEVER_ASKED)
    if count:
        middle = (corner[0] + _CELL // 2, corner[1] + _CELL // 2)
        pen.text(middle, f"{100 * share:.0f}", fill="white" if share > 0.55 else _INK, font=font, anchor="mm")


def _upright(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> Image.Image:
    """Text that reads from the bottom to the top and ends at the top edge."""
    label = Image.new("RGB", (int(font.getlength(text)) + 2, 18), "white")
    ImageDraw.Draw(label).text((label.width, 9), text, fill=_INK, font=font, anchor="rm")
    return label.rotate(90, expand=True)


def _percent(hits: int, of: int) -> str:
    return f"{hits / of:.1%}" if of else "none"


def _mean_percent(right: NDArray[np.int64], asked: NDArray[np.int64]) -> str:
    seen = asked > 0
    return f"{(right[seen] / asked[seen]).mean():.1%}" if seen.any() else "none"
