"""Repeats trained in this process, as batched programs of runs with equal structure.

Each run keeps its own folder, checkpoints, MLflow run and end. Ray Tune takes no part: there are no worker slots, no
nodes and no retries.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from analysis import schema
from pipeline.sweep.prepare import trial_context
from pipeline.tracking.progress import Progress
from pipeline.trial_status import crash_reason, outcome
from pipeline.tune_adapters.callback import SweepCallback
from pipeline.tune_adapters.time_limit import TimeLimitStopper
from trainables.config import GanConfig
from trainables.fused.fused_loop import fusable
from trainables.fused.trial_group import TrialGroup
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipeline.repeats.plan import Repeat
    from pipeline.sweep.prepare import Prepared
    from pipeline.tracking.tracker import Tracker
    from trainables.storage.storage import Storage
    from trainables.trial.context import TrialContext


@dataclass
class _Run:
    """The attributes of a Tune trial that the callback reads."""

    config: dict[str, Any]
    last_result: dict[str, Any] | None = None


def group_fusable(remaining: Sequence[Repeat], most: int) -> list[list[Repeat]]:
    """Group runs that can be fused, at most ``most`` to a group, in the order of their first runs."""
    groups: list[list[Repeat]] = []
    for repeat in remaining:
        config = GanConfig.from_params(repeat.params)
        for group in groups:
            if len(group) < most and fusable(GanConfig.from_params(group[0].params), config):
                group.append(repeat)
                break
        else:
            groups.append([repeat])
    return groups


def run_fused(
    remaining: Sequence[Repeat],
    prepared: Prepared,
    tracker: Tracker,
    console: Console,
    most: int,
) -> int:
    """Train runs in this process, at most ``most`` at a time, within the budget of ``prepared``.

    Returns:
        The number of runs that have not ended at the time limit.
    """
    training, budget, storage = prepared.sweep.training, prepared.sweep.budget, prepared.sweep.places.storage
    tracker.precision, tracker.fused = training.precision, most
    deadline = TimeLimitStopper(budget.seconds)
    scorer = prepared.scoring.future.result().scorer
    recipe = prepared.sweep.space.recipe
    context = trial_context(prepared.images, scorer, training, budget, prepared.resources, recipe)
    context = replace(context, gpu_share=1.0)  # a smaller share was that of a trial beside others
    with Progress(len(remaining), budget.max_kimg, most, console) as progress:
        callback = SweepCallback(tracker, progress, budget.max_kimg, storage)
        return sum(_run_group(group, context, storage, callback, deadline) for group in group_fusable(remaining, most))


def _run_group(
    repeats: Sequence[Repeat],
    context: TrialContext,
    storage: Storage,
    callback: SweepCallback,
    deadline: TimeLimitStopper,
) -> int:
    """Train one group, and return the number of runs that have not ended at the time limit."""
    if deadline.stop_all():
        return len(repeats)
    interrupted = 0
    group, runs = TrialGroup(context.device), {repeat.key: _Run(repeat.config()) for repeat in repeats}
    for key, run in runs.items():
        callback.on_trial_start(0, [], cast("Any", run))
        group.join(key, lambda clock, key=key, run=run: Trial(  # type: ignore[misc]
            context, run.config["params"], run.config["seed"], storage.below(key), clock,
            image_share=run.config.get("image_share"),
        ))  # fmt: skip
    while group.keys and not deadline.stop_all():
        for key, answer in group.step().items():
            run = runs[key]
            if isinstance(answer, Exception):
                group.leave(key)
                ended = outcome(None, callback.max_kimg, crash_reason(answer))
                interrupted += ended.status == schema.INTERRUPTED
                callback.end(run.config, ended)
                continue
            run.last_result = answer
            callback.on_trial_result(0, [], cast("Any", run), {**answer, "hostname": platform.node()})
            if answer["done"]:
                group.leave(key)
                callback.on_trial_complete(0, [], cast("Any", run))
    return len(group.keys) + interrupted
