"""``gansweep plan``: measure, extrapolate, simulate the stopping, say how sure that is; and keep it for afterwards."""

from __future__ import annotations

import dataclasses
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis import schema
from analysis.errors import AnalysisError
from analysis.planned import COSTLESS, actual, differing, errors
from analysis.runs import load
from pipeline.budget import evaluations
from pipeline.cluster import this_machine
from pipeline.combinations import require_combination
from pipeline.home import Home, require_sweep_name
from pipeline.placement import largest, measure, measuring, placed
from pipeline.plan.expect import REPEATS, Range, expected
from pipeline.plan.kept import kept_plan
from pipeline.plan.measure import Measured, measure_all, picture_data
from pipeline.plan.model import CostModel, corners, operations, sampled
from pipeline.preflight import SETTINGS_FILE
from pipeline.samplers import make_sampler, proposals
from pipeline.settings import PLACED, usable_cores
from trainables.errors import UsageError
from trainables.files import write_json

if TYPE_CHECKING:
    from pipeline.plan.options import PlanOptions
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages

TAKEN = 0.4
"""Seconds in which a worker that has ended a trial takes up the next."""


def make_plan(options: PlanOptions, console: Console | None = None) -> dict[str, Any]:
    """The plan of a sweep; of one that has begun, the plan that was kept, with what it took so far.

    Raises:
        UsageError: options that ``run`` would refuse, or a cluster of unknown size.
        UserError: data that cannot be read, or a configuration that cannot be trained here.
    """
    settings = options.sweep_settings()
    home = Home.find(settings.home)
    begun = False
    if options.name:
        folder = home.sweep(require_sweep_name(options.name))
        begun = (folder / SETTINGS_FILE).is_file()
        if begun and (kept := kept_plan(folder)) and not differing(kept, settings.to_json()):
            return with_actual(kept, settings, home)
    plan = _plan(settings, console or Console(stderr=True, highlight=False))
    if begun:  # the estimate came after the fact: it is told, and not kept as if it had come before
        return with_actual(plan, settings, home)
    if options.name:
        write_json(folder / schema.PLAN_FILE, plan)
    return plan


@dataclass(frozen=True)
class _Sample:
    """Configurations of the space, and what some of them took of this machine."""

    configurations: list[dict[str, Any]]
    counts: list[float]
    """Floating-point operations of an update of each."""
    measured: dict[int, Measured]
    """By their place among the configurations, the recipe's first."""
    at_once: int
    """Processes that measured."""
    device: str
    memory: dict[str, int]
    """Bytes of a trial of the recipe, and of the largest configuration."""

    def model(self) -> CostModel:
        """What any configuration takes."""
        return CostModel(tuple((self.counts[place], one) for place, one in self.measured.items()))

    def to_json(self, space: Space) -> dict[str, Any]:
        """What was measured, and where."""
        return {
            "host": platform.node(),
            "device": self.device,
            "at_once": self.at_once,
            "configurations": [
                {
                    "operations_per_update": self.counts[place],
                    **dataclasses.asdict(one),
                    "differs": _changes(space, self.configurations[place]),
                }
                for place, one in self.measured.items()
            ],
        }


def _plan(settings: SweepSettings, console: Console) -> dict[str, Any]:
    _require_plannable(settings)
    given, space = settings, settings.resolve_space()
    settings = dataclasses.replace(settings, fuse="off")
    require_combination(settings, space)
    trials = proposals(make_sampler(settings.sampler, settings.seed, space), settings.trials)
    with console.status("pictures, and what they are scored by"):
        images, _ = picture_data(settings)
    if len(images.pixels) == images.complete:
        space = space.without("training.extra_data", False)
    if settings.address is None:
        settings, _ = placed(settings, (this_machine(),), space, images)
    where = {**{name: getattr(settings, name) for name in PLACED}, "concurrent": settings.slots()}
    settings = dataclasses.replace(settings, trials=trials)
    sample = _measure(settings, space, images, console)
    model, points = sample.model(), evaluations(settings)
    seconds = [
        [TAKEN + at for at in model.seconds(params, count, points)]
        for params, count in zip(sample.configurations, sample.counts, strict=True)
    ]
    courses = expected(settings, trials, seconds, model.error, settings.seed)
    return {
        "sweep": settings.name,
        "space": settings.space,
        "trials": Range.of([len(course.ended) for course in courses]).to_json(),
        "kimg": Range.of([course.kimg for course in courses]).to_json(),
        "hours": Range.of([course.seconds / 3600 for course in courses]).to_json(),
        "without_stopping": {"kimg": trials * settings.max_kimg},
        "slots": settings.slots(),
        "gpus_per_trial": settings.gpus() or 0.0,
        "memory_per_trial": sample.memory,
        "trial_hours": Range.of([row[-1] / 3600 for row in seconds]).to_json(),
        "recipe_hours": seconds[0][-1] / 3600,
        "error_of_seconds": model.error,
        "simulated_sweeps": REPEATS,
        "measured": sample.to_json(space),
        "settings": {name: value for name, value in given.to_json().items() if name not in COSTLESS},
        "placed": where,
        "made": time.time(),
    }


def _require_plannable(settings: SweepSettings) -> None:
    if settings.address is not None and settings.concurrent is None:
        raise UsageError("plan does not connect to a cluster; give --concurrent, the trials that it will run at once")
    if settings.fused() > 1:
        raise UsageError(f"plan measures trials that are trained one by one; leave out --fuse {settings.fuse}")


def _measure(settings: SweepSettings, space: Space, images: TaggedImages, console: Console) -> _Sample:
    """Count the operations of configurations of the space, and measure a few of them, as many at once as in a sweep."""
    gpus = settings.gpus() or 0.0
    device = "cuda" if gpus else "cpu"
    with console.status("operations of configurations of the space"):
        configurations = sampled(space, settings.seed)
        counts = [operations(params, images) for params in configurations]
    places = corners(counts)
    # On a GPU those that share it disturb each other, on a CPU those that share the machine.
    here = int(1 / gpus + 1e-6) if 0 < gpus < 1 else usable_cores() // settings.cpus_per_trial if not gpus else 1
    processes = max(1, min(settings.slots(), here))
    with console.status(f"a few updates and scores of {len(places)} configurations, {processes} at once"):
        found = measure_all(settings, [configurations[place] for place in places], processes, device)
        memory = _memory(settings, space, images, device, found[0].peak)
    return _Sample(configurations, counts, dict(zip(places, found, strict=True)), processes, device, memory)


def _memory(settings: SweepSettings, space: Space, images: TaggedImages, device: str, peak: int) -> dict[str, int]:
    """Bytes of the recipe's trial, as it was measured with scoring; of the largest, more by what its training takes."""
    recipe, largest_one = (
        measure(measuring(params, settings, images, device))["peak"] for params in (dict(space.recipe), largest(space))
    )
    return {"recipe": peak, "largest": peak + max(0, largest_one - recipe)}


def _changes(space: Space, params: dict[str, Any]) -> dict[str, Any]:
    return {d.name: params[d.name] for d in space.dimensions if params[d.name] != space.recipe[d.name]}


def with_actual(plan: dict[str, Any], settings: SweepSettings, home: Home) -> dict[str, Any]:
    """A plan with what the sweep has taken since, and how far off that was; or why the two do not compare."""
    try:
        sweep = load(settings.name, home=home.root, tracking=settings.tracking)
    except AnalysisError:  # begun, and nothing was tracked yet
        return plan
    if others := differing(plan, sweep.settings):
        return {**plan, "not_compared": others}
    return {**plan, "actual": actual(sweep), "error": errors(plan, sweep)}
