"""Compare samplers and schedulers on one recording, over repeats with different seeds."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis import schema
from analysis.ranking.pareto import hypervolume_2d
from pipeline.schedulers import RULES
from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.search.samplers import make_sampler
from pipeline.simulate.nearest_trial import AMONG, Pool
from pipeline.simulate.replayed_search import RecordedSearch, Source
from pipeline.simulate.simulator import Limits, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipeline.simulate.recording import Recording
    from pipeline.simulate.simulator import SimulatedSweep

ENOUGH_TRIALS = 10
"""Trials of a search below which ``tpe`` and ``gp`` still draw at random, and rungs hold too few trials to stop any."""
BASELINE = ("random", "none")
"""Reference of the comparison: random search without early stopping."""


@dataclass(frozen=True)
class Plan:
    """Size of the simulated sweeps.

    All have the same training budget: what ``trials`` cost without early stopping. With early stopping it covers more
    trials, as long as recorded ones are left.
    """

    workers: int
    trials: int
    repeats: int
    seed: int

    def total_kimg(self, recording: Recording) -> int:
        """Return the training budget of a simulated sweep."""
        return self.trials * recording.settings.max_kimg


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over repeats; infinite where too many repeats did not reach the target."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Compute the spread of finite or infinite values."""
        # Interpolated quantiles of infinities are NaN, so the next value on the worse side is used instead.
        low, median, high = (_quantile(values, share) for share in (0.25, 0.5, 0.75))
        return cls(median, low, high)

    def to_json(self) -> dict[str, float | None]:
        """Return the values by name, with ``None`` for infinity."""
        return {
            name: value if math.isfinite(value := getattr(self, name)) else None for name in ("median", "low", "high")
        }


def _quantile(values: Sequence[float], share: float) -> float:
    array = np.array(values, dtype=float)
    worse: Literal["lower", "higher"] = "lower" if -math.inf in array else "higher"
    return float(np.quantile(array, share, method="linear" if np.isfinite(array).all() else worse))


@dataclass
class Result:
    """Simulated sweeps of one sampler and scheduler, one per repeat."""

    sampler: str
    scheduler: str
    courses: list[SimulatedSweep] = field(default_factory=list)
    snaps: list[float] = field(default_factory=list)
    """Distances of suggestions from the recorded trials that replaced them, over all repeats."""
    among: Result | None = None
    """The same with a random one of the ``AMONG`` nearest recorded configurations instead of the nearest."""

    def each(self, value: Callable[[SimulatedSweep], float]) -> Spread:
        """Return the spread of a figure over the repeats."""
        return Spread.of([value(course) for course in self.courses])


@dataclass(frozen=True)
class Comparison:
    """Results of all combinations on a recording."""

    recording: Recording
    plan: Plan
    baseline: Result
    results: tuple[Result, ...]
    """The baseline first."""

    @property
    def among(self) -> Comparison:
        """The comparison with one of the nearest configurations instead of the nearest, against its own baseline."""
        results = tuple(result.among for result in self.results if result.among)
        return dataclasses.replace(self, baseline=results[0], results=results) if results else self

    @property
    def target(self) -> float:
        """Distance that the baseline reaches with its whole budget: median over repeats."""
        return self.baseline.each(best).median

    @property
    def full_kimg(self) -> float:
        """Training of the baseline in kimg: median over repeats."""
        return self.baseline.each(lambda course: course.used_kimg).median

    @property
    def tagged(self) -> bool:
        """Whether there are two objectives."""
        return any(schema.TAG_ACCURACY in point.scores for point in self.recording.finals())

    @property
    def target_area(self) -> float:
        """Area that the baseline's final front covers, up to the worst recorded distance: median over repeats."""
        return self.baseline.each(lambda course: _areas(course, self.recording.worst)[-1][1]).median

    def kimg_to_target(self, result: Result) -> Spread:
        """Return the training of a search until a complete trial reached ``target``."""
        return result.each(lambda course: kimg_to(course, self.target))

    def kimg_to_area(self, result: Result) -> Spread:
        """Return the training of a search until its front covered ``target_area``."""
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
        combinations: pairs of sampler and scheduler; ``BASELINE`` is always included.
        plan: size of the simulated sweeps.
        progress: called after each simulated sweep.
        source: creates a source of trials from a seed; default: the recorded trials, and once more with a random one
            of the nearest, to show how sensitive the results are to that choice.
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
        rule = RULES[scheduler](resolve_budget(settings).rungs, settings.max_kimg)
        suggesting = make_sampler(
            sampler,
            seed,
            pool.space,
            prior_confidence=settings.prior_confidence,
            min_tag_accuracy=settings.min_tag_accuracy,
        )
        search = RecordedSearch(suggesting, pool)
        result.courses.append(simulate(search, rule, limits, f"simulated-{seed}"))
        result.snaps += pool.distances
        progress()
    return result


