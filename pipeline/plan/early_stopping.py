"""Simulate how much of their budgets a scheduler lets trials use, with its own rule and random scores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis import schema
from pipeline.schedulers import RULES
from pipeline.simulate.recording import Curve, Point
from pipeline.simulate.simulator import Limits, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.schedulers.evaluation_schedule import Budget
    from pipeline.simulate.simulator import FinishedTrial, SimulatedSweep

REPEATS = 40
LOW, HIGH = 0.05, 0.95
"""Quantiles at the ends of the reported interval."""
Merit = Literal["kept", "new"]


@dataclass(frozen=True)
class Range:
    """Median and 90% interval."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """Summarize values of simulated sweeps."""
        low, median, high = np.quantile(values, (LOW, 0.5, HIGH))
        return cls(float(median), float(low), float(high))

    def to_json(self) -> dict[str, float]:
        """Return a plain dict."""
        return dataclasses.asdict(self)


def simulate_sweeps(
    scheduler: str,
    budget: Budget,
    slots: int,
    trials: int,
    seconds: Sequence[Sequence[float]],
    error: float,
    seed: int = 0,
) -> list[SimulatedSweep]:
    """Simulate the sweep ``REPEATS`` times.

    Half of the repeats rank trials once, half anew at every evaluation. Each repeat draws its configurations and one
    log-normal factor for all seconds, with the relative error of the measurement.

    Args:
        scheduler: name of the stopping rule.
        budget: rungs, evaluations and limits.
        slots: trials at once.
        trials: number of trials.
        seconds: for configurations of the space, the recipe's first, the seconds until the end of each evaluation.
        error: relative error of the seconds.
        seed: of all draws.
    """
    random = np.random.default_rng(seed)
    limit = float("inf") if budget.seconds is None else budget.seconds
    limits = Limits(slots, budget.max_kimg, trials, budget.total_kimg, limit)
    sweeps = []
    for repeat in range(REPEATS):
        rule = RULES[scheduler](budget.rungs, budget.max_kimg)
        factor = float(np.exp(random.normal(0.0, error)))
        search = RandomScores(budget, np.array(seconds) * factor, random, "kept" if repeat % 2 else "new")
        sweeps.append(simulate(search, rule, limits, f"plan-{seed}-{repeat}"))
    return sweeps


class RandomScores:
    """Trials with the seconds of drawn configurations and random scores; the recipe comes first."""

    def __init__(
        self, budget: Budget, seconds: np.ndarray[Any, Any], random: np.random.Generator, merit: Merit
    ) -> None:
        self._points, self._seconds, self._random, self._merit = budget.evaluations, seconds, random, merit
        self._limit = budget.trial_seconds or float("inf")
        self._given = 0

    def suggest(self) -> Curve:
        """Return the next trial."""
        row = self._seconds[self._random.integers(len(self._seconds)) if self._given else 0]
        self._given += 1
        rows = 1 if self._merit == "kept" else len(row)
        merits = np.broadcast_to(self._random.random((rows, 2)), (len(row), 2))
        points = tuple(
            Point(point.kimg, float(at), {schema.DISTANCE: float(one[0]), schema.TAG_ACCURACY: float(one[1])})
            for point, at, one in zip(self._points, row, merits, strict=True)
            if at <= self._limit
        )
        # A trial that runs out of time counts with its last score, and without one as failed.
        status = schema.STOPPED if points else schema.FAILED
        return Curve(str(self._given), {}, points, min(float(row[-1]), self._limit), status)

    def record_end(self, curve: Curve, ended: FinishedTrial) -> None:
        """Nothing is learned from it."""
