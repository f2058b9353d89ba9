"""Panels of pictures that show what a generator has learnt (D): what to draw, apart from drawing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UsageError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.data.tags import Vocabulary

ROWS, COLUMNS = 8, 8
NOISES = 4
"""Rows of a panel that varies one tag: so many different noises."""


@dataclass(frozen=True)
class Panel:
    """Picture i has the labels ``labels[i]`` and noise number ``noises[i]``; rows of ``columns``, each named."""

    labels: NDArray[np.int64]
    noises: NDArray[np.int64]
    columns: int
    rows: tuple[str, ...]


def panel_names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """``noise``, one per tag group, and ``grid`` where there are two groups or more."""
    return ("noise", *vocabulary.names, *(["grid"] if len(vocabulary.names) > 1 else []))


def make_panel(name: str, vocabulary: Vocabulary, labels: NDArray[np.int64]) -> Panel:
    """Plan a panel.

    Args:
        name: ``noise``: same tags along a row, another noise in each column. A tag group: same noise along a row, every
            class of the group in turn, all else equal. ``grid``: one noise, classes of the first group down and of the
            second across.
        vocabulary: the tags.
        labels: ``(m, groups)`` complete labels of the data, whose commonest combinations are shown.

    Raises:
        UsageError: no such panel.
    """
    names = panel_names(vocabulary)
    if name not in names:
        raise UsageError(f"unknown panel {name!r}; allowed: {', '.join(names)}{nearest(name, names)}")
    if name == "noise":
        rows = common_tags(labels)
        return Panel(
            rows.repeat(COLUMNS, axis=0), np.tile(np.arange(COLUMNS), len(rows)), COLUMNS,
            tuple(vocabulary.describe(row.tolist()) for row in rows),
        )  # fmt: skip
    common = common_tags(labels, most=1)[0]
    if name == "grid":
        down, across = vocabulary.sizes[:2]
        shown = np.tile(common, (down * across, 1))
        shown[:, 0], shown[:, 1] = np.repeat(np.arange(down), across), np.tile(np.arange(across), down)
        first = vocabulary.groups[0]
        return Panel(shown, np.zeros(len(shown), np.int64), across, tuple(f"{c} {first.name}" for c in first.classes))
    place = vocabulary.index(name)
    size = vocabulary.sizes[place]
    shown = np.tile(common, (NOISES * size, 1))
    shown[:, place] = np.tile(np.arange(size), NOISES)
    return Panel(shown, np.arange(NOISES).repeat(size), size, tuple(f"noise {row + 1}" for row in range(NOISES)))


def common_tags(labels: NDArray[np.int64], most: int = ROWS) -> NDArray[np.int64]:
    """Up to ``most`` label rows ``(rows, groups)``: the commonest combination of each of the commonest classes of the
    first group, so that the rows differ in it and none is a combination the data hardly knows.
    """
    classes, counts = np.unique(labels[:, 0], return_counts=True)
    rows = []
    for chosen in classes[np.argsort(-counts, kind="stable")][:most]:
        combinations, often = np.unique(labels[labels[:, 0] == chosen], axis=0, return_counts=True)
        rows.append(combinations[np.argmax(often)])
    return np.stack(rows)
