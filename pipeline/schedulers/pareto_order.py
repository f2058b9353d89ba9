"""Rank of a trial at a rung, by one objective or by two.

Costs are arrays ``(trials, objectives)``, all to be minimized; the ranked trial is the last row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def scalar_rank(costs: Array) -> int:
    """Return how many trials are strictly better than the last one in the first objective."""
    return int((costs[:, 0] < costs[-1, 0]).sum())


def pareto_rank(costs: Array) -> int:
    """Return how many trials come before the last one by two objectives (Schmucker et al. 2021, MO-ASHA).

    Trials of an earlier non-dominated front come first, and within a front those that ``epsilon_net`` selects first.
    Equal trials share a rank.
    """
    # Sorted by the first objective, then the second.
    points, counts = np.unique(costs, axis=0, return_counts=True)
    own = int(np.flatnonzero((points == costs[-1]).all(axis=1))[0])
    rest, before = np.arange(len(points)), 0
    while own not in (front := rest[_is_first_front(points[rest])]):
        before += int(counts[front].sum())
        rest = np.setdiff1d(rest, front)
    order = front[epsilon_net(points[front])]
    return before + int(counts[order[: int(np.flatnonzero(order == own)[0])]].sum())


def _is_first_front(points: Array) -> NDArray[np.bool_]:
    """Return which of the sorted, distinct points are not dominated: those below all points before them."""
    best_before = np.minimum.accumulate(np.concatenate([[np.inf], points[:-1, 1]]))
    below: NDArray[np.bool_] = points[:, 1] < best_before
    return below


def epsilon_net(points: Array) -> list[int]:
    """Return an order that spreads: the point lowest in the first objective, then the farthest from all selected.

    Each objective is scaled by its range among the points, so that a distance in the hundreds does not outweigh an
    accuracy below one.
    """
    spans = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    order = [int(points[:, 0].argmin())]
    gaps = np.linalg.norm(scaled - scaled[order[0]], axis=1)
    while len(order) < len(points):
        gaps[order[-1]] = -1.0
        order.append(int(gaps.argmax()))
        gaps = np.where(gaps < 0, gaps, np.minimum(gaps, np.linalg.norm(scaled - scaled[order[-1]], axis=1)))
    return order
