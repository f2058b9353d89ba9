"""Plan a sweep: measure configurations, extrapolate, simulate early stopping, and report intervals."""

from __future__ import annotations

import dataclasses
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import load
from analysis.plan_accuracy import COST_NEUTRAL, actual_cost, changed_options, relative_errors
from pipeline.cluster.memory_probe import make_probe, measure
from pipeline.cluster.placement import largest_config, resolve_placement
from pipeline.cluster.ray_runtime import this_machine
from pipeline.console import show_stage
from pipeline.home import Home
from pipeline.plan.benchmark import Benchmark, images_per_update, load_scorer, measure_all
from pipeline.plan.cost_model import CostModel, choose_measured, operations
from pipeline.plan.early_stopping import REPEATS, Range, simulate_sweeps
from pipeline.resources import usable_cores
from pipeline.schedulers import choose_scheduler
from pipeline.search.compatibility import require_combination
from pipeline.search.random_sampling import draw_configurations
from pipeline.search.samplers import make_sampler, proposals
from pipeline.search.study import objectives, takes_tags
from pipeline.settings import AUTO_PLACEMENT
from pipeline.sweep.prepare import narrow_space
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.saved_plan import load_plan
from pipeline.sweep.saved_settings import SETTINGS_FILE
from trainables.errors import UsageError
from trainables.scoring.tag_classifier.classifier import THREADS, tag_classifier_file
from trainables.scoring.tag_classifier.timing import training_seconds
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from pipeline.resources import Resources
    from pipeline.settings import BudgetUnit, SweepSettings
    from pipeline.sweep.resolve import ResolvedSweep
    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages

COUNTING_SECONDS, FEWEST_COUNTED = 20.0, 24
"""Seconds after which no further configuration's operations are counted, once there are ``FEWEST_COUNTED``."""
TRIAL_START_SECONDS = 0.4
"""Seconds that a worker takes between two trials."""


def make_plan(settings: SweepSettings, console: Console | None = None, *, keep: bool = True) -> dict[str, Any]:
    """Plan a sweep; for one that has started, return the saved plan with its actual cost so far.

    Args:
        settings: of the sweep.
        console: for progress; default: stderr.
        keep: save the plan with the sweep, so that it can be compared with the actual cost.

    Raises:
        UsageError: options that ``run`` would refuse, or a cluster of unknown size.
        UserError: data that cannot be read, or a configuration that cannot be trained here.
    """
    home = Home.find(settings.home)
    started = False
    if keep:
        folder = home.sweep(settings.name)
        started = (folder / SETTINGS_FILE).is_file()
        if started and (saved := load_plan(folder)) and not changed_options(saved, settings.to_json()):
            return add_actual(saved, settings, home)
    plan = _plan(settings, console or Console(stderr=True, highlight=False))
    if started:  # an estimate after the start is shown, but not saved as if it had come before
        return add_actual(plan, settings, home)
    if keep:
        write_json(folder / schema.PLAN_FILE, plan)
    return plan


@dataclass(frozen=True)
class _Sample:
    """Configurations of the space, and the measured cost of some of them."""

    configurations: list[dict[str, Any]]
    counts: list[float]
    """Floating-point operations of one update of each."""
    measured: dict[int, Benchmark]
    """By index into ``configurations``, the recipe's first."""
    at_once: int
    """Processes that measured at once."""
    device: str
    memory: dict[str, int]
    """Bytes of a trial of the recipe, and of the largest configuration."""

    def model(self) -> CostModel:
        """Build the cost model of the space."""
        return CostModel(tuple((self.counts[place], one) for place, one in self.measured.items()))

    def image_shares(self, unit: BudgetUnit) -> list[float]:
        """Return how many images each configuration sees for one of the recipe, by the unit of the budget."""
        if unit == "kimg":
            return [1.0] * len(self.counts)
        costs = self.counts if unit == "flops" else [self.model().update(count) for count in self.counts]
        per_image = [cost / images_per_update(params) for params, cost in zip(self.configurations, costs, strict=True)]
        return [per_image[0] / own for own in per_image]

    def to_json(self, space: Space) -> dict[str, Any]:
        """Return the measurements and the machine."""
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


