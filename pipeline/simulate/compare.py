"""Samplers and schedulers against each other on one recording, over repeats with different seeds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis import schema
from analysis.pareto import hypervolume_2d
from pipeline.budget import rungs
from pipeline.schedulers import RULES
from pipeline.simulate.events import Limits, simulate
from pipeline.simulate.search import RecordedSearch, Source
from pipeline.simulate.snapping import AMONG, Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipeline.simulate.curves import Recording
    from pipeline.simulate.events import Course

BASELINE = ("random", "none")
"""What the others are measured against: random search that stops nobody."""


@dataclass(frozen=True)
class Plan:
    """How large the simulated sweeps are.

    All have the same training to spend: what ``trials`` cost without stopping. Where trials are stopped there are
    more of them for it, as long as there are recorded ones.
    """

    workers: int
    trials: int
    repeats: int
    seed: int

    def total_kimg(self, recording: Recording) -> int:
        """What all trials of a simulated sweep may use."""
        return self.trials * recording.settings.max_kimg


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over repeats; infinitely bad where so many repeats did not come there."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of any values, infinite ones too."""
        # Interpolated quantiles of infinities are NaN: where one is infinite, the next value on its side is taken.
        low, median, high = (_quantile(values, share) for share in (0.25, 0.5, 0.75))
        return cls(median, low, high)

    def to_json(self) -> dict[str, float | None]:
        """``None`` for infinity."""
        return {
            name: value if math.isfinite(value := getattr(self, name)) else None for name in ("median", "low", "high")
        }


def _quantile(values: Sequence[float], share: float) -> float:
    array = np.array(values, dtype=float)
    worse: Literal["lower", "higher"] = "lower" if -math.inf in array else "higher"
    return float(np.quantile(array, share, method="linear" if np.isfinite(array).all() else worse))


@dataclass
class Result:
    """What one sampler and scheduler came to, a value per repeat."""

    sampler: str
    scheduler: str
    courses: list[Course] = field(default_factory=list)
    snaps: list[float] = field(default_factory=list)
    """Distances of proposals from what was recorded, of all repeats."""
    among: Result | None = None
    """The same with one of ``AMONG`` nearest recorded configurations in place of the nearest."""

    def each(self, value: Callable[[Course], float]) -> Spread:
        """A figure's spread over the repeats."""
        return Spread.of([value(course) for course in self.courses])


@dataclass(frozen=True)
class Comparison:
    """All results of a recording."""

    recording: Recording
    plan: Plan
    baseline: Result
    results: tuple[Result, ...]
    """The baseline first."""

    @property
    def among(self) -> Comparison:
        """The same with one of the nearest in place of the nearest, against its own random search."""
        results = tuple(result.among for result in self.results if result.among)
        return dataclasses.replace(self, baseline=results[0], results=results) if results else self

    @property
    def target(self) -> float:
        """The distance that random search without stopping comes to with all its training: median over repeats."""
        return self.baseline.each(best).median

    @property
    def full_kimg(self) -> float:
        """What it is trained for in all: median over repeats."""
        return self.baseline.each(lambda course: course.used_kimg).median

    @property
    def tagged(self) -> bool:
        """Whether there are two objectives."""
        return any(schema.TAG_ACCURACY in point.scores for point in self.recording.finals())

    @property
    def target_area(self) -> float:
        """The area that random search's front covers in the end, up to the worst recorded distance: median."""
        return self.baseline.each(lambda course: _areas(course, self.recording.worst)[-1][1]).median

    def kimg_to_target(self, result: Result) -> Spread:
        """What a search was trained for when a complete trial had reached ``target``."""
        return result.each(lambda course: kimg_to(course, self.target))

    def kimg_to_area(self, result: Result) -> Spread:
        """What a search was trained for when its front covered ``target_area``."""
        worst, area = self.recording.worst, self.target_area
        return result.each(
            lambda course: next((kimg for kimg, covered in _areas(course, worst) if covered >= area > 0), math.inf)
        )


def compare(
    recording: Recording,
    combinations: Sequence[tuple[str, str]],
    plan: Plan,
    progress: Callable[[], None] = lambda: None,
    source: Callable[[int], Source] | None = None,
) -> Comparison:
    """Replay a recording through samplers and schedulers.

    Args:
        recording: of a sweep in which no scheduler stopped a trial.
        combinations: samplers with schedulers; ``BASELINE`` is always there.
        plan: how large.
        progress: called after each simulated sweep.
        source: gives trials for a seed, where any configuration can be had; default: the recorded ones, with the
            sensitivity to which of them stands for a proposal.
    """

    def nearest(among: int) -> Callable[[int], Source]:
        return lambda seed: Pool(recording.space, recording.curves, seed, among)

    results = []
    for sampler, scheduler in dict.fromkeys([BASELINE, *combinations]):
        result = _repeated(recording, sampler, scheduler, plan, source or nearest(1), progress)
        if source is None:
            result.among = _repeated(recording, sampler, scheduler, plan, nearest(AMONG), progress)
        results.append(result)
    return Comparison(recording, plan, results[0], tuple(results))


