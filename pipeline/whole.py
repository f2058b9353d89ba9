"""What is new of a trial, written to Optuna's tables in one transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.distributions import distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from sqlalchemy import delete, insert, select

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial
    from sqlalchemy.orm import Session


MARK = "gansweep:mark"
"""System attribute of a trial that no other has: by it a second attempt knows what the first has written."""


@dataclass(frozen=True)
class Change:
    """What a database does not know of a trial yet; it takes state, values and times from ``trial`` as they are."""

    trial: FrozenTrial
    params: list[str]
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]
    study_attrs: dict[str, Any]
    """System attributes of the study, which samplers set."""
    new: bool
    """The database has no row for the trial, whose id and number are still to be had."""


def store_at_once(database: RDBStorage, study_id: int, change: Change) -> tuple[int, int]:
    """Write a change down, all of it or nothing; one that is there already stays as it is.

    Returns:
        The trial's id and number.

    Raises:
        UpdateFinishedTrialError: the trial has ended in another way.
        StorageInternalError: from whatever the database's driver raises.
    """
    trial = change.trial
    with _create_scoped_session(database.scoped_session) as session:
        row, there = _new_row(session, study_id, trial) if change.new else _old_row(session, trial)
        trial_id, number = int(row.trial_id), int(row.number)
        if there:
            return trial_id, number
        row.state, row.datetime_start, row.datetime_complete = (
            trial.state, trial.datetime_start, trial.datetime_complete,
        )  # fmt: skip
        _insert_params(session, trial_id, change)
        owner = {"trial_id": trial_id}
        _replace(session, models.TrialUserAttributeModel, owner, change.user_attrs, new=change.new)
        _replace(session, models.TrialSystemAttributeModel, owner, change.system_attrs, new=change.new)
        _replace(session, models.StudySystemAttributeModel, {"study_id": study_id}, change.study_attrs, new=False)
        _insert_values(session, trial_id, trial)
    return trial_id, number


def _new_row(session: Session, study_id: int, trial: FrozenTrial) -> tuple[models.TrialModel, bool]:
    """A row for the trial, and whether it was there: the answer to an earlier attempt may have been lost."""
    table = models.TrialModel
    # As Optuna does it: the number is how many came before, so that no two may count at once.
    session.execute(select(models.StudyModel.study_id).where(models.StudyModel.study_id == study_id).with_for_update())
    last = session.query(table).filter(table.study_id == study_id).order_by(table.trial_id.desc()).first()
    if last is not None and last.number == trial.number and _mark(session, last) == trial.system_attrs[MARK]:
        return last, True
    row = table(study_id=study_id, state=trial.state, number=0 if last is None else last.number + 1)
    session.add(row)
    session.flush()
    return row, False


def _mark(session: Session, row: models.TrialModel) -> str | None:
    table = models.TrialSystemAttributeModel
    found = session.query(table).filter(table.trial_id == row.trial_id, table.key == MARK).one_or_none()
    return None if found is None else str(json.loads(str(found.value_json)))


def _old_row(session: Session, trial: FrozenTrial) -> tuple[models.TrialModel, bool]:
    """The trial's row, and whether the trial's end is told already."""
    row = models.TrialModel.find_or_raise_by_id(trial._trial_id, session, for_update=True)
    if row.state.is_finished() and row.state != trial.state:
        raise UpdateFinishedTrialError(f"trial {trial.number} has ended already, as {row.state.name}")
    return row, row.state.is_finished()


def _insert_params(session: Session, trial_id: int, change: Change) -> None:
    rows = []
    for name in change.params:
        kind = change.trial.distributions[name]
        value = kind.to_internal_repr(change.trial.params[name])
        rows.append(
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": value,
                "distribution_json": distribution_to_json(kind),
            }
        )
    if rows:
        table: Any = models.TrialParamModel.__table__
        if not change.new:  # they may be there: the answer to an earlier attempt may have been lost
            session.execute(delete(table).where(table.c.trial_id == trial_id, table.c.param_name.in_(change.params)))
        session.execute(insert(table), rows)


def _replace(session: Session, model: Any, owner: dict[str, int], attributes: dict[str, Any], *, new: bool) -> None:
    if not attributes:
        return
    table = model.__table__
    if not new:
        ((column, owner_id),) = owner.items()
        session.execute(delete(table).where(table.c[column] == owner_id, table.c.key.in_(list(attributes))))
    rows = [{**owner, "key": name, "value_json": json.dumps(value)} for name, value in attributes.items()]
    session.execute(insert(table), rows)


def _insert_values(session: Session, trial_id: int, trial: FrozenTrial) -> None:
    rows = []
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        rows.append({"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind})
    if rows:
        session.execute(insert(models.TrialValueModel.__table__), rows)
