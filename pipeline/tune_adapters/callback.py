"""Ray Tune callback that passes events of trials to tracking and progress."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.result import AUTO_RESULT_KEYS

from analysis import schema
from pipeline.trial_status import CRASH, outcome
from pipeline.tune_adapters.reported_errors import ErrorFiles
from trainables.errors import UserError
from trainables.storage.checkpoints import CHECKPOINTS
from trainables.trial.result_packing import NODE, unpack_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from ray.tune.experiment import Trial

    from pipeline.tracking.progress import Progress
    from pipeline.tracking.slot_utilization import SlotUtilization
    from pipeline.tracking.tracker import Tracker
    from pipeline.trial_status import TrialEnd
    from trainables.storage.storage import Storage


class SweepCallback(tune.Callback):
    """Passes the start, results and end of each trial to the tracker and the progress line."""

    def __init__(
        self,
        tracker: Tracker,
        progress: Progress,
        max_kimg: int,
        storage: Storage,
        slot_use: SlotUtilization | None = None,
        on_scores: Callable[[], None] | None = None,
    ) -> None:
        self.on_scores = on_scores
        """Called before scores are logged."""
        self.tracker, self.progress, self.max_kimg, self.storage = tracker, progress, max_kimg, storage
        self.slot_use = slot_use
        self._crashes: dict[str, str] = {}
        """Reasons, by key, of errors that trials have reported and are about to raise."""
        self._errors = ErrorFiles()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record the start of a trial on a worker slot."""
        if self.slot_use is not None:
            self.slot_use.ready()
        self.tracker.start_trial(trial.config)
        key = trial.config["key"]
        self.progress.started(key, self.tracker.last_kimg(key))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record a result: scores, divergence, or an error that is about to be raised."""
        result = unpack_result(result)
        if self.slot_use is not None:
            self.slot_use.result(result)
            if self.slot_use.due():
                self.tracker.log_sweep(self.slot_use.figures())
        key = trial.config["key"]
        if CRASH in result:
            self._crashes[key] = result[CRASH]
            return
        self.tracker.ran_on(key, str(result.get(NODE) or result.get("hostname") or ""))
        if schema.DISTANCE in result:  # a trial that failed early has scores, one that diverged has none
            if self.on_scores is not None:
                self.on_scores()
            reported = {name: value for name, value in result.items() if name not in AUTO_RESULT_KEYS}
            self.tracker.log_result(key, reported)
        if result.get("notice"):
            self.progress.note(key, result["notice"])
        self.progress.result(key, result)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Forget the crash of a trial that Tune repeats."""
        self._crashes.pop(trial.config["key"], None)
        self._errors.reason(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record the end of a trial that completed, was stopped or failed without an error."""
        ended = outcome(trial.last_result, self.max_kimg)
        self.end(trial.config, ended)
        # A complete trial may continue in an extended sweep, a repeat never. `gansweep clean` deletes what stays.
        if ended.status != schema.COMPLETE or "repeat" in trial.config:
            with contextlib.suppress(UserError):
                self.storage.below(trial.config["key"]).delete_folder(CHECKPOINTS)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Record the end of a trial by an error."""
        with contextlib.suppress(UserError):  # logs results that it stored earlier
            self.tracker.start_trial(trial.config)
        reason = self._crashes.pop(trial.config["key"], None) or self._errors.reason(trial)
        self.end(trial.config, outcome(None, self.max_kimg, reason))

    def end(self, config: dict[str, Any], ended: TrialEnd) -> None:
        """Close the run of a trial, and print a failure."""
        key = config["key"]
        self.tracker.open_trial(config)  # a trial can die before Tune reports its start
        self.tracker.finish_trial(key, ended)
        self.progress.ended(key, ended)

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Ray pickles callbacks at times, and database connections stay with the driver."""
        return {}
