"""An Optuna storage that keeps a study in memory and writes each trial to the database as a whole."""

from __future__ import annotations

import copy
import datetime
import uuid
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from pipeline.search.retrying_storage import MARK

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection


class BufferedStorage(BaseStorage):
    """Serves one study from memory and writes a trial's changes to the database on ``commit``.

    Optuna commits each parameter and attribute by itself, and reads the trials from the database again for every
    suggestion. Here a new trial is written in one transaction, with all its parameters and attributes, and an ended one
    with its state last. The database holds the truth: changes that were not committed are lost with the process.
    Most of the time of a commit is spent in Optuna, which makes two queries and an insert for each parameter of a new
    trial; its public interface has no cheaper way.

    No other process may write to the study meanwhile. Trials that are added from elsewhere nevertheless are read at the
    next new trial.

    A new trial has a provisional id below 0 until it is committed. Not thread-safe.

    Args:
        inner: storage of the database.
        study_name: an existing study in it.
    """

    def __init__(self, inner: BaseStorage, study_name: str) -> None:
        self.inner = inner
        self.study_id = inner.get_study_id_from_name(study_name)
        self._load()

    def commit(self, number: int) -> int:
        """Write the unsaved changes of a trial to the database.

        A process that is killed meanwhile leaves a new trial unwritten, and an ended one running.

        Returns:
            The trial's number, which is another one when trials were added from elsewhere.

        Raises:
            UpdateFinishedTrialError: the trial has already ended in the database.
            UserError: the database did not answer in time.
        """
        # Before the trial: a sampler that counts its suggestions must not repeat one after a restart.
        for key in sorted(self._unsaved_study_attrs):
            self.inner.set_study_system_attr(self.study_id, key, self._study_attrs[key])
        self._unsaved_study_attrs.clear()
        if self.get_trial_id_from_study_id_trial_number(self.study_id, number) < 0:
            return self._create(self._trials[number])
        self._write_changes(self._trials[number])
        return number

    def _create(self, trial: FrozenTrial) -> int:
        trial = _copy_trial(trial)
        trial.system_attrs[MARK] = mark = uuid.uuid4().hex
        trial_id = self.inner.create_new_trial(self.study_id, trial)
        if self.inner.get_trial_id_from_study_id_trial_number(self.study_id, trial.number) == trial_id:
            self._set(_with_id(trial, trial_id), trial_id)
            self._persisted[trial.number] = self._trials[trial.number]
            return trial.number
        self._load()
        return next(stored.number for stored in self._trials if stored.system_attrs.get(MARK) == mark)

    def _write_changes(self, trial: FrozenTrial) -> None:
        before = self._persisted.get(trial.number)
        if before is None:  # it has ended
            return
        inner, trial_id = self.inner, self._ids[trial.number]
        if before.state == TrialState.WAITING and trial.state != TrialState.WAITING:
            inner.set_trial_state_values(trial_id, TrialState.RUNNING)
        for name in trial.params.keys() - before.params.keys():
            distribution = trial.distributions[name]
            inner.set_trial_param(trial_id, name, distribution.to_internal_repr(trial.params[name]), distribution)
        for step, value in _changes(trial.intermediate_values, before.intermediate_values):
            inner.set_trial_intermediate_value(trial_id, step, value)
        for name, value in _changes(trial.system_attrs, before.system_attrs):
            inner.set_trial_system_attr(trial_id, name, value)
        for name, value in _changes(trial.user_attrs, before.user_attrs):
            inner.set_trial_user_attr(trial_id, name, value)
        if trial.state.is_finished():
            inner.set_trial_state_values(trial_id, trial.state, trial.values)
            del self._persisted[trial.number]
        else:
            self._persisted[trial.number] = trial

    def _load(self) -> None:
        """Read the whole study from the database."""
        self._study_attrs = self.inner.get_study_system_attrs(self.study_id)
        self._unsaved_study_attrs: set[str] = set()
        self._trials = self.inner.get_all_trials(self.study_id, deepcopy=False)
        self._ids: dict[int, int] = {}
        """Ids by number, of trials whose ids were needed; the others are looked up in the database."""
        self._numbers: dict[int, int] = {}
        marks = set[str]()
        for trial in self._trials:
            mark = trial.system_attrs.get(MARK)
            if mark in marks and not trial.state.is_finished():
                self._discard_duplicate(trial)
            elif mark is not None:
                marks.add(mark)
        self._persisted = {trial.number: trial for trial in self._trials if not trial.state.is_finished()}
        """Trials that have not ended, as the database has them."""

    def _discard_duplicate(self, trial: FrozenTrial) -> None:
        """End the second row of a trial, which Optuna writes when the database's answer to the first is lost."""
        trial_id = self.get_trial_id_from_study_id_trial_number(self.study_id, trial.number)
        self.inner.set_trial_state_values(trial_id, TrialState.FAIL)
        self._trials[trial.number] = self.inner.get_trial(trial_id)

    def _set(self, trial: FrozenTrial, trial_id: int) -> None:
        self._trials[trial.number] = trial
        self._ids[trial.number], self._numbers[trial_id] = trial_id, trial.number

    def _editable(self, trial_id: int) -> FrozenTrial:
        """Replace a trial by a copy that may be changed, since samplers may hold the old one."""
        number = self.get_trial_number_from_id(trial_id)
        trial = _copy_trial(self._trials[number])
        if trial.state.is_finished():
            raise UpdateFinishedTrialError(f"trial {number} has already ended as {trial.state.name}")
        self._trials[number] = trial
        return trial

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial: in memory only, or from a template to the database at once."""
        number = len(self._trials)
        if template_trial is None:
            trial = FrozenTrial(
                number=number, state=TrialState.RUNNING, value=None, datetime_start=datetime.datetime.now(),
                datetime_complete=None, params={}, distributions={}, user_attrs={}, system_attrs={},
                intermediate_values={}, trial_id=-1 - number,
            )  # fmt: skip
            self._trials.append(trial)
            self._set(trial, -1 - number)
            return -1 - number
        trial = _copy_trial(template_trial)
        trial.number = number
        self._trials.append(trial)
        return self.get_trial_id_from_study_id_trial_number(study_id, self._create(trial))

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """See ``BaseStorage``."""
        if trial_number not in self._ids:
            trial_id = self.inner.get_trial_id_from_study_id_trial_number(self.study_id, trial_number)
            self._ids[trial_number], self._numbers[trial_id] = trial_id, trial_number
        return self._ids[trial_number]

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """See ``BaseStorage``."""
        if trial_id not in self._numbers:
            number = self.inner.get_trial_number_from_id(trial_id)
            self._ids[number], self._numbers[trial_id] = trial_id, number
        return self._numbers[trial_id]

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """See ``BaseStorage``."""
        trial = self._editable(trial_id)
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See ``BaseStorage``."""
        trial = self._editable(trial_id)
        if state == TrialState.RUNNING and trial.state != TrialState.WAITING:
            return False
        trial.state = state
        if values is not None:
            trial.values = list(values)
        if state == TrialState.RUNNING:
            trial.datetime_start = datetime.datetime.now()
        elif state.is_finished():
            trial.datetime_complete = datetime.datetime.now()
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """See ``BaseStorage``."""
        self._editable(trial_id).intermediate_values[step] = intermediate_value

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self._editable(trial_id).user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self._editable(trial_id).system_attrs[key] = value

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See ``BaseStorage``. A copy: Optuna adds parameters to the trial that it works on."""
        return _copy_trial(self._trials[self.get_trial_number_from_id(trial_id)])

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See ``BaseStorage``."""
        trials = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set a system attribute of the study, e.g. the state of a sampler; written with the next trial."""
        self._study_attrs = {**self._study_attrs, key: value}
        self._unsaved_study_attrs.add(key)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See ``BaseStorage``."""
        return self._study_attrs

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """See ``BaseStorage``."""
        return self.inner.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """See ``BaseStorage``."""
        self.inner.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self.inner.set_study_user_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """See ``BaseStorage``."""
        return self.inner.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """See ``BaseStorage``."""
        return self.inner.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See ``BaseStorage``."""
        return self.inner.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See ``BaseStorage``."""
        return self.inner.get_study_user_attrs(study_id)

    def get_all_studies(self) -> list[Any]:
        """See ``BaseStorage``."""
        return self.inner.get_all_studies()


def _copy_trial(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial of the same content whose dictionaries may be changed."""
    trial = copy.copy(trial)
    trial.params, trial.distributions = dict(trial.params), dict(trial.distributions)
    trial.user_attrs, trial.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)
    trial.intermediate_values = dict(trial.intermediate_values)
    return trial


def _with_id(trial: FrozenTrial, trial_id: int) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number, state=trial.state, value=None, values=trial.values, datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete, params=trial.params, distributions=trial.distributions,
        user_attrs=trial.user_attrs, system_attrs=trial.system_attrs, intermediate_values=trial.intermediate_values,
        trial_id=trial_id,
    )  # fmt: skip


def _changes(attributes: dict[Any, Any], before: dict[Any, Any]) -> Iterator[tuple[Any, Any]]:
    for name, value in attributes.items():
        if name not in before or before[name] != value:
            yield name, value
