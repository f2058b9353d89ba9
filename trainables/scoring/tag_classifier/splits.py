"""Stratified held-out split that keeps rare tags on both sides and near-duplicates on one."""

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
    """Split images into training and held-out ones.

    Near-duplicate groups are drawn, not images. They are sorted by label combination and every ``1 / holdout``-th is
    held out, so each combination contributes its share to within one. Then every class that occurs in two or more
    groups gets at least one on each side, unless classes compete for the same group; a class that occurs in only one
    group is trained on.

    Args:
        labels: ``(n, tag groups)`` class indices or ``UNKNOWN``.
        groups: ``(n,)`` near-duplicate group number of each image.
        holdout: share of the images to hold out, in (0, 1).
        seed: seed of the split.

    Returns:
        Ascending image indices ``(train, held_out)``, a partition of ``range(n)``.

    Raises:
        UsageError: a share outside (0, 1), or shapes that do not match.
    """
    if not 0.0 < holdout < 1.0:
        raise UsageError(f"held-out share {holdout} is out of range; allowed: above 0 and below 1")
    if labels.ndim != 2 or groups.shape != (len(labels),):
        raise UsageError(f"cannot split: labels {labels.shape} and groups {groups.shape} do not match")
    _, first, unit_of = np.unique(groups, return_index=True, return_inverse=True)
    held = _sample_systematically(labels[first], holdout, np.random.default_rng(seed))
    _ensure_both_sides(_class_membership(labels, unit_of, len(first)), held)
    picked = held[unit_of]
    return np.flatnonzero(~picked), np.flatnonzero(picked)


def _sample_systematically(labels: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Systematic sampling: shuffle, sort by label combination, take evenly spaced rows from a random start."""
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.lexsort(labels[shuffled].T[::-1])]
    steps = np.floor(rng.random() + share * np.arange(len(labels) + 1))
    taken = np.zeros(len(labels), dtype=np.bool_)
    taken[order] = np.diff(steps) > 0
    return taken


def _class_membership(labels: NDArray[np.int64], unit_of: NDArray[np.int64], units: int) -> NDArray[np.bool_]:
    """``(classes of all tag groups, units)``: whether a near-duplicate group contains an image of a class."""
    rows = []
    for column in labels.T:
        for value in np.unique(column[column != UNKNOWN]):
            row = np.zeros(units, dtype=np.bool_)
            row[unit_of[column == value]] = True
            rows.append(row)
    return np.stack(rows) if rows else np.zeros((0, units), dtype=np.bool_)


def _ensure_both_sides(carriers: NDArray[np.bool_], held: NDArray[np.bool_]) -> None:
    """Move single units, in place, until each class has a unit to train on and, if it has two, one held out.

    Training comes second because it has priority if both are impossible. Of the candidates, the unit moves whose
    scarcest class is most frequent on the side that it leaves.
    """
    for side, needed in ((True, 2), (False, 1)):
        for row in carriers:
            if row.sum() < needed or (row & (held == side)).any():
                continue
            candidates = np.flatnonzero(row)
            remaining = (carriers & (held != side)).sum(axis=1)
            scarcest = [remaining[carriers[:, unit]].min() for unit in candidates]
            held[candidates[int(np.argmax(scarcest))]] = side
