"""A study whose database goes away in the middle of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from sqlalchemy.exc import DataError, InterfaceError, OperationalError

from pipeline.search import retrying_storage
from pipeline.search.retrying_storage import ATTEMPTS, MARK, RetryingStorage, open_storage
from pipeline.search.study import open_study
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Restarting(InMemoryStorage):
    """Raises what ``faults`` holds, before or after the call has taken effect."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Exception] = []
        self.after: list[Exception] = []
        self.on_fault: Callable[[], object] = lambda: None
        """Called once, before the next error of ``before`` is raised."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in ("create_new_trial", "set_trial_state_values", "set_trial_user_attr", "get_all_trials"):
            return value

        def call(*given: Any, **options: Any) -> Any:
            if self.before:
                error, fault, self.on_fault = self.before.pop(0), self.on_fault, lambda: None
                fault()
                raise error
            answer = value(*given, **options)
            if self.after:
                raise self.after.pop(0)
            return answer

        return call


def gone(kind: Callable[..., Exception] = OperationalError, text: str = "server closed the connection") -> Exception:
    """As Optuna raises what the database's driver raised."""
    try:
        raise StorageInternalError("during the commit") from kind("insert", {}, Exception(text))
    except StorageInternalError as error:
        return error


@pytest.fixture
def inner() -> Restarting:
    return Restarting()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def study(inner: Restarting, waits: list[float], said: list[str]) -> optuna.Study:
    return optuna.create_study(storage=RetryingStorage(inner, "the database", said.append, waits.append))


def test_a_call_is_repeated_until_the_database_is_back(
    study: optuna.Study, inner: Restarting, waits: list[float], said: list[str]
) -> None:
    inner.before = [gone(), gone(InterfaceError, "connection already closed"), gone()]
    trial = study.ask()
    study.tell(trial, 1.0)
    assert waits == [0.5, 1, 2]
    assert "study: the database does not answer" in said[0]
    assert "server closed the connection" in said[0]
    assert said[1:] == ["study: the database answers again"]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_an_end_whose_answer_was_lost_is_recorded_once(study: optuna.Study, inner: Restarting) -> None:
    trial = study.ask()
    inner.after = [gone()]
    study.tell(trial, 1.0)
    (found,) = study.trials
    assert (found.state, found.values) == (TrialState.COMPLETE, [1.0])


def test_a_trial_that_has_ended_is_still_refused(inner: Restarting, study: optuna.Study) -> None:
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_user_attr(trial._trial_id, "late", 1)


def test_an_end_that_contradicts_the_one_of_a_lost_answer_is_refused(study: optuna.Study, inner: Restarting) -> None:
    trial = study.ask()
    inner.before = [gone()]
    inner.on_fault = lambda: inner.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.tell(trial, 1.0)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_a_marked_trial_whose_answer_was_lost_is_created_once(study: optuna.Study, inner: Restarting) -> None:
    for mark in "ab":
        inner.after = [gone()]
        study.add_trial(optuna.create_trial(value=1.0, system_attrs={MARK: mark}))
    assert [trial.system_attrs[MARK] for trial in study.trials] == ["a", "b"]


def test_the_reason_is_the_message_of_the_database(study: optuna.Study, inner: Restarting, said: list[str]) -> None:
    full = gone(text="(raised as a result of Query-invoked autoflush; consider a session.no_autoflush block)")
    full.__cause__.orig = Exception("database or disk is full")  # type: ignore[union-attr]
    inner.before = [full]
    study.ask()
    assert "(database or disk is full)" in said[0]
    assert "autoflush" not in said[0]


def test_an_error_that_lasts_is_raised_at_once(study: optuna.Study, inner: Restarting, waits: list[float]) -> None:
    inner.before = [gone(DataError, "value too long"), ValueError("nonsense")]
    with pytest.raises(StorageInternalError):
        study.ask()
    with pytest.raises(ValueError, match="nonsense"):
        study.ask()
    assert waits == []


def test_a_database_that_stays_away_is_one_line_after_ten_minutes(
    study: optuna.Study, inner: Restarting, waits: list[float]
) -> None:
    inner.before = [gone() for _ in range(ATTEMPTS)]
    with pytest.raises(UserError, match=r"study database the database does not answer .*; start again when it does"):
        study.ask()
    assert 540 < sum(waits) < 720


@pytest.mark.parametrize("damaged", [False, True])
def test_a_database_that_no_waiting_mends_is_one_line_at_once(
    tmp_path: Path, damaged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "o.db"
    open_study(f"sqlite:///{file}", "s", ["minimize"])
    monkeypatch.setattr(retrying_storage, "ATTEMPTS", 1)  # otherwise it would be retried for minutes
    url = f"sqlite:///file:{file}?mode=ro&uri=true"
    if damaged:
        file.write_bytes(b"no database" * 1000)
    with pytest.raises(UserError) as caught:
        open_study(url, "t", ["minimize"])
    message = str(caught.value)
    assert ("not a database" if damaged else "readonly database") in message
    assert "make it a writable, intact database, or give another --home or --study" in message
    assert "does not answer" not in message


def test_every_method_of_a_storage_is_delegated(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(f"sqlite:///{tmp_path}/o.db", print), study_name="s")
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.report(3.0, 1)
    trial.set_user_attr("a", 1)
    study.set_user_attr("b", 2)
    study.tell(trial, 4.0)
    found = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/o.db")
    assert found.user_attrs == study.user_attrs == {"b": 2}
    assert study.best_trial == found.best_trial
    assert (found.best_value, found.best_trial.intermediate_values, found.best_trial.user_attrs) == (
        4.0, {1: 3.0}, {"a": 1},
    )  # fmt: skip
