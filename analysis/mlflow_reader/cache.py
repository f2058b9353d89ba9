"""Read a sweep's runs and histories, and cache the histories of ended runs: one Parquet file per metric.

A tracking server takes one request per run and metric: reading the histories of 300 trials takes a minute without the
cache and a tenth of a second with it. Runs are never cached; reading 10,000 from a database takes 4 s. A history is
cached under the version of its run (status and end). A cache file that is damaged, foreign or not writable only costs
the time to read again; nothing in it is executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.bulk import Database, History, Info, ParentRun, Record, api_history, api_runs, record_of
from analysis.mlflow_reader.connect import open_tracking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa
    from mlflow import MlflowClient

FOLDER: Final = "analysis"
_FORMAT: Final = 1
"""Version of the layout, part of the file names."""


class Reader:
    """Reads what a sweep logged: histories of unchanged runs from the cache, everything else from MLflow.

    Args:
        uri: MLflow's tracking URI.
        folder: folder of the cache; ``None`` reads everything each time.
    """

    def __init__(self, uri: str, folder: Path | None) -> None:
        self.uri, self.folder = uri, folder
        self.database = Database(uri) if Database.behind(uri) else None

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's client. Databases are read without it, because importing MLflow takes seconds."""
        return open_tracking(tracking=self.uri)

    def parent(self, sweep: str) -> ParentRun | None:
        """Return the run of a sweep; ``None`` if there is no such sweep."""
        if self.database is not None:
            from sqlalchemy.exc import SQLAlchemyError

            with contextlib.suppress(SQLAlchemyError):  # MLflow explains the error, or knows other tables
                return self.database.parent(sweep)
        experiment = self.client.get_experiment_by_name(sweep)
        if experiment is None or experiment.lifecycle_stage != "active":
            return None
        for deleted in (False, True):
            for run in api_runs(self.client, experiment.experiment_id, schema.KIND_SWEEP, deleted=deleted):
                return ParentRun(run.info.run_id, run.info.experiment_id, run.data.tags, run.data.metrics, deleted)
        return None

    def json_file(self, parent: ParentRun, name: str) -> dict[str, Any]:
        """Read a JSON artifact of a sweep's run; ``{}`` if it has none (an older sweep, a moved home).

        Raises:
            AnalysisError: the file is not JSON.
        """
        with tempfile.TemporaryDirectory() as folder:
            if parent.folder is not None:
                file = parent.folder / name
            elif name in {entry.path for entry in self.client.list_artifacts(parent.run_id)}:
                file = Path(self.client.download_artifacts(parent.run_id, name, folder))
            else:
                return {}
            try:
                content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            except ValueError as error:
                raise AnalysisError(f"{name} of MLflow run {parent.run_id} is not JSON: {error}") from error
        return content

    def records(self, experiment_id: str, kind: str) -> list[Record]:
        """Every run of a kind, the earliest first."""
        if self.database is not None:
            from sqlalchemy.exc import SQLAlchemyError

            with contextlib.suppress(SQLAlchemyError):
                return self.database.records(self.database.index(experiment_id, kind))
        return [record_of(run) for run in api_runs(self.client, experiment_id, kind)]

    def histories(self, sweep_id: str, versions: Mapping[str, str], name: str) -> dict[str, History]:
        """Return the histories of one metric by run id, for runs of a sweep (parent run id) with their versions.

        Cached histories of the sweep's other runs are kept: a report reads fewer runs than an analysis.
        """
        file = self._file("history", sweep_id, name)
        cached = dict(_load(file))
        infos = [Info(run, version) for run, version in versions.items()]
        missing = [info.run_id for info in infos if info not in cached]
        fresh = self._fresh(missing, name)
        result = {info.run_id: fresh[info.run_id] if info.run_id in fresh else cached[info] for info in infos}
        if any(versions[run] for run in fresh):
            ended = {info: result[info.run_id] for info in infos if info.version}
            newer = {info.run_id for info in ended}
            retained = {info: history for info, history in cached.items() if info.run_id not in newer}
            _save(file, lambda: _from_histories(retained | ended))
        return result

    def _fresh(self, run_ids: Sequence[str], name: str) -> dict[str, History]:
        if self.database is not None:
            from sqlalchemy.exc import SQLAlchemyError

            with contextlib.suppress(SQLAlchemyError):
                return self.database.histories(run_ids, name)
        return {run: api_history(self.client, run, name) for run in run_ids}

    def _file(self, what: str, *parts: str) -> Path | None:
        if self.folder is None:
            return None
        name = hashlib.sha256(json.dumps([self.uri, *parts]).encode()).hexdigest()[:24]
        return self.folder / FOLDER / f"{what}-{_FORMAT}-{name}.parquet"


# Files -------------------------------------------------------------------------------------------------------
def _load(file: Path | None) -> list[tuple[Info, History]]:
    if file is None or not file.is_file():
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _to_histories(pq.read_table(file, page_checksum_verification=True))
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, IndexError):
        return []


def _save(file: Path | None, table: Callable[[], pa.Table]) -> None:
    """Write a file atomically, because two commands may read the same sweep."""
    if file is None:
        return
    import pyarrow.parquet as pq

    with contextlib.suppress(OSError):  # a full or read-only disk
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        os.close(handle)
        try:
            pq.write_table(table(), name, compression="zstd", write_page_checksum=True)
            Path(name).replace(file)
        finally:
            Path(name).unlink(missing_ok=True)


def _from_histories(histories: Mapping[Info, History]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    ends = np.cumsum([0, *(len(history.steps) for history in histories.values())])

    def column(name: str) -> pa.Array:
        parts = [getattr(history, name) for history in histories.values()]
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(np.concatenate(parts)))

    return pa.table({**_infos(histories), **{name: column(name) for name in ("steps", "values")}})


def _to_histories(table: pa.Table) -> list[tuple[Info, History]]:
    import numpy as np

    columns: list[Any] = []
    for name, dtype in (("steps", np.int64), ("values", np.float64)):
        lists = table.column(name).combine_chunks()
        flat = lists.flatten().to_numpy(zero_copy_only=False).astype(dtype)
        columns.append(np.split(flat, np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))[:-1]))
    return [(info, History(*arrays)) for info, *arrays in zip(_parse_infos(table), *columns, strict=True)]


def _infos(infos: Iterable[Info]) -> dict[str, list[str]]:
    known = list(infos)
    return {"run_id": [info.run_id for info in known], "version": [info.version for info in known]}


def _parse_infos(table: pa.Table) -> list[Info]:
    columns = [table.column(name).to_pylist() for name in ("run_id", "version")]
    return [Info(run, version) for run, version in zip(*columns, strict=True)]