def _repeated(
    recording: Recording,
    sampler: str,
    scheduler: str,
    plan: Plan,
    source: Callable[[int], Source],
    progress: Callable[[], None],
) -> Result:
    result = Result(sampler, scheduler)
    changed: dict[str, Any] = {"scheduler": scheduler}
    settings = dataclasses.replace(recording.settings, **changed)
    limits = Limits(plan.workers, settings.max_kimg, total_kimg=plan.total_kimg(recording))
    for seed in range(plan.seed, plan.seed + plan.repeats):
        pool = source(seed)
        rule = RULES[scheduler](rungs(settings), settings.max_kimg)
        search = RecordedSearch(sampler, seed, pool)
        result.courses.append(simulate(search, rule, limits, f"simulated-{seed}"))
        result.snaps += pool.distances
        progress()
    return result


def best(course: Course, name: str = schema.DISTANCE) -> float:
    """The best value of an objective among trials that completed; infinitely bad where there is none.

    Earlier scores are of fewer pictures and less training; they do not compare.
    """
    sign = 1 if schema.OBJECTIVES[name] == "minimize" else -1
    found = [sign * one.scores[name] for one in course.ended if one.status == schema.COMPLETE and name in one.scores]
    return sign * min(found, default=math.inf)


def kimg_to(course: Course, target: float) -> float:
    """What all trials were trained for when the first complete one had a distance of ``target`` or less."""
    for one in course.ended:
        if one.status == schema.COMPLETE and one.scores.get(schema.DISTANCE, math.inf) <= target:
            return one.used_kimg
    return math.inf


def _areas(course: Course, worst: float) -> list[tuple[float, float]]:
    """Training of all trials, and the area that the complete ones cover up to ``worst`` and no tag right."""
    points: list[tuple[float, float]] = []
    found = [(0.0, 0.0)]
    for one in course.ended:
        values = [one.scores.get(name) for name in schema.OBJECTIVES]
        if one.status == schema.COMPLETE and None not in values:
            points.append((float(values[0] or 0.0), float(values[1] or 0.0)))
            found.append((one.used_kimg, hypervolume_2d(points, (worst, 0.0))))
    return found


def best_so_far(course: Course, kimg: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best distance of a complete trial when all trials had been trained for ``kimg``, ascending; at first inf."""
    found = [
        (one.used_kimg, one.scores[schema.DISTANCE])
        for one in course.ended
        if one.status == schema.COMPLETE and schema.DISTANCE in one.scores
    ]
    used = np.array([0.0, *(at for at, _ in found)])
    lowest = np.minimum.accumulate([math.inf, *(distance for _, distance in found)])
    so_far: NDArray[np.float64] = lowest[np.searchsorted(used, kimg, side="right") - 1]
    return so_far


def to_json(found: Comparison, name: str) -> dict[str, Any]:
    """What ``simulate --json`` prints."""
    recording, plan = found.recording, found.plan
    return {
        "sweep": name,
        "recorded": {
            "trials": len(recording.curves),
            "left_out": recording.left_out,
            "max_kimg": recording.settings.max_kimg,
            "best_distance": recording.best if math.isfinite(recording.best) else None,
        },
        "workers": plan.workers,
        "trials": plan.trials,
        "total_kimg": plan.total_kimg(recording),
        "repeats": plan.repeats,
        "seed": plan.seed,
        "target_distance": found.target if math.isfinite(found.target) else None,
        "full_kimg": found.full_kimg,
        "combinations": [
            _result_json(found, one)
            | ({"one_of_three_nearest": _result_json(found.among, one.among)} if one.among else {})
            for one in found.results
        ],
    }


def _result_json(found: Comparison, result: Result) -> dict[str, Any]:
    workers, recorded = found.plan.workers, found.recording.best
    reached = found.kimg_to_target(result)
    figures = {
        "trials": result.each(lambda course: len(course.ended)),
        "complete": result.each(lambda course: sum(one.status == schema.COMPLETE for one in course.ended)),
        "kimg": result.each(lambda course: course.used_kimg),
        "seconds": result.each(lambda course: course.seconds),
        "slot_use": result.each(lambda course: course.slot_use(workers)),
        "distance": result.each(best),
        "tag_accuracy": result.each(lambda course: best(course, schema.TAG_ACCURACY)),
        "regret": result.each(lambda course: best(course) - recorded),
        "kimg_to_target": reached,
        "share_of_full_kimg": share(reached, found.full_kimg),
    }
    if found.tagged:
        figures["share_of_full_kimg_to_front"] = share(found.kimg_to_area(result), found.full_kimg)
    return {
        "sampler": result.sampler,
        "scheduler": result.scheduler,
        **{name: spread.to_json() for name, spread in figures.items()},
        "reached_target": sum(math.isfinite(kimg_to(course, found.target)) for course in result.courses),
        "snap_distance": Spread.of(result.snaps).to_json() if result.snaps else None,
    }


def share(kimg: Spread, full: float) -> Spread:
    """A spread of kimg as shares of ``full``."""
    if not full:
        return Spread(math.inf, math.inf, math.inf)
    return Spread(kimg.median / full, kimg.low / full, kimg.high / full)
