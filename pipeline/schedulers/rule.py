"""What a stopping rule is: it judges trials by their recorded results alone and knows nothing of Ray."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

Costs = tuple[float, ...]
"""One number per objective, all to be minimised."""


class StoppingRule(ABC):
    """Decides after each result whether a trial goes on.

    A decision depends on results at the same kimg only. Trials are known by their key, which outlives the driver, so
    that a rule can be rebuilt from what was recorded (``replay``).

    Args:
        objectives: names of ``analysis.schema.OBJECTIVES`` that trials are compared by.
    """

    def __init__(self, *objectives: str) -> None:
        self.objectives = objectives
        self._stopped: dict[str, int] = {}
        """Keys of stopped trials and the kimg at which they were."""

    def report(self, key: str, kimg: int, result: Mapping[str, Any]) -> bool:
        """Take in a result; whether the trial goes on.

        A result without a finite value of every objective compares with nothing: it is not recorded and stops nobody.
        A trial that was stopped stays so, and its further results are not recorded.
        """
        if key in self._stopped:
            return False
        costs = self._costs(result)
        if costs is None or self._judge(key, kimg, costs):
            return True
        self._stopped[key] = kimg
        return False

    def replay(self, results: Iterable[tuple[str, int, Mapping[str, Any]]]) -> None:
        """Take in the results ``(key, kimg, scores)`` of earlier trials in the order in which they were recorded."""
        for key, kimg, result in results:
            # A later result shows that the trial went on after all: the order within one instant can get lost.
            if self._stopped.get(key, kimg) < kimg:
                del self._stopped[key]
            self.report(key, kimg, result)

    def readmit(self, keys: Iterable[str]) -> None:
        """Let trials go on whatever was decided of them: those that an extended sweep continues."""
        for key in keys:
            self._stopped.pop(key, None)

    def sources(self, key: str, kimg: int) -> list[str]:
        """Keys of trials from whose networks this one should go on, any of them; most rules exchange none."""
        return []

    @abstractmethod
    def _judge(self, key: str, kimg: int, costs: Costs) -> bool:
        """Record the costs of a trial at ``kimg``, once; whether it goes on."""

    def _costs(self, result: Mapping[str, Any]) -> Costs | None:
        values = [result.get(name) for name in self.objectives]
        if any(not isinstance(value, (int, float)) or not math.isfinite(value) for value in values):
            return None
        signs = [1 if schema.OBJECTIVES[name] == "minimize" else -1 for name in self.objectives]
        return tuple(sign * float(value) for sign, value in zip(signs, values, strict=True))  # type: ignore[arg-type]


class KeepAll(StoppingRule):
    """Stops nobody."""

    def _judge(self, key: str, kimg: int, costs: Costs) -> bool:
        return True
