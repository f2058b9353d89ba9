"""Training configurations again, on seeds of their own: what `confirm` and `ablate` share.

A plan lists the runs; Ray Tune carries it out like the trials of a sweep, with the same trackers, checkpoints and
places. What has ended stays ended; what was interrupted, crashed or ran out of memory goes on, so the same command may
be given again.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.tune.search import Searcher
from rich.console import Console

from analysis import schema
from analysis.connect import readable_errors
from analysis.runs import METRICS
from pipeline.cluster import connected
from pipeline.failures import Failures
from pipeline.fuse import run_fused
from pipeline.home import Home
from pipeline.launch import run_trials
from pipeline.lock import exclusive
from pipeline.outcome import Outcome
from pipeline.ownership import require_own_experiment
from pipeline.preflight import require_nodes, require_resources
from pipeline.prepare import describe_data, prepare
from pipeline.progress import Progress, clock
from pipeline.schedulers import make_scheduler
from pipeline.showcase import Showcase
from pipeline.tracking import Tracker, open_client
from trainables.config import GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from analysis.runs import Sweep
    from pipeline.prepare import Prepared
    from pipeline.settings import SweepSettings
    from trainables.config import Value


@dataclass(frozen=True)
class Repeat:
    """One run of a plan."""

    kind: str
    """One of ``schema.REPEATS``."""
    of: str
    """Key of the trial under whose run it is nested."""
    variant: str
    index: int
    """Which of the plan's seeds it has, from 0."""
    seed: int
    params: Mapping[str, Value]
    """All of them."""
    budget: int
    """In kimg."""
    key: str
    recipe: bool = False
    change: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """In which parameters it differs from what it is compared with."""

    def config(self) -> dict[str, Any]:
        """What Tune gives to the trial and to the callback."""
        number = self.of.rpartition("-")[2]
        variant = "" if self.variant == schema.UNCHANGED else f" {self.variant}"
        return {
            "key": self.key,
            "name": f"{number}{variant} seed {self.index}",
            "recipe": self.recipe,
            "params": dict(self.params),
            "config_hash": GanConfig.from_params(self.params).hash(),
            "seed": self.seed,
            "repeat": {
                schema.KIND: self.kind,
                schema.OF: self.of,
                schema.VARIANT: self.variant,
                schema.VARIANT_PARAMS: json.dumps(dict(self.change)),
                schema.SEED: str(self.seed),
                schema.BUDGET: str(self.budget),
            },
        }


@dataclass(frozen=True)
class Repeated:
    """How a plan ended, and where its results are."""

    status: str
    """``complete`` or ``interrupted``."""
    budget: int
    home: Path | None
    tracking: str | None


class PlanSearcher(Searcher):
    """Proposes the runs of a plan, in their order."""

    def __init__(self, plan: Sequence[Repeat]) -> None:
        super().__init__()
        self.failures = Failures()
        """The scheduler's, while runs are carried out."""
        self._left = list(plan)
        self._running: set[str] = set()

    @property
    def pending(self) -> int:
        """Runs that are still to be issued."""
        return len(self._left)

    @property
    def running(self) -> int:
        """Runs that were issued and have not ended."""
        return len(self._running)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # FINISHED is a str
        """The next run, that there are no more, or ``None``: not now."""
        if self.failures.waiting:
            return None  # whatever began now would take a core of the node that is to become empty
        if not self._left:
            return Searcher.FINISHED
        self._running.add(trial_id)
        return self._left.pop(0).config()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """One less is running."""
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: MLflow knows what has ended."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: MLflow knows what has ended."""


def repeat_seed(kind: str, sweep_seed: int, index: int) -> int:
    """The training seed number ``index`` of a sweep's confirmations or ablations.

    The configuration has no part in it: all are trained on the same seeds. Training seeds of trials lie below 2**31,
    those of confirmations in the next 2**31 numbers, those of ablations above, so that no seed serves twice.
    """
    drawn = int(hashlib.sha256(f"{kind} {sweep_seed} {index}".encode()).hexdigest()[:8], 16) >> 1
    return (1 + schema.REPEATS.index(kind) << 31) + drawn


def budget_suffix(settings: SweepSettings, budget: int) -> str:
    """What a key ends with where the budget is not that of the sweep as it was first run."""
    return "" if budget == (*settings.budgets, settings.max_kimg)[0] else f"-k{budget}"


def params_of(sweep: Sweep, key: str) -> dict[str, Value]:
    """The parameters of a trial, as it was trained.

    Raises:
        UserError: they are not what the trial's hash says.
    """
    row = sweep.trials.set_index("key").loc[key]
    names = [name for name in sweep.params if name != "seed" and row[f"params.{name}"] is not None]
    config = GanConfig.from_params({name: _plain(row[f"params.{name}"]) for name in names})
    if config.hash() != row["config_hash"]:
        raise UserError(
            f"the parameters of trial {key} in MLflow are not those it was trained with; was its run edited?"
        )
    return config.to_params()


