"""The best of the trials' last scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Mapping


class BestScores:
    """Keep the last scores of each trial, and the best among those measured on the most samples.

    Distances on fewer samples do not compare. All trials are compared again only when the trial with the best score
    changes or is dropped.
    """

    def __init__(self) -> None:
        self._last: dict[str, Mapping[str, float]] = {}
        self._restart(-math.inf)

    def put(self, key: str, scores: Mapping[str, float]) -> None:
        """Replace a trial's scores, given by name."""
        self.drop(key)
        self._last[key] = scores
        self._compare(key)

    def drop(self, key: str) -> None:
        """Forget a trial, if it is known."""
        self._last.pop(key, None)
        self._compared.discard(key)
        if key in self._holders.values() or not self._compared:
            self._restart(-math.inf)
            for other in self._last:
                self._compare(other)

    def best(self, name: str) -> float | None:
        """Return the best value of an objective; ``None`` if no trial has one on the most samples."""
        return self._last[self._holders[name]][name] if name in self._holders else None

    def _restart(self, samples: float) -> None:
        self._samples = samples
        self._compared: set[str] = set()
        """Keys of the trials measured on that many samples."""
        self._holders: dict[str, str] = {}
        """Key of the trial with the best value of each objective."""

    def _compare(self, key: str) -> None:
        samples = self._last[key].get(schema.SAMPLES, 0.0)
        if samples > self._samples:
            self._restart(samples)
        if samples < self._samples:
            return
        self._compared.add(key)
        for name in schema.OBJECTIVES:
            if (cost := self._cost(key, name)) < self._cost(self._holders.get(name), name) or (
                name not in self._holders and not math.isnan(cost)
            ):
                self._holders[name] = key

    def _cost(self, key: str | None, name: str) -> float:
        """Lower is better; NaN, which compares with nothing, for a missing value."""
        value = math.nan if key is None else self._last[key].get(name, math.nan)
        return -value if schema.OBJECTIVES[name] == "maximize" else value
