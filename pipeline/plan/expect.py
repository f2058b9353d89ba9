"""How much of their budgets a scheduler will let trials use: its own rule, on trials in a random order of merit."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis import schema
from pipeline.budget import evaluations, rungs
from pipeline.schedulers import RULES
from pipeline.simulate.curves import Curve, Point
from pipeline.simulate.events import Limits, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.settings import SweepSettings
    from pipeline.simulate.events import Course, Ended

REPEATS = 40
LOW, HIGH = 0.05, 0.95
"""Ends of the interval that is told."""
Merit = Literal["kept", "new"]


@dataclass(frozen=True)
class Range:
    """Median and 90% interval."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """Of simulated sweeps."""
        low, median, high = np.quantile(values, (LOW, 0.5, HIGH))
        return cls(float(median), float(low), float(high))

    def to_json(self) -> dict[str, float]:
        """A plain dict."""
        return dataclasses.asdict(self)


def expected(
    settings: SweepSettings, trials: int, seconds: Sequence[Sequence[float]], error: float, seed: int = 0
) -> list[Course]:
    """Simulate the sweep ``REPEATS`` times.

    Half of the repeats rank trials once for all, half anew at every evaluation. Each repeat draws its configurations
    and one factor for all seconds, log-normal with the relative error of the measurement.

    Args:
        settings: of the sweep.
        trials: how many there will be.
        seconds: of configurations of the space, the recipe's first: until each evaluation is done.
        error: relative, of the seconds.
        seed: of all draws.
    """
    random = np.random.default_rng(seed)
    limit = settings.seconds()
    limits = Limits(
        settings.slots(), settings.max_kimg, trials, settings.total_kimg, float("inf") if limit is None else limit
    )
    courses = []
    for repeat in range(REPEATS):
        rule = RULES[settings.scheduler](rungs(settings), settings.max_kimg)
        factor = float(np.exp(random.normal(0.0, error)))
        search = RandomMerit(settings, np.array(seconds) * factor, random, "kept" if repeat % 2 else "new")
        courses.append(simulate(search, rule, limits, f"plan-{seed}-{repeat}"))
    return courses


class RandomMerit:
    """Trials with the seconds of drawn configurations and scores that say nothing; the recipe comes first."""

    def __init__(
        self, settings: SweepSettings, seconds: np.ndarray[Any, Any], random: np.random.Generator, merit: Merit
    ) -> None:
        self._points, self._seconds, self._random, self._merit = evaluations(settings), seconds, random, merit
        self._limit = settings.max_trial_seconds or float("inf")
        self._given = 0

    def propose(self) -> Curve:
        """The next trial."""
        row = self._seconds[self._random.integers(len(self._seconds)) if self._given else 0]
        self._given += 1
        rows = 1 if self._merit == "kept" else len(row)
        merits = np.broadcast_to(self._random.random((rows, 2)), (len(row), 2))
        points = tuple(
            Point(point.kimg, float(at), {schema.DISTANCE: float(one[0]), schema.TAG_ACCURACY: float(one[1])})
            for point, at, one in zip(self._points, row, merits, strict=True)
            if at <= self._limit
        )
        # Out of time after a score, a trial counts at that one; before its first it has failed.
        status = schema.STOPPED if points else schema.FAILED
        return Curve(str(self._given), {}, points, min(float(row[-1]), self._limit), status)

    def tell(self, curve: Curve, ended: Ended) -> None:
        """Nothing is learned from it."""
