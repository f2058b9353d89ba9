"""Base class of stopping rules, which decide by recorded results alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

Costs = tuple[float, ...]
"""One value per objective, all to be minimized."""


class StoppingRule(ABC):
    """Decides after each result whether a trial continues.

    Decisions compare results at the same kimg only. Trials are identified by their keys, which persist across drivers,
    so that ``replay`` can rebuild a rule from recorded results.

    Args:
        objectives: names in ``analysis.schema.OBJECTIVES`` by which trials are compared.
    """

    def __init__(self, *objectives: str) -> None:
        self.objectives = objectives
        self._stopped: dict[str, int] = {}
        """Kimg at which each stopped trial was stopped, by key."""

    def report(self, key: str, kimg: int, result: Mapping[str, Any]) -> bool:
        """Record a result, and return whether the trial continues.

        A result without a finite value for every objective is not recorded and does not stop the trial. Further results
        of a stopped trial are not recorded.
        """
        if key in self._stopped:
            return False
        costs = self._costs(result)
        if costs is None or self._decide(key, kimg, costs):
            return True
        self._stopped[key] = kimg
        return False

    def replay(self, results: Iterable[tuple[str, int, Mapping[str, Any]]]) -> None:
        """Record the results ``(key, kimg, scores)`` of an earlier driver in the order in which they were recorded."""
        for key, kimg, result in results:
            # A later result shows that the trial continued: the order of simultaneous results may be lost.
            if self._stopped.get(key, kimg) < kimg:
                del self._stopped[key]
            self.report(key, kimg, result)

    def clear_stops(self, keys: Iterable[str]) -> None:
        """Revoke the stops of trials that an extended sweep continues."""
        for key in keys:
            self._stopped.pop(key, None)

    def exploit_candidates(self, key: str, kimg: int) -> list[str]:
        """Return the trials of which this one should copy any one's networks; empty for most rules."""
        return []

    @abstractmethod
    def _decide(self, key: str, kimg: int, costs: Costs) -> bool:
        """Record the costs of a trial at ``kimg``, once, and return whether it continues."""

    def _costs(self, result: Mapping[str, Any]) -> Costs | None:
        values = [result.get(name) for name in self.objectives]
        if any(not isinstance(value, (int, float)) or not math.isfinite(value) for value in values):
            return None
        signs = [1 if schema.OBJECTIVES[name] == "minimize" else -1 for name in self.objectives]
        return tuple(sign * float(value) for sign, value in zip(signs, values, strict=True))  # type: ignore[arg-type]


class NoStopping(StoppingRule):
    """Stops no trial."""

    def _decide(self, key: str, kimg: int, costs: Costs) -> bool:
        return True