def best(course: SimulatedSweep, name: str = schema.DISTANCE) -> float:
    """Return the best value of an objective among complete trials; infinitely bad if there are none.

    Earlier scores are of fewer images and less training, and do not compare.
    """
    sign = 1 if schema.OBJECTIVES[name] == "minimize" else -1
    values = [sign * one.scores[name] for one in course.ended if one.status == schema.COMPLETE and name in one.scores]
    return sign * min(values, default=math.inf)


def kimg_to(course: SimulatedSweep, target: float) -> float:
    """Return the training of all trials until the first complete one had a distance of ``target`` or less."""
    for one in course.ended:
        if one.status == schema.COMPLETE and one.scores.get(schema.DISTANCE, math.inf) <= target:
            return one.used_kimg
    return math.inf


def _areas(course: SimulatedSweep, worst: float) -> list[tuple[float, float]]:
    """Return pairs of total training and covered area, up to ``worst`` distance and zero tag accuracy."""
    points: list[tuple[float, float]] = []
    areas = [(0.0, 0.0)]
    for one in course.ended:
        values = [one.scores.get(name) for name in schema.OBJECTIVES]
        if one.status == schema.COMPLETE and None not in values:
            points.append((float(values[0] or 0.0), float(values[1] or 0.0)))
            areas.append((one.used_kimg, hypervolume_2d(points, (worst, 0.0))))
    return areas


def best_so_far(course: SimulatedSweep, kimg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best distance of a complete trial at each total training ``kimg``, ascending; at first infinite."""
    completed = [
        (one.used_kimg, one.scores[schema.DISTANCE])
        for one in course.ended
        if one.status == schema.COMPLETE and schema.DISTANCE in one.scores
    ]
    used = np.array([0.0, *(at for at, _ in completed)])
    lowest = np.minimum.accumulate([math.inf, *(distance for _, distance in completed)])
    so_far: NDArray[np.float64] = lowest[np.searchsorted(used, kimg, side="right") - 1]
    return so_far


def warnings(comparison: Comparison) -> list[str]:
    """Return what is too few for the result to be more than an illustration."""
    curves, trials = len(comparison.recording.curves), comparison.plan.trials
    found = []
    if curves < 4 * ENOUGH_TRIALS:
        found.append(
            f"{curves} recorded curves are few, and searches draw mostly the same; record {4 * ENOUGH_TRIALS} or more "
            f"(run --scheduler none --trials {4 * ENOUGH_TRIALS})"
        )
    if trials < ENOUGH_TRIALS:
        found.append(
            f"{trials} trials per search are few: tpe draws its first {ENOUGH_TRIALS} at random, and a rung needs some "
            f"to stop one; give --trials {ENOUGH_TRIALS} or more, recorded curves permitting"
        )
    if 2 * trials > curves:
        found.append(
            f"searches of {trials} trials use more than half of the {curves} recorded curves, so that all of them find "
            "nearly the same; give fewer --trials, or record more"
        )
    return found


def to_json(comparison: Comparison, name: str) -> dict[str, Any]:
    """Return what ``simulate --json`` prints."""
    recording, plan = comparison.recording, comparison.plan
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
        "target_distance": comparison.target if math.isfinite(comparison.target) else None,
        "full_kimg": comparison.full_kimg,
        "warnings": warnings(comparison),
        "combinations": [
            _result_json(comparison, one)
            | ({"one_of_three_nearest": _result_json(comparison.among, one.among)} if one.among else {})
            for one in comparison.results
        ],
    }


def _result_json(comparison: Comparison, result: Result) -> dict[str, Any]:
    workers, recorded = comparison.plan.workers, comparison.recording.best
    reached = comparison.kimg_to_target(result)
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
        "share_of_full_kimg": share(reached, comparison.full_kimg),
    }
    if comparison.tagged:
        figures["share_of_full_kimg_to_front"] = share(comparison.kimg_to_area(result), comparison.full_kimg)
    return {
        "sampler": result.sampler,
        "scheduler": result.scheduler,
        **{name: spread.to_json() for name, spread in figures.items()},
        "reached_target": sum(math.isfinite(kimg_to(course, comparison.target)) for course in result.courses),
        "snap_distance": Spread.of(result.snaps).to_json() if result.snaps else None,
    }


def share(kimg: Spread, full: float) -> Spread:
    """Return a spread of kimg as shares of ``full``."""
    if not full:
        return Spread(math.inf, math.inf, math.inf)
    return Spread(kimg.median / full, kimg.low / full, kimg.high / full)
