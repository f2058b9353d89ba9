"""An Optuna storage that outlasts a restart of its database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, PendingRollbackError

from analysis.connect import shown
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds between attempts double from the first to the longest."""
ATTEMPTS = 25
"""Some ten minutes of waiting in all."""


def _patiently(name: str) -> Callable[..., Any]:
    def call(self: PatientStorage, *given: Any, **options: Any) -> Any:
        return self.attempt(name, lambda: getattr(self.inner, name)(*given, **options))

    return call


_Every: Any = type("_Every", (BaseStorage,), {name: _patiently(name) for name in BaseStorage.__abstractmethods__})


class PatientStorage(_Every):  # type: ignore[misc] # its methods are those of BaseStorage
    """Tries every call again while the database cannot be reached.

    An answer that is lost on its way back is the one case in which a call takes effect twice: an end that is told
    again is taken as told, and of a trial that is made again one stays behind as running, for the next start.

    Args:
        inner: the storage itself.
        place: where it is, as it may be shown.
        say: tells the user one line.
        sleep: waits so many seconds.
        database: what is below ``inner``, for who writes to its tables.
    """

    def __init__(
        self,
        inner: BaseStorage,
        place: str,
        say: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        database: RDBStorage | None = None,
    ) -> None:
        self.inner, self._place, self._say, self._sleep = inner, place, say, sleep
        self.database = database

    def attempt(self, name: str, call: Callable[[], Any]) -> Any:
        """Call until the database answers.

        Raises:
            UserError: it did not answer in time.
        """
        for attempt in range(ATTEMPTS):
            try:
                result = call()
            except StorageInternalError as error:
                cause = error.__cause__
                if not _passes(cause):
                    raise
                reason = first_line(cause or error)
            except UpdateFinishedTrialError:
                if attempt == 0 or name != "set_trial_state_values":
                    raise
                return True
            else:
                if attempt:
                    self._say(f"study: {self._place} answers again")
                return result
            if attempt == 0:
                self._say(f"study: {self._place} does not answer ({reason}); waiting for it")
            self._sleep(min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))
        raise UserError(f"study database {self._place} does not answer ({reason}); start again when it does")

    def remove_session(self) -> None:
        """Close the connection of this thread."""
        self.inner.remove_session()


def open_storage(url: str, say: Callable[[str], None]) -> PatientStorage:
    """The study database of ``url``; one that does not answer now is an error at once.

    Raises:
        Exception: whatever the database's driver raises.
    """
    # A connection that the database closed while nobody used it is replaced without an error.
    database = RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    return PatientStorage(get_storage(database), shown(url), say, database=database)


def _passes(error: BaseException | None) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, (OperationalError, InterfaceError, InternalError, PendingRollbackError))
