"""Open the MLflow tracking of a sweep, given a home folder or a tracking URI, with immediate one-line errors.

MLflow retries an unreachable server or database for minutes, so reachability is checked here first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.sqlite_url import require_text, sqlite_file, sqlite_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

HOME_VARIABLE: Final = "GANSWEEP_HOME"
DEFAULT_HOME: Final = "gansweep-runs"
DATABASE: Final = "mlflow.db"

_ANSWER_WITHIN: Final = 15.0
"""Timeout in seconds: a server that needs longer for a health check would be too slow for many requests."""
_DATABASE_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def tracking_uri(home: Path | None = None, tracking: str | None = None) -> str:
    """Return ``tracking`` if given, else the URI of ``home``, ``$GANSWEEP_HOME`` or ``./gansweep-runs``."""
    return tracking or sqlite_url(home_folder(home) / DATABASE)


def home_folder(home: Path | None = None) -> Path:
    """Return the absolute path of ``home``, else of ``$GANSWEEP_HOME``, else of ``./gansweep-runs``.

    Raises:
        AnalysisUsageError: no folder can have this path: too long, a loop of links, or the home of an unknown user.
    """
    given = home or Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
    try:
        folder = given.expanduser().resolve()
        folder.exists()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(" from ")[0].rstrip(".")
        raise AnalysisUsageError(f"home {str(given)[:80]!a}: {reason}; give another --home") from error
    require_text(folder)
    return folder


def open_tracking(home: Path | None = None, tracking: str | None = None) -> MlflowClient:
    """Open a client for a home or a tracking URI, after checking that it exists and answers.

    Raises:
        AnalysisError: no database in that home, or no answer from that server.
    """
    uri = tracking_uri(home, tracking)
    require_reachable(uri)
    # A progress bar per small JSON file is noise on stderr; users can still turn it on.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    with readable_errors(uri), lock_creation(uri):
        return MlflowClient(uri)


@contextlib.contextmanager
def lock_creation(uri: str) -> Iterator[None]:
    """Let one process at a time create or migrate the SQLite databases of a folder.

    MLflow's and Optuna's migrations fail if two processes run them, and leave a database that neither can open. The
    lock is on the folder: it needs no file, and closing a database's file would release SQLite's own locks.
    """
    file = sqlite_file(uri)
    try:
        folder = os.open(file.parent, os.O_RDONLY) if file is not None else None
    except OSError:  # there is no such folder; opening the database says so
        folder = None
    if folder is None:
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextlib.contextmanager
def readable_errors(uri: str) -> Iterator[None]:
    """Convert errors of MLflow and its database into an ``AnalysisError`` of one line that names the URI."""
    try:
        yield
    except Exception as error:
        # By the modules of its classes: to import MLflow's and SQLAlchemy's takes seconds.
        origins = {base.__module__.partition(".")[0] for base in type(error).__mro__}
        if not origins & {"mlflow", "sqlalchemy"} and not isinstance(error, ModuleNotFoundError):
            raise
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise AnalysisError(f"MLflow at {redact_uri(uri)}: {first_line}") from error


def redact_uri(uri: str) -> str:
    """Return a printable URI: the path for SQLite, the URI without credentials otherwise."""
    if (file := sqlite_file(uri)) is not None:
        return str(file)
    parts = urlsplit(uri)
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if at else uri


def require_reachable(uri: str) -> None:
    """Check that a tracking URI answers.

    Raises:
        AnalysisError: no such database, or no answer from the server.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]  # postgresql+psycopg
    if (file := sqlite_file(uri)) is not None:
        _require_database(file)
    elif scheme in ("http", "https"):
        _require_answer(uri)
    elif scheme in _DATABASE_PORTS and parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or _DATABASE_PORTS[scheme]), _ANSWER_WITHIN).close()
        except OSError as error:
            raise AnalysisError(f"no database answers at {redact_uri(uri)} ({error})") from error


def _require_database(file: Path) -> None:
    # MLflow would create an empty database in a mistyped folder.
    if not file.is_file():
        raise AnalysisError(f"no sweeps in {file.parent}: it has no {file.name}; give --home DIR or --tracking URI")
    import sqlite3

    with contextlib.suppress(sqlite3.Error):  # MLflow explains it
        # The tables of a file that is empty, or another program's: MLflow would create its own among them.
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'experiments'").fetchall()
        if not tables:
            raise AnalysisError(
                f"no sweeps in {file.parent}: {file.name} is no database of MLflow; give --home DIR or --tracking URI"
            )


def _require_answer(uri: str) -> None:
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_ANSWER_WITHIN).close()
    except urllib.error.HTTPError:
        return  # it answers; whether it lets us in is for MLflow, which has the credentials, to find out
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # likewise: MLflow may know the certificate
        raise AnalysisError(
            f"no MLflow server answers at {redact_uri(uri)} ({reason}); start it, or give another --tracking URI"
        ) from error
