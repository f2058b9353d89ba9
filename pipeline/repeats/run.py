"""Train configurations again on fresh seeds, for `confirm` and `ablate`.

Ray Tune runs a plan like the trials of a sweep, with the same tracker, checkpoints and storage. Ended runs are kept;
the same command continues runs that were interrupted, crashed or ran out of memory.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from rich.console import Console

from analysis import schema
from analysis.mlflow_reader.connect import readable_errors
from analysis.mlflow_reader.run_table import costs
from pipeline.cluster.node_checks import require_nodes, require_resources
from pipeline.cluster.ray_runtime import connect_cluster
from pipeline.console import clock
from pipeline.repeats.fused_run import run_fused
from pipeline.repeats.searcher import PlanSearcher
from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.sweep.prepare import describe_data, prepare
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.run import run_trials
from pipeline.sweep_lock import lock_sweep
from pipeline.tracking.client import open_client
from pipeline.tracking.ownership import require_own_experiment
from pipeline.tracking.progress import Progress
from pipeline.tracking.sweep_page import SweepPage
from pipeline.tracking.tracker import Tracker
from pipeline.trial_status import TrialEnd
from pipeline.tune_adapters.scheduler import make_scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.mlflow_reader.sweep import Sweep
    from pipeline.repeats.plan import Repeat
    from pipeline.settings import SweepSettings
    from pipeline.sweep.prepare import Prepared


def run_plan(
    plan: Sequence[Repeat],
    settings: SweepSettings,
    sweep: Sweep,
    fuse: int | None = None,
) -> str:
    """Train the runs of a plan that have not ended yet.

    Args:
        plan: runs of one kind and budget.
        settings: of the sweep, with overrides of where and how fast the runs are trained.
        sweep: recorded trials, from which the duration is estimated.
        fuse: train this many runs as one program, in this process; default: Ray Tune trains them one by one.

    Returns:
        ``complete``, or ``interrupted`` if the time limit is reached.

    Raises:
        UserError: settings, data, tracking or resources that cannot be used.
    """
    if fuse is not None:  # one process, whatever the sweep's trials took
        settings = dataclasses.replace(settings, fuse="off", concurrent=1)
    console = Console(stderr=True, highlight=False)
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    resolved = resolve_sweep(settings)
    places = resolved.places
    with lock_sweep(places.home, resolved.name):
        client = open_client(places.home, places.tracking)
        with readable_errors(places.tracking or places.home.tracking):
            require_own_experiment(client, places.home, resolved.name)
        tracker = Tracker(client, places.home, resolved.name, resolved.space, places.storage, say)
        remaining = [repeat for repeat in plan if repeat.key not in tracker.ended]
        slots = dataclasses.replace(resolved.request.use_cores(), trials=len(remaining)).slots
        say(_announcement(plan, remaining, slots, sweep))
        if not remaining:
            tracker.sender.close()
            return schema.COMPLETE
        with connect_cluster(places.address) as nodes:
            nodes = require_nodes(nodes, places.storage)
            prepared = _prepare_repeats(prepare(resolved, nodes, console), remaining)
            if fuse is None:  # more of them may run at once than trials of the sweep did
                size = prepared.images.pickled_bytes
                require_resources(prepared.resources, size, places.home.root, nodes if places.address else ())
            return _run(remaining, prepared, tracker, console, fuse)


def _prepare_repeats(prepared: Prepared, remaining: Sequence[Repeat]) -> Prepared:
    """Give a prepared sweep the budget and the number of runs of its repeats."""
    settings, max_kimg = prepared.settings, remaining[0].budget
    repeated = dataclasses.replace(
        settings,
        max_kimg=max_kimg,
        eval_kimg=min(settings.eval_kimg, max_kimg) if settings.eval_kimg else None,
        budgets=tuple(earlier for earlier in settings.budgets if earlier < max_kimg),
        max_trial_seconds=None,  # runs of unequal length do not compare
    )
    # A mean without the seeds that collapsed would be too good.
    training = dataclasses.replace(prepared.sweep.training, failure_rules=())
    return dataclasses.replace(
        prepared,
        sweep=dataclasses.replace(prepared.sweep, budget=resolve_budget(repeated), training=training),
        resources=dataclasses.replace(prepared.resources, trials=len(remaining)),
    )


def _run(
    remaining: Sequence[Repeat], prepared: Prepared, tracker: Tracker, console: Console, fuse: int | None = None
) -> str:
    max_kimg = prepared.sweep.budget.max_kimg
    tracker.start_repeats(describe_data(prepared), prepared.scoring.future.result().scorer.fingerprint.to_json())
    searcher, scheduler = PlanSearcher(remaining), make_scheduler("none", (), max_kimg)
    try:
        if fuse is not None:
            unfinished = run_fused(remaining, prepared, tracker, console, fuse)
            return schema.INTERRUPTED if unfinished else schema.COMPLETE
        progress = Progress(searcher.pending, max_kimg, prepared.resources.trials_at_once, console)
        run_trials(prepared, searcher, scheduler, tracker, progress)
    finally:
        tracker.finish_repeats(TrialEnd(schema.INTERRUPTED, f"the {remaining[0].kind} was interrupted"))
        # The sweep's page names the confirmed best, which becomes the champion.
        say = functools.partial(console.print, markup=False, soft_wrap=True)
        SweepPage(tracker, say, min_tag_accuracy=prepared.settings.min_tag_accuracy).finish()
    searcher.failures.require_disk(prepared.sweep.name)
    return schema.INTERRUPTED if searcher.pending or searcher.running else schema.COMPLETE


def _announcement(plan: Sequence[Repeat], remaining: Sequence[Repeat], slots: int, sweep: Sweep) -> str:
    seeds = len({repeat.seed for repeat in plan})
    text = (
        f"{plan[0].kind} of {sweep.name}: {len(plan) // seeds} configurations on {seeds} "
        f"seed{'s' * (seeds != 1)}, {plan[0].budget} {schema.budget_unit(sweep.settings)} each"
    )
    if not remaining:
        return f"{text}; all {len(plan)} runs have ended"
    text += f"; {len(remaining)} of {len(plan)} runs to go"
    trials = sweep.trials.set_index("key")
    pace = trials["seconds"] / costs(trials)
    usual = pace.replace(float("inf"), float("nan")).dropna().median()
    seconds = sum(_known(pace.get(repeat.of), usual) * repeat.budget for repeat in remaining) / slots
    return f"{text}, about {clock(seconds)} at the sweep's pace" if seconds == seconds else text  # NaN: no pace known


def _known(value: float | None, otherwise: float) -> float:
    return otherwise if value is None or not 0 < value < float("inf") else value
