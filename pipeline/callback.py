"""What happens in the driver when Tune reports: tracking, progress, housekeeping."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.result import AUTO_RESULT_KEYS

from analysis import schema
from pipeline.failures import error_text
from pipeline.outcome import outcome
from trainables.checkpoint import CHECKPOINTS
from trainables.errors import UserError
from trainables.report import NODE, unfolded

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from pipeline.outcome import Outcome
    from pipeline.progress import Progress
    from pipeline.slot_use import SlotUse
    from pipeline.tracking import Tracker
    from trainables.storage import Storage


class SweepCallback(tune.Callback):
    """Tells the tracker and the progress display of every start, result and end."""

    def __init__(
        self, tracker: Tracker, progress: Progress, max_kimg: int, storage: Storage, slot_use: SlotUse | None = None
    ) -> None:
        self.tracker, self.progress, self.max_kimg, self.storage = tracker, progress, max_kimg, storage
        self.slot_use = slot_use

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has a slot."""
        if self.slot_use is not None:
            self.slot_use.ready()
        self.tracker.start_trial(trial.config)
        key = trial.config["key"]
        self.progress.started(key, self.tracker.last_kimg(key))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial was scored, or has diverged."""
        result = unfolded(result)
        if self.slot_use is not None:
            self.slot_use.result(result)
            if self.slot_use.due():
                self.tracker.log_sweep(self.slot_use.figures())
        key = trial.config["key"]
        self.tracker.ran_on(key, str(result.get(NODE) or result.get("hostname") or ""))
        if schema.DISTANCE in result:  # a trial beyond hope has scores, one that diverged has none
            ours = {name: value for name, value in result.items() if name not in AUTO_RESULT_KEYS}
            self.tracker.log_result(key, ours)
        if result.get("notice"):
            self.progress.note(key, result["notice"])
        self.progress.result(key, result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has used its budget, was stopped, or has diverged."""
        ended = outcome(trial.last_result, self.max_kimg)
        self.end(trial.config, ended)
        # A complete trial may go on when the sweep is extended; what stays goes with `gansweep clean`. No repeat does.
        if ended.status != schema.COMPLETE or "repeat" in trial.config:
            with contextlib.suppress(UserError):
                self.storage.below(trial.config["key"]).delete_folder(CHECKPOINTS)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has crashed."""
        with contextlib.suppress(UserError):  # what it had stored before
            self.tracker.start_trial(trial.config)
        self.end(trial.config, outcome(None, self.max_kimg, error_text(trial)))

    def end(self, config: dict[str, Any], ended: Outcome) -> None:
        """Close the run of a trial, and say so."""
        key = config["key"]
        self.tracker.open_trial(config)  # a trial can die before Tune says that it has started
        self.tracker.finish_trial(key, ended)
        self.progress.ended(key, ended)

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks now and then; database connections stay with the driver."""
        return {}
