"""The best of the trials' last scores, known without going over the trials."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Mapping

SPARE = 16
"""Outdated values that a heap may hold beyond one for each trial."""


class Leading:
    """Last scores by key, with the best on most samples: distances of fewer do not compare.

    A heap of all values, in which outdated ones stay until they come to its top or are most of it: to put or drop a
    trial takes about the logarithm of the number of trials, and to ask for the best hardly anything.
    """

    def __init__(self) -> None:
        self._last: dict[str, Mapping[str, float]] = {}
        self._counts: Counter[float] = Counter()
        """Trials by samples. There are few numbers of samples: those of rungs and of the end."""
        self._heaps: defaultdict[tuple[float, str], list[tuple[float, str]]] = defaultdict(list)
        """By samples and objective: value, negative where more is better, and key."""

    def put(self, key: str, scores: Mapping[str, float]) -> None:
        """Take ``scores``, by name, in place of the trial's earlier ones."""
        self.drop(key)
        samples = scores.get(schema.SAMPLES, 0.0)
        self._last[key] = scores
        self._counts[samples] += 1
        for name in schema.OBJECTIVES:
            value = _cost(scores, name)
            if not math.isnan(value):
                heap = self._heaps[samples, name]
                heapq.heappush(heap, (value, key))
                if len(heap) > 2 * len(self._last) + SPARE:
                    heap[:] = {entry for entry in heap if self._holds(samples, name, *entry)}
                    heapq.heapify(heap)

    def drop(self, key: str) -> None:
        """Forget a trial, if it is known."""
        scores = self._last.pop(key, None)
        if scores is not None:
            samples = scores.get(schema.SAMPLES, 0.0)
            self._counts[samples] -= 1
            if not self._counts[samples]:
                del self._counts[samples]

    def best(self, name: str) -> float | None:
        """The best value of an objective; ``None`` where no trial has it on as many samples as any has."""
        if not self._counts:
            return None
        samples = max(self._counts)
        heap = self._heaps[samples, name]
        while heap and not self._holds(samples, name, *heap[0]):
            heapq.heappop(heap)
        return self._last[heap[0][1]][name] if heap else None

    def _holds(self, samples: float, name: str, value: float, key: str) -> bool:
        scores = self._last.get(key)
        return scores is not None and scores.get(schema.SAMPLES, 0.0) == samples and _cost(scores, name) == value


def _cost(scores: Mapping[str, float], name: str) -> float:
    """Lower is better; NaN where there is none."""
    value = scores.get(name, math.nan)
    return -value if schema.OBJECTIVES[name] == "maximize" else value
