"""Read runs and histories from MLflow in bulk, so that a sweep of 10,000 trials is read in seconds.

A database (SQLite, PostgreSQL, ...) is read with a few large read-only queries; a server through its API, page by
page. A database with an unexpected schema is also read through MLflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

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
"""Runs per query: older SQLite versions allow at most 999 variables."""
_DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")
_ENDED: Final = ("FINISHED", "FAILED", "KILLED")


@dataclass(frozen=True)
class Info:
    """The part of MLflow's ``Run.info`` that the analysis needs."""

    run_id: str
    version: str = ""
    """Status and end of an ended run, which change whenever it is logged to again; empty for a running one."""
    start_time: int | None = field(default=None, compare=False)
    end_time: int | None = field(default=None, compare=False)
    """Both in milliseconds since 1970."""


@dataclass(frozen=True)
class Data:
    """MLflow's ``Run.data``."""

    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """The last value of each."""


@dataclass(frozen=True)
class Record:
    """A run with the attributes of MLflow's own class, but without an object per value."""

    info: Info
    data: Data = field(default_factory=Data)


@dataclass(frozen=True)
class ParentRun:
    """The parent run of a sweep, under which its trials' runs are nested."""

    run_id: str
    experiment_id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    """The last value of each."""
    is_deleted: bool = False
    """It was deleted in MLflow, and can be restored."""
    folder: Path | None = None
    """Folder of its artifacts if they are known to be local; otherwise MLflow resolves them."""


@dataclass(frozen=True)
class History:
    """One metric of one run, in the order of its steps; arrays of one length."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def version(status: str | None, end_time: int | None) -> str:
    """Return a version that changes whenever an ended run does; empty for a run that has not ended."""
    return f"{status} {end_time}" if status in _ENDED and end_time else ""


def api_runs(
    client: MlflowClient, experiment_id: str, kind: str, page_size: int = PAGE, *, deleted: bool = False
) -> Iterator[Run]:
    """Read every run of a kind, page by page; with ``deleted`` those that were deleted in MLflow instead."""
    from mlflow.entities import ViewType

    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            filter_string=f"tags.`{schema.KIND}` = '{kind}'",
            max_results=page_size,
            order_by=["attributes.start_time ASC"],
            page_token=token,
            run_view_type=ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY,
        )
        yield from page
        token = page.token
        if not token:
            return


def record_of(run: Run) -> Record:
    """Convert MLflow's ``Run``."""
    data = Data(dict(run.data.tags), dict(run.data.params), dict(run.data.metrics))
    info = run.info
    return Record(Info(info.run_id, version(info.status, info.end_time), info.start_time, info.end_time), data)


def api_history(client: MlflowClient, run_id: str, name: str) -> History:
    """Request the history of one metric."""
    points = client.get_metric_history(run_id, name)
    return _history([(point.step, point.value, point.timestamp) for point in points])


class Database:
    """Read-only access to the tables of MLflow's database. Methods raise SQLAlchemy's errors."""

    def __init__(self, uri: str) -> None:
        import sqlalchemy as sa

        self.engine = sa.create_engine(uri)

    @staticmethod
    def behind(uri: str) -> bool:
        """Whether a tracking URI is that of a database."""
        return urlsplit(uri).scheme.partition("+")[0] in _DATABASES

    def parent(self, sweep: str) -> ParentRun | None:
        """Return the run of a sweep, also one that was deleted; ``None`` if there is no such sweep."""
        import sqlalchemy as sa

        experiments = _table("experiments", "experiment_id", "name", "lifecycle_stage")
        runs = _table("runs", "run_uuid", "experiment_id", "artifact_uri", "lifecycle_stage", "start_time")
        tags = _table("tags", "run_uuid", "key", "value")
        query = (
            sa.select(runs.c.run_uuid, runs.c.experiment_id, runs.c.artifact_uri, runs.c.lifecycle_stage)
            .join(experiments, experiments.c.experiment_id == runs.c.experiment_id)
            .join(tags, tags.c.run_uuid == runs.c.run_uuid)
            .where(experiments.c.name == sweep, experiments.c.lifecycle_stage == "active")
            .where(tags.c.key == schema.KIND, tags.c.value == schema.KIND_SWEEP)
            .order_by(runs.c.lifecycle_stage, runs.c.start_time)  # "active" comes before "deleted"
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        (record,) = self.records([Info(row[0])])
        deleted = row[3] != "active"
        return ParentRun(row[0], str(row[1]), record.data.tags, record.data.metrics, deleted, _local_folder(row[2]))

    def artifact_folder(self, run_id: str) -> Path | None:
        """Return the local folder of a run's artifacts; ``None`` if they are elsewhere."""
        import sqlalchemy as sa

        runs = _table("runs", "run_uuid", "artifact_uri")
        with self.engine.connect() as connection:
            uri = connection.execute(sa.select(runs.c.artifact_uri).where(runs.c.run_uuid == run_id)).scalar()
        return _local_folder(uri) if uri else None

    def index(self, experiment_id: str, kind: str) -> list[Info]:
        """Return the runs of a kind that are not deleted, the earliest first."""
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
        """Return the history of one metric by run, empty if it was not logged."""
        frames: dict[str, list[tuple[int, float, int]]] = {run: [] for run in run_ids}
        with self.engine.connect() as connection:
            for run, step, value, is_nan, timestamp in _rows(
                connection, "metrics", run_ids, "step", "value", "is_nan", "timestamp", key=name
            ):
                frames[run].append((step, math.nan if is_nan else value, timestamp))
        return {run: _history(points) for run, points in frames.items()}


def _local_folder(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") and not parts.netloc else None


def _table(name: str, *columns: str) -> sa.TableClause:
    import sqlalchemy as sa

    return sa.table(name, *map(sa.column, columns))


def _rows(
    connection: sa.Connection, name: str, run_ids: Sequence[str], *columns: str, **equal: str
) -> Iterator[tuple[Any, ...]]:
    """Yield run id and columns of every row of these runs."""
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
    steps, values, _ = zip(*ordered, strict=True) if ordered else ((), (), ())
    return History(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))


def versions_of(records: Iterable[Record]) -> Mapping[str, str]:
    """Version of each run, by its id."""
    return {record.info.run_id: record.info.version for record in records}
