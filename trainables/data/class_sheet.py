"""One image with samples of every class, to see whether the labels mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from trainables.data.images import as_picture
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from trainables.data.dataset import TaggedImages

SAMPLES: Final = 8
"""Images of each class."""
MOST_ROWS: Final = 250
"""Classes on a sheet; the commonest of each group come first."""
_SIDE, _TEXT = 64, 220
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")


def check_sheet(path: Path) -> None:
    """Refuse a file that no sheet can be written to, before images are read.

    Raises:
        UsageError: another suffix, or no such folder.
    """
    if path.suffix.lower() not in SUFFIXES or not path.absolute().parent.is_dir():
        raise UsageError(f"--sheet {path}: expected a file {', '.join(SUFFIXES)} in a folder that exists")


def write_sheet(images: TaggedImages, path: Path) -> None:
    """Write a row of samples for each class, under its group, name and count.

    Raises:
        UserError: the file cannot be written.
    """
    rows: list[tuple[str, list[int]]] = []
    for place, group in enumerate(images.vocabulary.groups):
        counts = images.counts(group.name)
        for label in np.argsort(-counts, kind="stable").tolist():
            found = np.flatnonzero(images.labels[:, place] == label)
            spread = np.linspace(0, max(len(found) - 1, 0), min(SAMPLES, len(found))).astype(int)
            rows.append((f"{group.name}: {group.classes[label]} ({counts[label]})", found[spread].tolist()))
    rows = rows[:MOST_ROWS]
    sheet = Image.new("RGB", (_TEXT + SAMPLES * _SIDE, max(1, len(rows)) * _SIDE), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (text, chosen) in enumerate(rows):
        draw.text((4, row * _SIDE + _SIDE // 2 - 6), text.encode("ascii", "replace").decode(), fill="black")
        for column, index in enumerate(chosen):
            tile = as_picture(images.pixels[index]).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (_TEXT + column * _SIDE, row * _SIDE))
    try:
        sheet.save(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
