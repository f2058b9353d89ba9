"""A study in memory, for samplers to read and write; its database is told of whole trials."""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.storages import InMemoryStorage

from pipeline.patient import PatientStorage
from pipeline.whole import MARK, Change, store_at_once

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, TrialState

_STUDY = 0
"""The only one in here."""


@dataclass(frozen=True)
class _Known:
    """What the database knows of a trial that has not ended."""

    params: frozenset[str]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    state: TrialState

    @classmethod
    def of(cls, trial: FrozenTrial) -> _Known:
        # Copies: Optuna fills in the parameters of a trial that it was handed.
        return cls(frozenset(trial.params), dict(trial.user_attrs), dict(trial.system_attrs), trial.state)


class Mirror(InMemoryStorage):
    """The trials of a stored study, under the same numbers and ids.

    Optuna's own storage of a database commits once for each parameter and each attribute, and asks it for the trials
    again at every proposal. Here all that is in memory, and ``commit`` writes down what is new of a trial in one
    transaction. The database is the truth: what was not committed never happened. No one else may write to the study
    meanwhile; trials that come in from elsewhere all the same are taken over at the next new trial.

    Args:
        study: the stored one.
    """

    def __init__(self, study: optuna.Study) -> None:
        super().__init__()
        self._database, self._stored_study = study._storage, study._study_id
        super().create_new_study(study.directions, study.study_name)
        self._study_attrs: dict[str, Any] = {}
        """Of the study, as samplers have set them since the last commit."""
        self._load()

    def commit(self, trial_id: int) -> FrozenTrial:
        """Have the database know all of a trial.

        Returns:
            The trial; one that is new has another id from now on.

        Raises:
            UserError: the database did not answer in time.
        """
        trial = self.get_trial(trial_id)
        change = self._change(trial)
        if not change:
            return trial
        stored_id, number = _store(self._database, self._stored_study, change)
        self._study_attrs.clear()
        self._known.pop(trial_id, None)
        if number != trial.number:
            self._load()
            return self.get_trial(stored_id)
        trial = copy.copy(trial)
        trial._trial_id = stored_id
        del self._trial_id_to_study_id_and_number[trial_id]
        self._place(trial)
        return trial

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial, under a provisional id below 0 until it is committed; one that is enqueued is at once."""
        trial = self._create_running_trial() if template_trial is None else copy.deepcopy(template_trial)
        trial.number = len(self._studies[_STUDY].trials)
        trial._trial_id = -1 - trial.number
        trial.system_attrs = {**trial.system_attrs, MARK: uuid.uuid4().hex}
        self._studies[_STUDY].trials.append(trial)
        self._trial_id_to_study_id_and_number[trial._trial_id] = (_STUDY, trial.number)
        return trial._trial_id if template_trial is None else self.commit(trial._trial_id)._trial_id

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """What a sampler remembers of the whole study; goes to the database with the next trial."""
        super().set_study_system_attr(study_id, key, value)
        self._study_attrs[key] = value

    def _load(self) -> None:
        """Read the whole study from its database."""
        self._known: dict[int, _Known] = {}
        self._trial_id_to_study_id_and_number.clear()
        self._prev_waiting_trial_number[_STUDY] = 0
        study = self._studies[_STUDY]
        study.user_attrs = self._database.get_study_user_attrs(self._stored_study)
        study.system_attrs = self._database.get_study_system_attrs(self._stored_study)
        study.trials = self._database.get_all_trials(self._stored_study, deepcopy=False)
        study.best_trial_id = None
        for trial in study.trials:
            study.param_distribution.update(trial.distributions)
            self._place(trial)
            self._update_cache(trial._trial_id, _STUDY)

    def _place(self, trial: FrozenTrial) -> None:
        self._trial_id_to_study_id_and_number[trial._trial_id] = (_STUDY, trial.number)
        self._studies[_STUDY].trials[trial.number] = trial
        if not trial.state.is_finished():
            self._known[trial._trial_id] = _Known.of(trial)

    def _change(self, trial: FrozenTrial) -> Change | None:
        known = self._known.get(trial._trial_id)
        if known is None:
            return Change(trial, list(trial.params), trial.user_attrs, trial.system_attrs, self._study_attrs, new=True)
        change = Change(
            trial,
            [name for name in trial.params if name not in known.params],
            _fresh(trial.user_attrs, known.user_attrs),
            _fresh(trial.system_attrs, known.system_attrs),
            self._study_attrs,
            new=False,
        )
        told = (change.params, change.user_attrs, change.system_attrs, change.study_attrs, trial.state != known.state)
        return change if any(told) else None


def _fresh(attributes: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in known or known[name] != value}


def _store(storage: BaseStorage, study_id: int, change: Change) -> tuple[int, int]:
    """Write a change down; returns the trial's id and number."""
    if isinstance(storage, PatientStorage) and (database := storage.database) is not None:
        stored: tuple[int, int] = storage.attempt("store_at_once", lambda: store_at_once(database, study_id, change))
        return stored
    return _store_by_call(storage, study_id, change)


def _store_by_call(storage: BaseStorage, study_id: int, change: Change) -> tuple[int, int]:
    """The same for any storage of Optuna's, which knows no transactions: the state last."""
    trial = change.trial
    if change.new:
        trial_id = storage.create_new_trial(study_id, trial)
    else:
        trial_id = trial._trial_id
        for name in change.params:
            kind = trial.distributions[name]
            storage.set_trial_param(trial_id, name, kind.to_internal_repr(trial.params[name]), kind)
        for name, value in change.user_attrs.items():
            storage.set_trial_user_attr(trial_id, name, value)
        for name, value in change.system_attrs.items():
            storage.set_trial_system_attr(trial_id, name, value)
        storage.set_trial_state_values(trial_id, trial.state, trial.values)
    for name, value in change.study_attrs.items():
        storage.set_study_system_attr(study_id, name, value)
    return trial_id, storage.get_trial(trial_id).number
