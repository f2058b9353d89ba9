"""Plans of image panels that show what a generator has learnt (D): the noise and tags of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.errors import UsageError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.data.tags import Vocabulary

RESERVED: Final = ("noise", "grid", "confusion", "translation")
"""Names of images in a trial's ``panels/`` that are not of one tag group."""
ROWS, COLUMNS = 8, 8
NOISES = 4
"""Number of rows, each with its own noise, of a panel that varies one tag."""


@dataclass(frozen=True)
class Panel:
    """Image i has the labels ``labels[i]`` and noise number ``noises[i]``; ``rows`` names the rows of ``columns``."""

    labels: NDArray[np.int64]
    noises: NDArray[np.int64]
    columns: int
    rows: tuple[str, ...]


def group_panel(group: str) -> str:
    """Return the name of a tag group's panel: the group's name, or ``tag=noise`` for a group called ``noise``.

    No group is called like that, since names of groups cannot contain ``=``.
    """
    return f"tag={group}" if group in RESERVED else group


def panel_names(vocabulary: Vocabulary, *, conditional: bool = True) -> tuple[str, ...]:
    """Return the panels: ``noise``, one per tag group, and ``grid`` for two groups or more; without tags, ``noise``."""
    if not conditional:
        return ("noise",)
    return ("noise", *map(group_panel, vocabulary.names), *(["grid"] if len(vocabulary.names) > 1 else []))


def make_panel(name: str, vocabulary: Vocabulary, labels: NDArray[np.int64], *, conditional: bool = True) -> Panel:
    """Plan a panel.

    Args:
        name: ``noise``: same tags along a row, another noise in each column. A tag group: same noise along a row, every
            class of the group in turn, all else equal. ``grid``: one noise, the classes of the first group in rows and
            of the second in columns. Without tags, ``noise`` is 64 different noises.
        vocabulary: the tags.
        labels: ``(m, groups)`` complete labels of the data; the panel shows their most common combinations.
        conditional: whether the generator takes tags.

    Raises:
        UsageError: there is no panel of that name.
    """
    names = panel_names(vocabulary, conditional=conditional)
    if name not in names:
        raise UsageError(f"unknown panel {name!r}; allowed: {', '.join(names)}{nearest(name, names)}")
    if not conditional:
        count = ROWS * COLUMNS
        return Panel(common_tags(labels, most=1).repeat(count, axis=0), np.arange(count), COLUMNS, ())
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
    place = [group_panel(group) for group in vocabulary.names].index(name)
    size = vocabulary.sizes[place]
    shown = np.tile(common, (NOISES * size, 1))
    shown[:, place] = np.tile(np.arange(size), NOISES)
    return Panel(shown, np.arange(NOISES).repeat(size), size, tuple(f"noise {row + 1}" for row in range(NOISES)))


def common_tags(labels: NDArray[np.int64], most: int = ROWS) -> NDArray[np.int64]:
    """Return up to ``most`` label rows ``(rows, groups)`` that are common in the data and differ in the first group.

    Each is the most common combination of one of the most common classes of the first group.
    """
    classes, counts = np.unique(labels[:, 0], return_counts=True)
    rows = []
    for chosen in classes[np.argsort(-counts, kind="stable")][:most]:
        combinations, occurrences = np.unique(labels[labels[:, 0] == chosen], axis=0, return_counts=True)
        rows.append(combinations[np.argmax(occurrences)])
    return np.stack(rows)
