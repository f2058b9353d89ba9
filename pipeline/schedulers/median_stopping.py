"""The median stopping rule."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import TYPE_CHECKING

from analysis import schema
from pipeline.schedulers.base import StoppingRule

if TYPE_CHECKING:
    from pipeline.schedulers.base import Costs

MIN_OTHERS = 3
"""Minimum number of other trials at the same kimg to take a median of."""


class MedianRule(StoppingRule):
    """Stops a trial whose best distance so far exceeds the median of the others' mean distances up to the same kimg.

    After Google Vizier (Golovin et al. 2017), but running trials are among the others.

    Args:
        grace_kimg: no trial is stopped earlier, and means begin here.
    """

    def __init__(self, grace_kimg: int) -> None:
        super().__init__(schema.DISTANCE)
        self.grace_kimg = grace_kimg
        self._best: dict[str, float] = {}
        self._last: dict[str, int] = {}
        self._sums: dict[str, tuple[float, int]] = {}
        self._means: defaultdict[int, dict[str, float]] = defaultdict(dict)
        """Means from the grace period on, by kimg and key."""

    def _decide(self, key: str, kimg: int, costs: Costs) -> bool:
        if kimg <= self._last.get(key, 0):
            return True
        self._last[key] = kimg
        self._best[key] = min(costs[0], self._best.get(key, costs[0]))
        if kimg < self.grace_kimg:
            return True
        total, count = self._sums.get(key, (0.0, 0))
        self._sums[key] = total + costs[0], count + 1
        others = list(self._means[kimg].values())
        self._means[kimg][key] = (total + costs[0]) / (count + 1)
        return len(others) < MIN_OTHERS or self._best[key] <= statistics.median(others)
