"""Ray Tune scheduler that applies a stopping rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from analysis import schema
from pipeline.schedulers import RULES
from pipeline.tune_adapters.retry import RetryState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from pipeline.schedulers.base import StoppingRule
    from pipeline.schedulers.population_based import PbtExploiter


class RuleScheduler(FIFOScheduler):
    """Starts trials in order, and stops them by a rule or at the end of their budget."""

    def __init__(self, rule: StoppingRule, max_kimg: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rule, self.max_kimg = rule, max_kimg
        self.failures = RetryState()
        self.explore: PbtExploiter | None = None
        """Carries out the copies that population-based training decides on."""

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """Return the next trial in order, and note which trials no longer wait for an exclusive node."""
        if self.failures.waiting:
            trials: list[Trial] = tune_controller.get_trials()  # type: ignore[no-untyped-call]
            self.failures.waiting &= {trial.trial_id for trial in trials if trial.status == trial.PENDING}
        return super().choose_trial_to_run(tune_controller)

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """Record a crash; Tune calls this before it repeats the trial or gives it up."""
        self.failures.record(trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Return whether the trial continues."""
        self.failures.record_result(trial, result)
        if schema.KIMG not in result:
            return TrialScheduler.CONTINUE
        key, kimg = trial.config["key"], int(schema.cost(result))
        continues = self.rule.report(key, kimg, result)
        if (
            self.explore
            and kimg < self.max_kimg
            and not result.get("done")
            and (best := self.rule.exploit_candidates(key, kimg))
        ):
            self.explore(key, kimg, best)
        return TrialScheduler.CONTINUE if continues and kimg < self.max_kimg else TrialScheduler.STOP

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """Record the last result of a trial that ended by itself, for which Tune requests no decision."""
        self.on_trial_result(tune_controller, trial, result)

    def debug_string(self) -> str:
        """Return the rule's name, for Tune's log."""
        return type(self.rule).__name__


def make_scheduler(name: str, rungs: Sequence[int], max_kimg: int) -> RuleScheduler:
    """Create the Ray Tune scheduler of that name."""
    return RuleScheduler(RULES[name](rungs, max_kimg), max_kimg)


def replay(scheduler: RuleScheduler, results: Iterable[tuple[str, int, Mapping[str, Any]]]) -> None:
    """Rebuild the state of a scheduler after a restart of the driver.

    Args:
        scheduler: a new one for the same sweep.
        results: key, kimg and scores of every recorded result, in the order of recording.
    """
    scheduler.rule.replay(results)
