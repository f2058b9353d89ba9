"""A held-out split that respects rare tags and never parts near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stratified_split(
    labels: NDArray[np.int64], groups: NDArray[np.int64], holdout: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part pictures into training and held-out ones.

    Near-duplicate groups are drawn, not pictures. They are sorted by label combination and every
    ``1 / holdout``-th is held out, so each combination gives its share to within one. Then every class that
    two or more groups carry is given at least one on each side, as far as classes do not compete for the
    same group; a class that only one group carries is trained on.

    Args:
        labels: ``(n, tag groups)`` class indices or ``UNKNOWN``.
        groups: ``(n,)`` near-duplicate group number of each picture.
        holdout: share of the pictures to hold out, between 0 and 1 (both excluded).
        seed: the same seed gives the same split.

    Returns:
        Ascending picture indices ``(train, held_out)``, disjoint and together all ``n``.

    Raises:
        UsageError: an impossible share, or shapes that do not belong together.
    """
    if not 0.0 < holdout < 1.0:
        raise UsageError(f"held-out share {holdout} is impossible; allowed is above 0 and below 1")
    if labels.ndim != 2 or groups.shape != (len(labels),):
        raise UsageError(f"cannot split: labels {labels.shape} and groups {groups.shape} do not belong together")
    _, first, unit_of = np.unique(groups, return_index=True, return_inverse=True)
    held = _every_nth(labels[first], holdout, np.random.default_rng(seed))
    _ensure_both_sides(_carriers(labels, unit_of, len(first)), held)
    picked = held[unit_of]
    return np.flatnonzero(~picked), np.flatnonzero(picked)


def _every_nth(labels: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Systematic sampling: shuffle, sort by label combination, take evenly spaced rows from a random start."""
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.lexsort(labels[shuffled].T[::-1])]
    steps = np.floor(rng.random() + share * np.arange(len(labels) + 1))
    taken = np.zeros(len(labels), dtype=np.bool_)
    taken[order] = np.diff(steps) > 0
    return taken


def _carriers(labels: NDArray[np.int64], unit_of: NDArray[np.int64], units: int) -> NDArray[np.bool_]:
    """``(classes of all tag groups, units)``: which near-duplicate groups contain a picture of which class."""
    rows = []
    for column in labels.T:
        for value in np.unique(column[column != UNKNOWN]):
            row = np.zeros(units, dtype=np.bool_)
            row[unit_of[column == value]] = True
            rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, units), dtype=np.bool_)


def _ensure_both_sides(carriers: NDArray[np.bool_], held: NDArray[np.bool_]) -> None:
    """Move single units, in place, until each class has a unit to train on and, if it has two, one held out.

    Training comes second because it wins where both cannot be had. The unit that moves is one whose other
    classes keep the most company on the side it leaves.
    """
    for side, needed in ((True, 2), (False, 1)):
        for row in carriers:
            if row.sum() < needed or (row & (held == side)).any():
                continue
            candidates = np.flatnonzero(row)
            company = (carriers & (held != side)).sum(axis=1)
            scarcest = [company[carriers[:, unit]].min() for unit in candidates]
            held[candidates[int(np.argmax(scarcest))]] = side