def _plan(given: SweepSettings, console: Console) -> dict[str, Any]:
    _require_plannable(given)
    settings = dataclasses.replace(given, fuse="off")
    sweep = resolve_sweep(settings)
    settings = sweep.settings
    require_combination(settings, sweep.space)
    if sweep.precision_note:
        console.print(f"  {sweep.precision_note}", markup=False, soft_wrap=True)
    trials = proposals(make_sampler(settings.sampler, settings.seed, sweep.space), settings.trials)
    with show_stage(console, "images and their features") as update:
        images, _ = load_scorer(sweep, update)
    sweep = narrow_space(sweep, images)
    resources = sweep.request.use_cores()
    if settings.address is None:
        resources, _ = resolve_placement(
            sweep.request,
            (this_machine(),),
            sweep.space,
            images,
            precision=sweep.training.precision,
            pixels=sweep.training.pixels,
        )
        settings = settings.with_resources(resources)
    placed = {**{name: getattr(settings, name) for name in AUTO_PLACEMENT}, "concurrent": resources.slots}
    placed["fix"] = list(settings.fix)  # --init-from adds what shapes its networks
    placed["precision"] = settings.precision
    resources = dataclasses.replace(resources, trials=trials)
    sample = _measure(sweep, settings, resources, images, console)
    classifier = _tag_classifier_seconds(sweep, images, console)
    model, points = sample.model(), sweep.budget.evaluations
    shares = sample.image_shares(sweep.budget.unit)
    seconds = [
        [TRIAL_START_SECONDS + at for at in model.seconds(params, count, points, share)]
        for params, count, share in zip(sample.configurations, sample.counts, shares, strict=True)
    ]
    scheduler = choose_scheduler(settings.scheduler, objectives(sweep.space, settings.objectives))
    simulated = simulate_sweeps(scheduler, sweep.budget, resources.slots, trials, seconds, model.error, settings.seed)
    # The tag classifier takes cores beside the first trials, which wait for it at their first score.
    late = max(classifier * min(1.0, THREADS / usable_cores()), classifier - seconds[0][0])
    return {
        "sweep": settings.name,
        "space": settings.space,
        "trials": Range.of([len(one.ended) for one in simulated]).to_json(),
        "kimg": Range.of([one.kimg for one in simulated]).to_json(),
        "hours": Range.of([(one.seconds + late) / 3600 for one in simulated]).to_json(),
        "tag_classifier_seconds": classifier,
        "without_stopping": {"kimg": trials * settings.max_kimg},
        "slots": resources.slots,
        "gpus_per_trial": resources.gpus,
        "memory_per_trial": sample.memory,
        "trial_hours": Range.of([row[-1] / 3600 for row in seconds]).to_json(),
        "recipe_hours": seconds[0][-1] / 3600,
        "error_of_seconds": model.error,
        "simulated_sweeps": REPEATS,
        "measured": sample.to_json(sweep.space),
        "settings": {name: value for name, value in given.to_json().items() if name not in COST_NEUTRAL},
        "placed": {**placed, "scheduler": scheduler},
        "made": time.time(),
    }


def _tag_classifier_seconds(sweep: ResolvedSweep, images: TaggedImages, console: Console) -> float:
    """Estimate the seconds that training the tag classifier takes; 0 if there is none, or if it is cached."""
    cached = tag_classifier_file(sweep.places.home.cache, images.fingerprint, images.size, images.vocabulary).exists()
    if cached or not takes_tags(sweep.space):
        return 0.0
    complete = slice(0, images.complete)
    with show_stage(console, "a few steps of the tag classifier"):
        return training_seconds(images.pixels[complete], images.labels[complete], images.vocabulary)


def _require_plannable(settings: SweepSettings) -> None:
    if settings.address is not None and settings.concurrent is None:
        raise UsageError("plan does not connect to a cluster; give --concurrent, the trials that it will run at once")
    if settings.fuse not in ("auto", "off"):
        raise UsageError(f"plan measures trials one by one; omit --fuse {settings.fuse}")


def _measure(
    sweep: ResolvedSweep, settings: SweepSettings, resources: Resources, images: TaggedImages, console: Console
) -> _Sample:
    """Count the operations of sampled configurations, and measure some, as many at once as trials will run at once."""
    gpus, space = resources.gpus, sweep.space
    device = "cuda" if gpus else "cpu"
    with show_stage(console, "operations of configurations of the space") as update:
        configurations, counts = draw_configurations(space, settings.seed), list[float]()
        began = time.monotonic()
        for params in configurations:
            counts.append(operations(params, images))
            update(f"operations of {len(counts)} of {len(configurations)} configurations")
            if len(counts) >= FEWEST_COUNTED and time.monotonic() - began > COUNTING_SECONDS:
                break  # they are random draws: the first ones represent the others
        configurations = configurations[: len(counts)]
    measured = choose_measured(counts)
    # On a GPU, trials that share it slow each other down; on a CPU, those that share the machine.
    here = int(1 / gpus + 1e-6) if 0 < gpus < 1 else usable_cores() // resources.cpus if not gpus else 1
    processes = max(1, min(resources.slots, here))
    with show_stage(console, f"a few updates and scores of {len(measured)} configurations, {processes} at once"):
        benchmarks = measure_all(settings, [configurations[index] for index in measured], processes, device)
        memory = _memory(space, images, device, sweep.training.precision, benchmarks[0].peak)
    return _Sample(configurations, counts, dict(zip(measured, benchmarks, strict=False)), processes, device, memory)


def _memory(space: Space, images: TaggedImages, device: str, precision: str, peak: int) -> dict[str, int]:
    """Return the bytes of the recipe's trial, measured with scoring, and of the largest, by its additional training."""
    recipe, largest_one = (
        measure(make_probe(params, images, device, precision))["peak"]
        for params in (dict(space.recipe), largest_config(space))
    )
    return {"recipe": peak, "largest": peak + max(0, largest_one - recipe)}


def _changes(space: Space, params: dict[str, Any]) -> dict[str, Any]:
    return {d.name: params[d.name] for d in space.dimensions if params[d.name] != space.recipe[d.name]}


def add_actual(plan: dict[str, Any], settings: SweepSettings, home: Home) -> dict[str, Any]:
    """Return a plan with the sweep's cost so far and the error of the plan, or why the two do not compare."""
    try:
        sweep = load(settings.name, home=home.root, tracking=settings.tracking)
    except AnalysisError:  # started, but nothing is tracked yet
        return plan
    if others := changed_options(plan, sweep.settings):
        return {**plan, "not_compared": others}
    return {**plan, "actual": actual_cost(sweep), "error": relative_errors(plan, sweep)}
