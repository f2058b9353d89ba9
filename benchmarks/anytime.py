"""Share of random search's training that other searches need for an equally good answer.

    python -m benchmarks.anytime [--recording FILE.csv] [--searches 20] [--workers 4] [--trials 60] [--quick]
                                 [--sampler NAME ...] [--scheduler NAME ...] [--processes N] [--output anytime.json]

Every sampler runs with every scheduler on

- synthetic curves (``benchmarks.synthetic_curves``) with a good, a middling and a wrong recipe, a new recipe for each
  search: a search gets the curve of the configuration that it suggests;
- a recording (``benchmarks.recorded_curves``; default: ``benchmarks/data/curves.csv`` if it exists), where a suggestion
  gets the curve of the nearest recorded configuration that is still unused;
- a surrogate fitted to that recording, whose quality is printed: Spearman's correlation of its predictions, by
  cross-validation, with the recorded scores at the end of the budget.

Random search without stopping has the training of ``--trials`` whole trials and sets two targets, each the median over
its searches: the distance of its winner, which has to reach the floor of the tag accuracy (0.8 of the best trial's, as
``gansweep rank`` chooses, or ``--min-tag-accuracy``), and the area under its front. Printed are the shares of its
training, in images and where the recording has them in floating-point operations of ended trials, until another search
has as good an answer: medians and quartiles over the searches; ``-`` if fewer than half of them reach it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import json
import math
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from analysis import schema
from analysis.ranking.pareto import hypervolume_2d
from analysis.ranking.winner import make_rule
from benchmarks import recorded_curves, surrogate, synthetic_curves
from benchmarks.samplers import SAMPLERS
from pipeline.schedulers import RULES
from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.search.prior_sampler import PriorSampler
from pipeline.simulate.compare import Spread
from pipeline.simulate.nearest_trial import Pool
from pipeline.simulate.replayed_search import RecordedSearch
from pipeline.simulate.simulator import Limits, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeline.settings import SweepSettings
    from pipeline.simulate.recording import Curve, Recording
    from pipeline.simulate.replayed_search import Source
    from pipeline.simulate.simulator import FinishedTrial

SCHEDULERS = ("none", "asha", "mo-asha")
BASELINE = ("random", "none")
RECORDING = Path(__file__).parent / "data" / "curves.csv"
SYNTHETIC: Final[tuple[synthetic_curves.Place, ...]] = ("good", "middling", "wrong")
TABLE, SURROGATE = "recording", "surrogate"
NOT_REACHED = math.inf
ROUNDING = 1e-9
"""Of a product of two shares: 0.8 of 0.9."""


class Answer(NamedTuple):
    """A trial that completed."""

    kimg: float
    """Training of all trials by then."""
    flops: float
    """Floating-point operations of all trials that had ended by then; NaN if they are unknown."""
    distance: float
    accuracy: float


@dataclass(frozen=True)
class Target:
    """What random search found."""

    floor: float
    """Least tag accuracy of a winner."""
    distance: float
    """Distance of the winner."""
    area: float
    """Area under the front, up to ``worst`` distance and zero tag accuracy."""
    worst: float

    @classmethod
    def of(cls, searches: Sequence[Sequence[Answer]], minimum: float | None = None) -> Target:
        """Return the medians over searches; ``minimum`` is a floor in place of the default one."""
        rules = [
            make_rule({str(index): one.accuracy for index, one in enumerate(answers)}, minimum=minimum)
            for answers in searches
        ]
        floor = float(np.median([rule.floor or 0.0 for rule in rules]))
        worst = max(one.distance for answers in searches for one in answers)
        winners = [min((o.distance for o in s if o.accuracy >= floor - ROUNDING), default=math.inf) for s in searches]
        areas = [area(answers, worst) for answers in searches]
        # Of an even number of searches, the worse middle one: more than half of them reach it.
        distance, least = np.quantile(winners, 0.5, method="higher"), np.quantile(areas, 0.5, method="lower")
        return cls(floor, float(distance), float(least), worst)

    def reached(self, answers: Sequence[Answer]) -> tuple[Answer | None, Answer | None]:
        """Return the answers with which a search reached the distance and the area."""
        winner = next(
            (one for one in answers if one.accuracy >= self.floor - ROUNDING and one.distance <= self.distance), None
        )
        ends = range(1, len(answers) + 1)
        front = next((answers[end - 1] for end in ends if area(answers[:end], self.worst) >= self.area), None)
        return winner, front


def area(answers: Iterable[Answer], worst: float) -> float:
    """Return the area under the front."""
    return hypervolume_2d([(one.distance, one.accuracy) for one in answers], (worst, 0.0))


@dataclass(frozen=True)
class Landscape:
    """Where searches run."""

    settings: SweepSettings
    source: Callable[[int], Source]
    """Creates a source of trials from a seed."""
    trials: int
    """Training of a search, as a number of whole trials."""


@dataclass(frozen=True)
class Job:
    """One search."""

    landscape: str
    sampler: str
    scheduler: str
    seed: int
    target: Target | None
    """The search ends when it has reached it."""
    minimum: float | None = None
    """Floor of a winner's tag accuracy, for samplers that know it."""


class WatchedSearch:
    """A search that records the trials that complete, and suggests no more once both targets are reached."""

    def __init__(self, search: RecordedSearch, target: Target | None) -> None:
        self.answers: list[Answer] = []
        self._search, self._target, self._flops, self._done = search, target, 0.0, False

    def suggest(self) -> Curve | None:
        """Return the next trial."""
        return None if self._done else self._search.suggest()

    def record_end(self, curve: Curve, ended: FinishedTrial) -> None:
        """Record the end of a trial."""
        self._search.record_end(curve, ended)
        self._flops += curve.flops_per_kimg * ended.kimg if ended.kimg else 0.0
        scores = [ended.scores.get(name, math.nan) for name in schema.OBJECTIVES]
        if ended.status == schema.COMPLETE and all(map(math.isfinite, scores)):
            self.answers.append(Answer(ended.used_kimg, self._flops, *scores))
            self._done = self._target is not None and None not in self._target.reached(self.answers)


