"""Open the MLflow that a sweep is tracked in."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from mlflow import MlflowClient

from analysis.mlflow_reader.connect import lock_creation, open_tracking, readable_errors
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pipeline.home import Home

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Defaults of MLflow's environment variables: few attempts and short timeouts, since ``OutboxWorker`` retries, and no
output on stdout, which is for results."""


def open_client(home: Home, tracking: str | None) -> MlflowClient:
    """Open the MLflow of ``tracking``, or of the home, whose database is created if needed."""
    scheme = (tracking or "").partition(":")[0].partition("+")[0]
    if tracking is not None and scheme not in SCHEMES:
        raise UsageError(f"--tracking is {tracking!r}; expected one of {', '.join(SCHEMES)}, e.g. sqlite:///FILE")
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # no messages on creating the database
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Callers report failures in one line; MLflow would print a traceback and a warning for each attempt.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    if tracking is not None and scheme != "sqlite":
        return open_tracking(tracking=tracking)
    try:
        home.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make home {home.root}: {error.strerror or error}; give another --home") from error
    uri = tracking or home.tracking
    with readable_errors(uri), lock_creation(uri):
        return MlflowClient(uri)
