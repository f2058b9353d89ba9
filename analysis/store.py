"""Runs and histories out of MLflow in bulk, so that a sweep of 10,000 trials is read in seconds.

A database (SQLite, PostgreSQL, ...) is asked with a few large queries, which only read; a server is asked through its
API, page by page. A database that has other tables than expected is read through MLflow as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import sqlalchemy as sa
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from numpy.typing import NDArray

PAGE: Final = 1000
"""Runs per request to a server."""
_CHUNK: Final = 500
"""Runs per query: SQLite allowed no more than 999 variables for a long time."""
_DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")
_ENDED: Final = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True)
class Info:
    """What MLflow's ``Run.info`` says and the analysis needs."""

    run_id: str
    version: str = ""
    """Status and end of a run that has ended; nothing is logged to it until one of them changes. Else empty."""
    start_time: int | None = field(default=None, compare=False)
    end_time: int | None = field(default=None, compare=False)
    """Both in milliseconds since 1970."""


@dataclass(frozen=True)
class Data:
    """What MLflow's ``Run.data`` says."""

    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """The last value of each."""


@dataclass(frozen=True)
class Record:
    """A run with the attributes of MLflow's own class, without an object for each of its values."""

    info: Info
    data: Data = field(default_factory=Data)


@dataclass(frozen=True)
class History:
    """One metric of one run, in the order of its steps; arrays of one length."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    timestamps: NDArray[np.int64]
    """Milliseconds since 1970."""


def version(status: str | None, end_time: int | None) -> str:
    """What tells whether a run has changed since it was last read; empty for one that may change at any time."""
    return f"{status} {end_time}" if status in _ENDED and end_time else ""


def api_runs(client: MlflowClient, experiment_id: str, kind: str, page_size: int = PAGE) -> Iterator[Run]:
    """Every run of a kind, page by page."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            filter_string=f"tags.`{schema.KIND}` = '{kind}'",
            max_results=page_size,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def record_of(run: Run) -> Record:
    """Reduce a run of MLflow's."""
    data = Data(dict(run.data.tags), dict(run.data.params), dict(run.data.metrics))
    info = run.info
    return Record(Info(info.run_id, version(info.status, info.end_time), info.start_time, info.end_time), data)


def api_history(client: MlflowClient, run_id: str, name: str) -> History:
    """Ask for the history of one metric."""
    points = client.get_metric_history(run_id, name)
    return _history([(point.step, point.value, point.timestamp) for point in points])


class Database:
    """The tables of MLflow's database, read only. Every method raises what SQLAlchemy raises."""

    def __init__(self, uri: str) -> None:
        import sqlalchemy as sa

        self.engine = sa.create_engine(uri)

    @staticmethod
    def behind(uri: str) -> bool:
        """Whether a tracking URI is that of a database."""
        return urlsplit(uri).scheme.partition("+")[0] in _DATABASES

    def index(self, experiment_id: str, kind: str) -> list[Info]:
        """The runs of a kind that are not deleted, the earliest first."""
        import sqlalchemy as sa

        runs = _table("runs", "run_uuid", "status", "start_time", "end_time", "experiment_id", "lifecycle_stage")
        tags = _table("tags", "run_uuid", "key", "value")
        query = (
            sa.select(runs.c.run_uuid, runs.c.status, runs.c.start_time, runs.c.end_time)
            .join(tags, tags.c.run_uuid == runs.c.run_uuid)
            .where(runs.c.experiment_id == int(experiment_id), runs.c.lifecycle_stage == "active")
            .where(tags.c.key == schema.KIND, tags.c.value == kind)
            .order_by(runs.c.start_time, runs.c.run_uuid)
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query)
            return [Info(run, version(status, end), start, end) for run, status, start, end in rows]

    def records(self, infos: Iterable[Info]) -> list[Record]:
        """Tags, parameters and last metrics of runs."""
        records = {info.run_id: Record(info) for info in infos}
        with self.engine.connect() as connection:
            for run, name, value in _rows(connection, "tags", list(records), "key", "value"):
                records[run].data.tags[name] = value
            for run, name, value in _rows(connection, "params", list(records), "key", "value"):
                records[run].data.params[name] = value
            for run, name, value, is_nan in _rows(
                connection, "latest_metrics", list(records), "key", "value", "is_nan"
            ):
                records[run].data.metrics[name] = math.nan if is_nan else value
        return list(records.values())

    def histories(self, run_ids: Sequence[str], name: str) -> dict[str, History]:
        """The history of one metric for each of the runs, an empty one where it was not logged."""
        found: dict[str, list[tuple[int, float, int]]] = {run: [] for run in run_ids}
        with self.engine.connect() as connection:
            for run, step, value, is_nan, timestamp in _rows(
                connection, "metrics", run_ids, "step", "value", "is_nan", "timestamp", key=name
            ):
                found[run].append((step, math.nan if is_nan else value, timestamp))
        return {run: _history(points) for run, points in found.items()}


def _table(name: str, *columns: str) -> sa.TableClause:
    import sqlalchemy as sa

    return sa.table(name, *map(sa.column, columns))


def _rows(
    connection: sa.Connection, name: str, run_ids: Sequence[str], *columns: str, **equal: str
) -> Iterator[tuple[Any, ...]]:
    """Run id and columns of every row of these runs."""
    import sqlalchemy as sa

    table = _table(name, "run_uuid", *columns, *equal)
    wanted = sa.select(table.c.run_uuid, *(table.c[column] for column in columns))
    for column, value in equal.items():
        wanted = wanted.where(table.c[column] == value)
    for first in range(0, len(run_ids), _CHUNK):
        some = wanted.where(table.c.run_uuid.in_(run_ids[first : first + _CHUNK]))
        for row in connection.execute(some):
            yield tuple(row)


def _history(points: Sequence[tuple[int, float, int]]) -> History:
    import numpy as np

    # By step, then by time: of a step that was logged twice the later value comes last.
    ordered = sorted(points, key=lambda point: (point[0], point[2]))
    steps, values, timestamps = zip(*ordered, strict=True) if ordered else ((), (), ())
    return History(
        np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64), np.array(timestamps, dtype=np.int64)
    )


def versions_of(records: Iterable[Record]) -> Mapping[str, str]:
    """Version of each run, by its id."""
    return {record.info.run_id: record.info.version for record in records}