@functools.cache
def load_recording(file: Path) -> tuple[Recording, surrogate.Surrogate]:
    """Return a recording and the model fitted to it."""
    recorded = recorded_curves.read(file)
    return recorded, surrogate.fit(recorded)


@functools.cache
def landscapes(recording: Path | None, trials: int) -> dict[str, Landscape]:
    """Return all landscapes by name."""
    synthetic = synthetic_curves.SETTINGS
    found = {
        f"synthetic, {place} recipe": Landscape(
            synthetic, functools.partial(synthetic_curves.Truth, place=place), trials
        )
        for place in SYNTHETIC
    }
    if recording is not None:
        recorded, model = load_recording(recording)
        pool = functools.partial(Pool, recorded.space, recorded.curves)
        found[TABLE] = Landscape(recorded.settings, pool, min(trials, len(recorded.curves) // 4))
        found[SURROGATE] = Landscape(recorded.settings, model.source, trials)
    return found


def search(job: Job, recording: Path | None, trials: int, workers: int) -> list[Answer]:
    """Run one search, and return its answers in the order of their ends."""
    place = landscapes(recording, trials)[job.landscape]
    scheduler: dict[str, Any] = {"scheduler": job.scheduler}
    settings = dataclasses.replace(place.settings, **scheduler)
    source = place.source(job.seed)
    rule = RULES[job.scheduler](resolve_budget(settings).rungs, settings.max_kimg)
    sampler = SAMPLERS[job.sampler](job.seed, source.space)
    if isinstance(sampler, PriorSampler):
        sampler.min_tag_accuracy = job.minimum
    watched = WatchedSearch(RecordedSearch(sampler, source), job.target)
    limits = Limits(workers, settings.max_kimg, total_kimg=place.trials * settings.max_kimg)
    simulate(watched, rule, limits, f"simulated-{job.seed}")
    return watched.answers


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row per landscape, sampler and scheduler."""
    run = functools.partial(search, recording=options.recording, trials=options.trials, workers=options.workers)
    seeds = range(options.seed, options.seed + options.searches)
    pairs = [pair for pair in itertools.product(options.sampler, options.scheduler) if pair != BASELINE]
    rows = []
    with ProcessPoolExecutor(options.processes) as pool:
        for name in landscapes(options.recording, options.trials):
            baseline = list(pool.map(run, [Job(name, *BASELINE, seed, None) for seed in seeds]))
            target, full = Target.of(baseline, options.min_tag_accuracy), [answers[-1] for answers in baseline]
            jobs = [Job(name, *pair, seed, target, options.min_tag_accuracy) for pair in pairs for seed in seeds]
            found = iter(pool.map(run, jobs))
            for pair in (BASELINE, *pairs):
                searches = baseline if pair == BASELINE else list(itertools.islice(found, len(seeds)))
                rows.append({"landscape": name, **dict(zip(("sampler", "scheduler"), pair, strict=True)),
                             **shares(target, searches, full)})  # fmt: skip
                print(format_row(rows[-1]), flush=True)
    return rows


def shares(target: Target, searches: Sequence[Sequence[Answer]], full: Sequence[Answer]) -> dict[str, Any]:
    """Return shares of the training of random search by answer and unit."""
    reached = [target.reached(answers) for answers in searches]
    result = {}
    for index, answer in enumerate(("distance", "front")):
        for unit in ("kimg", "flops"):
            whole = float(np.median([getattr(one, unit) for one in full]))
            if math.isfinite(whole) and whole > 0:
                values = [getattr(one[index], unit) if one[index] else NOT_REACHED for one in reached]
                result[f"{answer}, {unit}"] = Spread.of([value / whole for value in values])
    return result


def format_row(row: dict[str, Any]) -> str:
    """Format a row of the table."""
    texts = [f"{name} {_text(value):18}" for name, value in row.items() if isinstance(value, Spread)]
    return "  ".join([f"{row['landscape']:28}{row['sampler']:16}{row['scheduler']:9}", *texts]).rstrip()


def _text(spread: Spread) -> str:
    if not math.isfinite(spread.median):
        return "-"
    high = f"{spread.high:.0%}" if math.isfinite(spread.high) else "-"
    return f"{spread.median:.0%} [{spread.low:.0%}, {high}]"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, default=RECORDING if RECORDING.is_file() else None)
    parser.add_argument("--searches", type=int, default=20)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=60, help="training of a search, as a number of whole trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sampler", action="append", choices=SAMPLERS)
    parser.add_argument("--scheduler", action="append", choices=SCHEDULERS)
    parser.add_argument("--min-tag-accuracy", type=float, help="floor of a winner, 0 for none; default: the rule's")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true", help="two searches of twelve trials")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    options.sampler, options.scheduler = options.sampler or list(SAMPLERS), options.scheduler or list(SCHEDULERS)
    if options.quick:
        options.searches, options.trials = 2, 12
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parse(arguments)
    if options.recording is not None:
        print(surrogate.format_quality(load_recording(options.recording)[1]))
    rows = measure(options)
    if options.output is not None:
        plain = [{k: v.to_json() if isinstance(v, Spread) else v for k, v in row.items()} for row in rows]
        options.output.write_text(json.dumps(plain, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
