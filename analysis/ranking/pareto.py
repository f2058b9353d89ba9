"""Pareto front of trials, its hypervolume and its knee."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_SIGNS: Final = {"minimize": 1.0, "maximize": -1.0}


def pareto_front(values: ArrayLike, directions: Sequence[str]) -> NDArray[np.bool_]:
    """Mark the rows that no other row dominates, i.e. is at least as good in all columns and better in one.

    Equal rows do not dominate each other, so both are marked. A row with a missing or infinite value is never in the
    front: the value is unknown, or the trial diverged.

    Args:
        values: ``(n, k)``, one row per point, one column per objective.
        directions: ``minimize`` or ``maximize`` for each of the k columns.

    Returns:
        ``(n,)``. Takes O(n log n) for one or two objectives, O(n log n + n f) for more with f points in front.
    """
    costs = _costs(values, directions)
    front = np.zeros(len(costs), dtype=np.bool_)
    known = np.isfinite(costs).all(axis=1)
    if known.any():
        # Sorted by the first cost, then by the next: a row that dominates another comes before it.
        distinct, which = np.unique(costs[known], axis=0, return_inverse=True)
        front[known] = _undominated(distinct)[which.reshape(-1)]
    return front


def hypervolume_2d(points: ArrayLike, reference: Sequence[float]) -> float:
    """Compute the hypervolume of points in two dimensions, up to a reference point.

    Args:
        points: ``(n, 2)``, distance (less is better) and tag accuracy (more is better).
        reference: a distance and a tag accuracy; points worse in either add nothing.
    """
    directions = tuple(schema.OBJECTIVES.values())
    costs = _costs(points, directions)
    corner = _costs([reference], directions)[0]
    inside = costs[np.isfinite(costs).all(axis=1) & (costs < corner).all(axis=1)]
    if not len(inside):
        return 0.0
    distinct = np.unique(inside, axis=0)
    steps = distinct[_undominated(distinct)]  # a staircase: the first cost rises, the second falls
    widths = np.diff(steps[:, 0], append=corner[0])
    return float(widths @ (corner[1] - steps[:, 1]))


def knee(values: ArrayLike, directions: Sequence[str]) -> int | None:
    """Return the index of the knee of a front of two objectives; ``None`` if there is none.

    Each objective is scaled to [0, 1] over the front; the knee is the point farthest below the line between the two
    ends (Das 1999). A front of fewer than three distinct points, or without a point below that line, has no knee.

    Args:
        values: ``(n, 2)``, one row per point of the front.
        directions: ``minimize`` or ``maximize`` for each column.
    """
    costs = _costs(values, directions)
    if costs.shape[1] != 2 or len(np.unique(costs, axis=0)) < 3 or not np.isfinite(costs).all():
        return None
    low, high = costs.min(axis=0), costs.max(axis=0)
    below = 1 - ((costs - low) / (high - low)).sum(axis=1)  # the line between the ends is where the two sum to 1
    best = int(np.argmax(below))
    return best if below[best] > 1e-12 else None


def _costs(values: ArrayLike, directions: Sequence[str]) -> NDArray[np.float64]:
    """Negate columns to maximize, so that less is better in every column."""
    table = np.asarray(values, dtype=np.float64)
    if table.size == 0:
        table = table.reshape(0, len(directions))
    if table.ndim != 2 or table.shape[1] != len(directions):
        raise ValueError(f"values of shape {table.shape} do not have one column for each of {list(directions)}")
    unknown = [name for name in directions if name not in _SIGNS]
    if unknown:
        raise ValueError(f"direction {unknown[0]!r}; allowed: {', '.join(_SIGNS)}")
    signs = np.array([_SIGNS[name] for name in directions])
    costs: NDArray[np.float64] = table * signs + 0.0  # + 0.0: no -0.0 beside 0.0
    return costs


def _undominated(costs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the front of distinct rows in lexicographic order."""
    marks = np.zeros(len(costs), dtype=np.bool_)
    if costs.shape[1] == 1:
        marks[0] = True
    elif costs.shape[1] == 2:
        best_before = np.minimum.accumulate(np.concatenate([[np.inf], costs[:-1, 1]]))
        marks[:] = costs[:, 1] < best_before
    else:
        for index, row in enumerate(costs):
            marks[index] = not (costs[marks] <= row).all(axis=1).any()
    return marks
