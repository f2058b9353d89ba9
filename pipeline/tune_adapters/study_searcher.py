"""The Optuna study of a sweep as a Ray Tune searcher."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from analysis import schema
from pipeline.schedulers.evaluation_schedule import fits_budget
from pipeline.schedulers.patience import EndedTrial
from pipeline.search.buffered_storage import BufferedStorage
from pipeline.search.samplers import COMPLETE_ONLY_SAMPLERS
from pipeline.search.study import study_objectives
from pipeline.search.trial_attributes import (
    BUDGET,
    CONTINUES,
    EXTENDED,
    OUTCOME,
    PARAMS,
    REASON,
    STATUS,
    first_number,
    recorded_outcome,
    training_seed,
    trial_key,
)
from pipeline.trial_status import CRASH, TrialEnd, outcome
from pipeline.tune_adapters.trial_searcher import TrialSearcher
from trainables.config import GanConfig
from trainables.trial.result_packing import unpack_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.trial import FrozenTrial

    from pipeline.schedulers.patience import Patience
    from pipeline.search.study import StoredStudy
    from search_spaces.space import Space


class StudySearcher(TrialSearcher):
    """Suggests trials from the study, and records how they ended.

    Trial 0 is the baseline recipe. A trial that was running when an earlier driver died is issued again under its key,
    and so is an ended one that continues under a larger budget.

    Args:
        study: of the sweep; its sampler suggests the configurations.
        space: to search.
        sweep: name, which keys begin with.
        trials: number of trials to issue.
        seed: of the sweep.
        max_kimg: budget of a trial.
        total_kimg: budget of the sweep; default: none.
        patience: counts the training since the results last moved; default: none. It counts anew when the sweep is
            extended.
    """

    def __init__(
        self,
        study: StoredStudy,
        space: Space,
        *,
        sweep: str,
        trials: int,
        seed: int,
        max_kimg: int,
        total_kimg: int | None = None,
        patience: Patience | None = None,
    ) -> None:
        super().__init__()
        self.study, self.space, self.objectives = study, space, study_objectives(study)
        self.sweep, self.trials, self.seed = sweep, trials, seed
        self.max_kimg, self.total_kimg, self.patience = max_kimg, total_kimg, patience
        self._storage = BufferedStorage(study.storage, study.study_name)
        self._buffered = optuna.load_study(study_name=study.study_name, storage=self._storage, sampler=study.sampler)
        self._issued: dict[str, int] = {}
        """Numbers of the running trials by Tune's ids."""
        self._interrupted: set[int] = set()
        """Numbers of trials that a fault of the disk ended: the study has them as running, and the next start
        continues them."""
        self._last_results: dict[str, dict[str, Any]] = {}
        recorded = self._recorded()
        self._unfinished = [trial.number for trial in recorded if trial.state == TrialState.RUNNING]
        self._waiting = sum(trial.state == TrialState.WAITING and CONTINUES in trial.user_attrs for trial in recorded)
        self._unissued = trials - sum(map(_counts_as_issued, recorded))
        self._kimg: dict[int, float] = {}
        self._replay_ended([trial for trial in recorded if trial.state.is_finished()])
        if not recorded:
            self._buffered.enqueue_trial(space.active_defaults())

    def _replay_ended(self, ended: list[FrozenTrial]) -> None:
        size = [self.trials, self.max_kimg]
        mark = self.study.user_attrs.get(EXTENDED, {"size": size, "ended": len(ended)})
        if mark["size"] != size:
            mark = {"size": size, "ended": len(ended)}
        self.study.set_user_attr(EXTENDED, mark)
        for count, trial in enumerate(sorted(ended, key=lambda one: (one.datetime_complete, one.number)), start=1):
            self._count(trial)
            if self.patience and count == mark["ended"]:
                self.patience.used = 0.0

    def _recorded(self) -> list[FrozenTrial]:
        return self._buffered.get_trials(deepcopy=False)

    def ended(self) -> Iterator[tuple[str, TrialEnd]]:
        """Yield keys and ends of the trials that have ended and do not continue."""
        last = {first_number(trial): trial for trial in self._recorded()}
        for number, trial in last.items():
            recorded = recorded_outcome(trial)
            if trial.state.is_finished() and recorded:
                yield trial_key(self.sweep, number), TrialEnd(recorded[STATUS], recorded.get(REASON, ""))

    def continue_best(self, budget: int, reduction: int) -> list[str]:
        """Let the best trials that completed an earlier budget continue under the present one, by distance.

        The result does not depend on which of them continue already, so every start of the sweep may call it.

        Args:
            budget: the earlier budget in kimg.
            reduction: the best ``1 / reduction`` of the trials, rounded up, continue.

        Returns:
            Keys of all trials that continue from that budget.
        """
        recorded = self._recorded()
        completed: list[tuple[float, int, FrozenTrial]] = []
        for trial in recorded:
            result = recorded_outcome(trial)
            if result.get(STATUS) == schema.COMPLETE and schema.cost(result) == budget:
                completed.append((result[schema.DISTANCE], trial.number, trial))
        completed.sort(key=lambda entry: entry[:2])
        best = [trial for *_, trial in completed[: math.ceil(len(completed) / reduction)]]
        continued = {first_number(trial) for trial in recorded if trial.user_attrs.get(BUDGET) == budget}
        for trial in best:
            if first_number(trial) not in continued:
                self._buffered.enqueue_trial(trial.params, user_attrs={CONTINUES: first_number(trial), BUDGET: budget})
                self._waiting += 1
        return [trial_key(self.sweep, first_number(trial)) for trial in best]

    @property
    def pending(self) -> int:
        """Number of trials still to be issued; 0 when the total budget or the patience is used and no running trial can
        change that."""
        if not self._unfinished and not self._issued and not self._may_start():
            return 0
        return len(self._unfinished) + self.unused

    @property
    def unused(self) -> int:
        """Number of requested trials that were not issued."""
        return self._waiting + max(0, self._unissued)

    @property
    def running(self) -> int:
        """Number of trials that were issued and have not ended, those that a fault of the disk interrupted included."""
        return len(self._issued) + len(self._interrupted)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # FINISHED is a str
        """Return the next configuration, ``Searcher.FINISHED``, or ``None`` if none may start now."""
        if self.failures.waiting:
            return None  # a new trial would take a core of the node that must become empty
        if self._interrupted:
            return self.FINISHED  # another trial would meet the same fault
        if not self._unfinished and not self._may_start():
            return None if self._issued else self.FINISHED  # one may free budget, or move the front
        if self._unfinished:
            trial, params = self._resume(self._unfinished.pop(0))
        elif self.unused:
            trial = self._buffered.ask()  # waiting trials come first
            if CONTINUES in trial.user_attrs:
                self._waiting -= 1
            else:
                self._unissued -= 1
            params = self._draw(trial)
        else:
            return self.FINISHED
        stored_number = self._storage.commit(trial.number)  # before a trial begins under its key
        self._issued[trial_id] = stored_number
        number = first_number(self._recorded()[stored_number])
        return {
            "key": trial_key(self.sweep, number),
            "number": number,
            "recipe": number == 0,  # a sampler may suggest the recipe again, as a trial like others
            "params": params,
            "config_hash": GanConfig.from_params(params).hash(),
            "seed": training_seed(self.seed, number),
        }

    def _resume(self, number: int) -> tuple[optuna.Trial, dict[str, Any]]:
        """Return a trial that an earlier driver left running, and its configuration."""
        trial = optuna.Trial(self._buffered, self._trial_id(number))
        # That driver may have died before it had written the whole configuration.
        return trial, trial.user_attrs[PARAMS] if PARAMS in trial.user_attrs else self._draw(trial)

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._storage.study_id, number)

    def _may_start(self) -> bool:
        return self._has_budget() and not (self.patience and self.patience.exhausted)

    def _has_budget(self) -> bool:
        """Return whether the total budget covers one more trial besides those that run."""
        recorded = self._recorded()
        unended = (*self._issued.values(), *self._unfinished, *self._interrupted)
        running = {first_number(recorded[number]) for number in unended}
        # A trial that continues is charged its whole budget, which includes what it was trained for before.
        next_one = (
            next((trial for trial in recorded if trial.state == TrialState.WAITING), None) if self._waiting else None
        )
        charged = running | ({first_number(next_one)} if next_one else set())
        finished = sum(kimg for number, kimg in self._kimg.items() if number not in charged)
        return fits_budget(finished, len(running), self.max_kimg, self.total_kimg)

    def _count(self, trial: FrozenTrial) -> None:
        """Count the training of a trial that has ended; one that continued counts once."""
        number, ended = first_number(trial), recorded_outcome(trial)
        before = self._kimg.get(number, 0.0)
        self._kimg[number] = max(float(schema.cost({schema.KIMG: 0.0, **ended})), before)
        if self.patience:
            names = self.objectives if ended.get(STATUS) == schema.COMPLETE else ()
            values = {name: float(ended[name]) for name in names}
            ends = [(name, *_interval_names(name)) for name in names]
            intervals = {name: (ended[low], ended[high]) for name, low, high in ends if {low, high} <= {*ended}}
            self.patience.record(EndedTrial(number, self._kimg[number] - before, values, intervals))

    def _draw(self, trial: optuna.Trial) -> dict[str, Any]:
        params = self.space.sample(trial)
        trial.set_user_attr(PARAMS, params)
        return params

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the result: a trial may end without another, and two-objective studies take no intermediate values."""
        if CRASH not in result:  # an error, without scores: those of the last result count
            self._last_results[trial_id] = result

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record the end of a trial in the study."""
        number = self._issued.pop(trial_id, None)
        if number is None:
            return
        crash = self.failures.reasons.pop(trial_id, "")
        ended = outcome(result, self.max_kimg, crash if error else None)
        if ended.status == schema.INTERRUPTED:
            self._interrupted.add(number)
            self.failures.disk_fault = ended.reason
            return
        self._record_end(number, unpack_result({**self._last_results.pop(trial_id, {}), **(result or {})}), ended)

    def _record_end(self, number: int, result: dict[str, Any], ended: TrialEnd) -> None:
        ends = (end for name in self.objectives for end in _interval_names(name))
        names = (*self.objectives, *ends, schema.KIMG, schema.COST_KIMG, schema.FLOPS, schema.MUTATIONS)
        scores = {name: result[name] for name in names if name in result}
        # One attribute: each costs a transaction.
        self._storage.set_trial_user_attr(
            self._trial_id(number), OUTCOME, {STATUS: ended.status, REASON: ended.reason, **scores}
        )
        stopped = ended.status == schema.STOPPED
        if ended.status == schema.COMPLETE or (stopped and isinstance(self.study.sampler, COMPLETE_ONLY_SAMPLERS)):
            self._buffered.tell(number, [float(result[name]) for name in self.objectives])
        else:
            self._buffered.tell(number, state=TrialState.PRUNED if stopped else TrialState.FAIL)
        self._storage.commit(number)
        self._count(self._recorded()[number])

    def __getstate__(self) -> dict[str, Any]:
        """Return no state: Ray pickles searchers at times, and the study stays with the driver."""
        return {}


def _interval_names(name: str) -> tuple[str, str]:
    """Return the names of the ends of a score's interval in a result."""
    return f"{schema.INTERVAL}{name}/low", f"{schema.INTERVAL}{name}/high"


def _counts_as_issued(trial: FrozenTrial) -> bool:
    """Return whether a trial is one of the requested ones: not queued, no continuation, no discarded duplicate."""
    discarded = trial.state == TrialState.FAIL and not recorded_outcome(trial)
    return trial.state != TrialState.WAITING and CONTINUES not in trial.user_attrs and not discarded