def mutated_keys(sweep: Sweep) -> set[str]:
    """Keys of trials that went on from others' networks: no training from the start earns their scores again."""
    name = f"{METRICS}{schema.MUTATIONS}"
    if name not in sweep.trials:
        return set()
    return set(sweep.trials.loc[sweep.trials[name].fillna(0).astype(float) > 0, "key"])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def carry_out(
    plan: Sequence[Repeat],
    settings: SweepSettings,
    sweep: Sweep,
    console: Console | None = None,
    fuse: int | None = None,
) -> str:
    """Run what of a plan has not ended yet.

    Args:
        plan: runs of one kind and budget.
        settings: the sweep's own; where and how fast may be given anew.
        sweep: it tells how long a run takes.
        console: for progress; default: stderr.
        fuse: train so many runs as one program, in this process; default: Ray Tune runs them one by one.

    Returns:
        ``complete``, or ``interrupted`` where the time limit came first.

    Raises:
        UserError: settings, data, tracking or resources that do not allow it.
    """
    if fuse is not None:  # one process, whatever the sweep's trials took
        settings = dataclasses.replace(settings, fuse="off", concurrent=1)
    console = console or Console(stderr=True, highlight=False)
    home, space = Home.find(settings.home), settings.resolve_space()
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    with exclusive(home, settings.name):
        client, storage = open_client(home, settings.tracking), home.storage(settings.name, settings.storage)
        with readable_errors(settings.tracking or home.tracking):
            require_own_experiment(client, home, settings.name)
        tracker = Tracker(client, home, settings.name, space, storage, say)
        left = [repeat for repeat in plan if repeat.key not in tracker.ended]
        say(_announcement(plan, left, settings, sweep))
        if not left:
            tracker.sender.close()
            return schema.COMPLETE
        with connected(settings.address) as nodes:
            nodes = require_nodes(nodes, storage)
            prepared = prepare(settings, home, space, console, nodes)
            if fuse is None:  # they may be more at once than the sweep's trials were
                several = dataclasses.replace(prepared.settings, trials=len(left))
                size = prepared.images.pixels.nbytes
                require_resources(several, size, home.root, nodes if settings.address else ())
            return _run(left, prepared, tracker, console, fuse)


def _run(
    left: Sequence[Repeat], prepared: Prepared, tracker: Tracker, console: Console, fuse: int | None = None
) -> str:
    settings, budget = prepared.settings, left[0].budget
    own = dataclasses.replace(
        settings,
        trials=len(left),
        max_kimg=budget,
        eval_kimg=min(settings.eval_kimg, budget) if settings.eval_kimg else None,
        budgets=tuple(earlier for earlier in settings.budgets if earlier < budget),
        # Runs of unequal length would not compare, and a mean without the seeds that collapsed would flatter.
        max_trial_seconds=None,
        end_hopeless="none",
    )
    tracker.start_repeats(describe_data(prepared), prepared.scorer.fingerprint.to_json())
    searcher, scheduler = PlanSearcher(left), make_scheduler("none", (), budget)
    searcher.failures = scheduler.failures
    try:
        if fuse is not None:
            unfinished = run_fused(left, prepared, own, tracker, console, fuse)
            return schema.INTERRUPTED if unfinished else schema.COMPLETE
        progress = Progress(searcher.pending, budget, own.at_once(), console)
        run_trials(prepared, own, searcher, scheduler, tracker, progress)
    finally:
        tracker.finish_repeats(Outcome(schema.INTERRUPTED, f"the {left[0].kind} was interrupted"))
        # The sweep's page names the confirmed best, and the champion is the one that was confirmed.
        Showcase(tracker, functools.partial(console.print, markup=False, soft_wrap=True)).finish()
    return schema.INTERRUPTED if searcher.pending or searcher.running else schema.COMPLETE


def _announcement(plan: Sequence[Repeat], left: Sequence[Repeat], settings: SweepSettings, sweep: Sweep) -> str:
    seeds = len({repeat.seed for repeat in plan})
    text = (
        f"{plan[0].kind} of {settings.name}: {len(plan) // seeds} configurations on {seeds} "
        f"seed{'s' * (seeds != 1)}, {plan[0].budget} kimg each"
    )
    if not left:
        return f"{text}; all {len(plan)} runs have ended"
    text += f"; {len(left)} of {len(plan)} runs to go"
    trials = sweep.trials.set_index("key")
    pace = trials["seconds"] / trials["kimg"]
    usual = pace.replace(float("inf"), float("nan")).dropna().median()
    seconds = sum(_known(pace.get(repeat.of), usual) * repeat.budget for repeat in left)
    seconds /= dataclasses.replace(settings, trials=len(left)).slots()
    return f"{text}, about {clock(seconds)} at the sweep's pace" if seconds == seconds else text  # NaN: no pace known


def _known(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not 0 < value < float("inf") else value
