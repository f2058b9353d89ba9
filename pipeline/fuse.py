"""Repeats trained together in this process: runs of equal structure share one batched program.

Each run keeps its folder, its checkpoints, its MLflow run and its end; what Ray Tune does for other runs (slots,
nodes, second tries) is not there.
"""

from __future__ import annotations

import platform
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from pipeline.callback import SweepCallback
from pipeline.deadline import Deadline
from pipeline.launch import trial_context
from pipeline.outcome import outcome
from pipeline.progress import Progress
from trainables.config import GanConfig
from trainables.fused import fusable
from trainables.group import TrialGroup
from trainables.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipeline.prepare import Prepared
    from pipeline.repeats import Repeat
    from pipeline.settings import SweepSettings
    from pipeline.tracking import Tracker
    from trainables.storage import Storage
    from trainables.trial import TrialContext


@dataclass
class _Run:
    """What the callback asks of one of Tune's trials."""

    config: dict[str, Any]
    last_result: dict[str, Any] | None = None


def parties(left: Sequence[Repeat], most: int) -> list[list[Repeat]]:
    """The runs in groups of at most ``most`` that can be one program, in the order of their first ones."""
    found: list[list[Repeat]] = []
    for repeat in left:
        config = GanConfig.from_params(repeat.params)
        for party in found:
            if len(party) < most and fusable(GanConfig.from_params(party[0].params), config):
                party.append(repeat)
                break
        else:
            found.append([repeat])
    return found


def run_fused(
    left: Sequence[Repeat],
    prepared: Prepared,
    settings: SweepSettings,
    tracker: Tracker,
    console: Console,
    most: int,
) -> int:
    """Carry out runs, at most ``most`` at a time.

    Returns:
        How many have not ended when the time limit of ``settings`` comes.
    """
    tracker.precision, tracker.fused = settings.precision, most
    waiting, deadline = parties(left, most), Deadline(settings.seconds())
    context = replace(trial_context(prepared, settings), gpu_share=1.0)  # a smaller one was for one trial of several
    with Progress(len(left), settings.max_kimg, most, console) as progress:
        callback = SweepCallback(tracker, progress, settings.max_kimg, prepared.storage)
        unfinished = 0
        for party in waiting:
            unfinished += _run_party(party, context, prepared.storage, callback, deadline)
    return unfinished


def _run_party(
    party: Sequence[Repeat], context: TrialContext, storage: Storage, callback: SweepCallback, deadline: Deadline
) -> int:
    """Step the runs of one party until they have ended; how many have not, where the time is over."""
    if deadline.stop_all():
        return len(party)
    group, runs = TrialGroup(context.device), {repeat.key: _Run(repeat.config()) for repeat in party}
    for key, run in runs.items():
        callback.on_trial_start(0, [], cast(Any, run))
        group.join(key, lambda clock, key=key, run=run: Trial(  # type: ignore[misc]
            context, run.config["params"], run.config["seed"], storage.below(key), clock
        ))  # fmt: skip
    while group.keys and not deadline.stop_all():
        for key, answer in group.step().items():
            run = runs[key]
            if isinstance(answer, Exception):
                group.leave(key)
                text = "".join(traceback.format_exception(answer))
                callback.end(run.config, outcome(None, callback.max_kimg, text))
                continue
            run.last_result = answer
            callback.on_trial_result(0, [], cast(Any, run), {**answer, "hostname": platform.node()})
            if answer["done"]:
                group.leave(key)
                callback.on_trial_complete(0, [], cast(Any, run))
    return len(group.keys)
