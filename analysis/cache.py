"""What has been read of ended runs, kept in a home's cache folder: Parquet files, one of runs and one per metric.

A run is kept under its version (status and end). A file that is damaged, foreign or cannot be written costs only the
time to read the tracking again; nothing in it is executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from analysis.store import Data, Database, History, Info, Record, api_history, api_runs, record_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa
    from mlflow import MlflowClient

_T = TypeVar("_T")
FOLDER: Final = "analysis"
_FORMAT: Final = 1
"""Part of the file names: another layout is another file."""


class Reader:
    """Reads what a sweep logged: from the cache where a run has not changed, from the tracking elsewhere.

    Args:
        client: MLflow.
        uri: where it is.
        folder: the cache; ``None`` reads everything each time.
    """

    def __init__(self, client: MlflowClient, uri: str, folder: Path | None) -> None:
        self.client, self.uri, self.folder = client, uri, folder
        self.database = Database(uri) if Database.behind(uri) else None

    def records(self, experiment_id: str, kind: str) -> list[Record]:
        """Every run of a kind, the earliest first."""
        file = self._file("runs", experiment_id, kind)
        if self.database is not None:
            from sqlalchemy.exc import SQLAlchemyError

            with contextlib.suppress(SQLAlchemyError):  # MLflow says what is the matter, or knows its own tables
                return self._from_database(self.database, file, experiment_id, kind)
        return [record_of(run) for run in api_runs(self.client, experiment_id, kind)]

    def _from_database(self, database: Database, file: Path | None, experiment_id: str, kind: str) -> list[Record]:
        infos = database.index(experiment_id, kind)
        kept = {record.info: record.data for record in _load(file, _to_records)}
        fresh = {record.info: record.data for record in database.records(info for info in infos if info not in kept)}
        records = [Record(info, kept.get(info) or fresh[info]) for info in infos]
        if any(info.version for info in fresh):
            _save(file, lambda: _from_records([record for record in records if record.info.version]))
        return records

    def histories(self, sweep_id: str, versions: Mapping[str, str], name: str) -> dict[str, History]:
        """History of one metric for runs of a sweep (its parent run's id), given by id with their versions.

        What is kept of the sweep's other runs stays: a report asks for fewer of them than an analysis.
        """
        file = self._file("history", sweep_id, name)
        kept = dict(_load(file, _to_histories))
        infos = [Info(run, version) for run, version in versions.items()]
        missing = [info.run_id for info in infos if info not in kept]
        fresh = self._fresh(missing, name)
        found = {info.run_id: fresh[info.run_id] if info.run_id in fresh else kept[info] for info in infos}
        if any(versions[run] for run in fresh):
            ended = {info: found[info.run_id] for info in infos if info.version}
            newer = {info.run_id for info in ended}
            others = {info: history for info, history in kept.items() if info.run_id not in newer}
            _save(file, lambda: _from_histories(others | ended))
        return found

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
def _load(file: Path | None, parse: Callable[[pa.Table], list[_T]]) -> list[_T]:
    if file is None or not file.is_file():
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return parse(pq.read_table(file, page_checksum_verification=True))
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, IndexError):
        return []


def _save(file: Path | None, table: Callable[[], pa.Table]) -> None:
    """Write a file at once or not at all: two commands may read the same sweep."""
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


def _from_records(records: Sequence[Record]) -> pa.Table:
    import pyarrow as pa

    texts = [json.dumps([record.data.tags, record.data.params, record.data.metrics]) for record in records]
    return pa.table({**_infos(record.info for record in records), "data": texts})


def _to_records(table: pa.Table) -> list[Record]:
    texts = table.column("data").to_pylist()
    return [Record(info, Data(*json.loads(text))) for info, text in zip(_parse_infos(table), texts, strict=True)]


def _from_histories(histories: Mapping[Info, History]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    ends = np.cumsum([0, *(len(history.steps) for history in histories.values())])

    def column(name: str) -> pa.Array:
        parts = [getattr(history, name) for history in histories.values()]
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(np.concatenate(parts)))

    return pa.table({**_infos(histories), **{name: column(name) for name in ("steps", "values", "timestamps")}})


def _to_histories(table: pa.Table) -> list[tuple[Info, History]]:
    import numpy as np

    columns: list[Any] = []
    for name, dtype in (("steps", np.int64), ("values", np.float64), ("timestamps", np.int64)):
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
