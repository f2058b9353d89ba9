"""Reaching the MLflow of a sweep: a home folder or a tracking URI, with errors that come at once, on one line.

MLflow itself retries a dead server or database for minutes, so whether anything answers is asked here first.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient

HOME_VARIABLE: Final = "GANSWEEP_HOME"
DEFAULT_HOME: Final = "gansweep-runs"
DATABASE: Final = "mlflow.db"

_ANSWER_WITHIN: Final = 15.0
"""Seconds. A server that needs longer to say that it is well would make every one of many requests wait."""
_DATABASE_PORTS: Final = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def tracking_uri(home: Path | None = None, tracking: str | None = None) -> str:
    """Give ``tracking`` as it is, else the URI of ``home``, ``$GANSWEEP_HOME`` or ``./gansweep-runs``."""
    if tracking:
        return tracking
    folder = home or Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
    return f"sqlite:///{folder.expanduser().resolve() / DATABASE}"


def open_tracking(home: Path | None = None, tracking: str | None = None) -> MlflowClient:
    """Open a client for a home or a tracking URI that is known to be there.

    Raises:
        AnalysisError: no database in that home, or no answer from that server.
    """
    uri = tracking_uri(home, tracking)
    _require_there(uri)
    # A progress bar per small JSON file is noise on stderr; whoever wants it can still switch it on.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    with readable_errors(uri):
        return MlflowClient(uri)


@contextlib.contextmanager
def readable_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow and its database raise into one line that names the place."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, ModuleNotFoundError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise AnalysisError(f"MLflow at {shown(uri)}: {first_line}") from error


def shown(uri: str) -> str:
    """Give a URI as it may be printed: the path for SQLite, without a password for the others."""
    if uri.startswith("sqlite:///"):
        return uri.removeprefix("sqlite:///")
    parts = urlsplit(uri)
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if at else uri


def _require_there(uri: str) -> None:
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]  # postgresql+psycopg
    if scheme == "sqlite":
        _require_database(Path(uri.partition(":///")[2]))
    elif scheme in ("http", "https"):
        _require_answer(uri)
    elif scheme in _DATABASE_PORTS and parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or _DATABASE_PORTS[scheme]), _ANSWER_WITHIN).close()
        except OSError as error:
            raise AnalysisError(f"no database answers at {shown(uri)} ({error})") from error


def _require_database(file: Path) -> None:
    # MLflow would create what is missing, and leave an empty database where somebody mistyped a folder.
    if not file.is_file():
        raise AnalysisError(f"no sweeps in {file.parent}: it has no {file.name}; give --home DIR or --tracking URI")


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
            f"no MLflow server answers at {shown(uri)} ({reason}); start it, or give another --tracking URI"
        ) from error
