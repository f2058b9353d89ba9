"""A stopping rule as a scheduler of Ray Tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from analysis import schema
from pipeline.failures import Failures

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from pipeline.schedulers.population import Explorer
    from pipeline.schedulers.rule import StoppingRule


class RuleScheduler(FIFOScheduler):
    """Starts trials in their order, stops them by a rule and at the end of their budget."""

    def __init__(self, rule: StoppingRule, max_kimg: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rule, self.max_kimg = rule, max_kimg
        self.failures = Failures()
        self.explore: Explorer | None = None
        """Carries out what a population's rule decides."""

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """The next in order; notes which trials no longer wait for a node of their own."""
        if self.failures.waiting:
            trials: list[Trial] = tune_controller.get_trials()  # type: ignore[no-untyped-call]
            self.failures.waiting &= {trial.trial_id for trial in trials if trial.status == trial.PENDING}
        return super().choose_trial_to_run(tune_controller)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """A trial has crashed; Tune asks here before it tries it again, or gives it up."""
        self.failures.record(trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the trial goes on."""
        if schema.KIMG not in result:
            return TrialScheduler.CONTINUE
        key, kimg = trial.config["key"], int(result[schema.KIMG])
        goes_on = self.rule.report(key, kimg, result)
        if self.explore and kimg < self.max_kimg and not result.get("done") and (best := self.rule.sources(key, kimg)):
            self.explore(key, kimg, best)
        return TrialScheduler.CONTINUE if goes_on and result[schema.KIMG] < self.max_kimg else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """Record the result with which a trial ended of itself; Tune asks no decision for it."""
        self.on_trial_result(tune_controller, trial, result)

    def debug_string(self) -> str:
        """The rule's name, for Tune's log."""
        return type(self.rule).__name__
