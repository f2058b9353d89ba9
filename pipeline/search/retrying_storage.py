"""An Optuna storage that retries its calls while the database is unreachable."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, TypeVar

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, PendingRollbackError

from analysis.mlflow_reader.connect import lock_creation, redact_uri
from trainables.errors import DiskError, UserError, first_line
from trainables.storage.retry import Backoff, retry

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial, TrialState

T = TypeVar("T")

BACKOFF = Backoff(first=0.5, longest=30.0)
ATTEMPTS = 25
"""About ten minutes of waiting in total."""
UNUSABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
"""Primary codes of errors of SQLite that no waiting mends."""
UNUSABLE_ADVICE = "make it a writable, intact database, or give another --home or --study"
MARK = "gansweep:mark"
"""System attribute of a trial, unique to it, by which a repeated ``create_new_trial`` finds what an earlier attempt has
written although its answer was lost."""


class RetryingStorage(BaseStorage):
    """Delegates every call to another storage, and repeats it while the database is unreachable.

    A call whose answer is lost on the way back is repeated too. That is safe for all calls but ``create_new_trial``
    without a template that has a ``MARK``: then one more trial stays behind in the running state.

    Args:
        inner: the storage that does the work.
        place: its address without credentials, for messages.
        say: prints a one-line message.
        sleep: waits a number of seconds.
    """

    def __init__(
        self,
        inner: BaseStorage,
        place: str,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.inner, self._place, self._say, self._sleep = inner, place, say, sleep

    def _retry(self, call: Callable[[], T], failures: list[Exception] | None = None) -> T:
        """Call until the database answers; ``failures`` receives the errors of earlier attempts.

        Raises:
            UserError: the database did not answer in time.
        """
        failures = [] if failures is None else failures

        def report(error: Exception) -> None:
            failures.append(error)
            if len(failures) == 1:
                self._say(f"study: {self._place} does not answer ({database_reason(error)}); waiting for it")

        try:
            result = retry(
                call, is_transient=_is_transient, attempts=ATTEMPTS, backoff=BACKOFF, sleep=self._sleep, on_retry=report
            )
        except StorageInternalError as error:
            if is_unusable(error):
                raise DiskError(f"study database {self._place}: {database_reason(error)}; {UNUSABLE_ADVICE}") from error
            if not _is_transient(error):
                raise
            raise UserError(
                f"study database {self._place} does not answer ({database_reason(error)}); start again when it does"
            ) from error
        if failures:
            self._say(f"study: {self._place} answers again")
        return result

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        """See ``BaseStorage``."""
        self._retry(lambda: self.inner.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self._retry(lambda: self.inner.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self._retry(lambda: self.inner.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[Any]:
        """See ``BaseStorage``."""
        return self._retry(self.inner.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See ``BaseStorage``. A template with a ``MARK`` creates one trial, however many answers are lost."""
        mark = None if template_trial is None else template_trial.system_attrs.get(MARK)
        failures: list[Exception] = []

        def create() -> int:
            for trial in self.inner.get_all_trials(study_id, deepcopy=False) if failures and mark else ():
                if trial.system_attrs.get(MARK) == mark:
                    return self.inner.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            return self.inner.create_new_trial(study_id, template_trial)

        return self._retry(create, failures)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """See ``BaseStorage``."""
        self._retry(lambda: self.inner.set_trial_param(trial_id, param_name, param_value_internal, distribution))

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_trial_id_from_study_id_trial_number(study_id, trial_number))

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See ``BaseStorage``. Repeating it after a lost answer is no error."""
        failures: list[Exception] = []
        try:
            return self._retry(lambda: self.inner.set_trial_state_values(trial_id, state, values), failures)
        except UpdateFinishedTrialError:
            if not failures or self.get_trial(trial_id).state != state:
                raise
            return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """See ``BaseStorage``."""
        self._retry(lambda: self.inner.set_trial_intermediate_value(trial_id, step, intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self._retry(lambda: self.inner.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See ``BaseStorage``."""
        self._retry(lambda: self.inner.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """See ``BaseStorage``."""
        return self._retry(lambda: self.inner.get_all_trials(study_id, deepcopy=deepcopy, states=states))

    def remove_session(self) -> None:
        """Close the connection of the calling thread."""
        self.inner.remove_session()


def open_storage(url: str, say: Callable[[str], None]) -> RetryingStorage:
    """Open the study database at ``url``. One that does not answer is an error at once.

    Raises:
        Exception: any error of the database's driver.
    """
    # pool_pre_ping replaces a connection that the server closed while idle, without an error.
    with lock_creation(url):
        database = RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    return RetryingStorage(database, redact_uri(url), say)


def _is_transient(error: Exception) -> bool:
    """Whether Optuna reports an error of the connection, rather than of the statement."""
    if not isinstance(error, StorageInternalError) or is_unusable(error):
        return False
    cause = error.__cause__
    if isinstance(cause, DBAPIError) and cause.connection_invalidated:
        return True
    return isinstance(cause, (OperationalError, InterfaceError, InternalError, PendingRollbackError))


def is_unusable(error: BaseException) -> bool:
    """Return whether SQLite reports a file that it may not write to, or that is damaged or no database."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    code = getattr(cause.orig, "sqlite_errorcode", None) if isinstance(cause, DBAPIError) else None
    return code is not None and code & 0xFF in UNUSABLE


def database_reason(error: Exception) -> str:
    """Return what the database's driver said, without SQLAlchemy's account of when it asked."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
    return first_line(cause.orig if isinstance(cause, DBAPIError) and cause.orig is not None else cause)
