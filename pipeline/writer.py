"""Carries out on MLflow what the tracker has written down; everything may be done twice without harm."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import requests
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from analysis import schema
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from trainables.storage import Storage

MAY_PASS = (401, 403, 408, 429, 499)
"""HTTP states of the 4xx that another attempt may mend: a login can be renewed, load and time-outs pass."""
_DATABASE_TROUBLE = re.compile(r"InterfaceError|OperationalError|PendingRollbackError|QueuePool limit")
"""MLflow calls some failures of its database's connection a bad request."""


@dataclass
class _Batch:
    """What one request can tell MLflow of a run; its client divides what is too much for one."""

    metrics: list[Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def clear(self) -> None:
        self.metrics, self.params, self.tags = [], {}, {}


class MlflowWriter:
    """Operations, one by one or together.

    An operation names its trial by ``key`` (none: the sweep's parent run), since the run may not be there yet; ``of``
    names likewise the trial under whose run a new one is nested. It carries ``time``, the milliseconds since 1970 at
    which it came about: MLflow keeps one of two equal metrics.
    """

    def __init__(self, client: MlflowClient, experiment: str, parent: str, storage: Storage) -> None:
        self.client, self.experiment, self.parent, self.storage = client, experiment, parent, storage
        self._runs: dict[str, str] = {}
        self._all_known, self._in_doubt = False, set[str]()

    def know(self, runs: Mapping[str, str]) -> None:
        """There are these runs by key, and no others: from now on nobody else makes one."""
        self._runs |= runs
        self._all_known = True

    def __call__(self, operation: dict[str, Any]) -> None:
        """Carry out an operation.

        Raises:
            Exception: whatever MLflow and its stores raise; see ``lasts``.
        """
        self._of_one_run([operation])

    def together(self, operations: list[dict[str, Any]]) -> None:
        """Carry out operations, each run's in their order and with as few requests as there can be.

        Raises:
            Exception: as above; some of them have been carried out then.
        """
        of_runs: dict[str | None, list[dict[str, Any]]] = {}
        for operation in operations:
            of_runs.setdefault(operation["key"], []).append(operation)
        for own in of_runs.values():
            self._of_one_run(own)

    def _of_one_run(self, operations: list[dict[str, Any]]) -> None:
        batch = _Batch()
        for operation in operations:
            match operation["do"]:
                case "start":
                    self._start(operation, batch)
                case "go on":
                    self._send(batch, operation)
                    self.client.update_run(self._run(operation["key"]), status="RUNNING")
                    batch.tags |= {schema.STATUS: schema.RUNNING} | operation.get("tags", {})
                case "metrics":
                    values, at = operation["values"], (operation["time"], operation["step"])
                    batch.metrics += [Metric(name, value, *at) for name, value in values.items()]
                case "picture":
                    self._picture(operation)
                case "end":
                    batch.tags |= operation["tags"]
                    self._send(batch, operation)
                    self.client.set_terminated(self._run(operation["key"]), operation["status"], operation["time"])
                case unknown:
                    raise UserError(f"this version does not know the operation {unknown!r}")
        self._send(batch, operations[-1])

    def _send(self, batch: _Batch, operation: dict[str, Any]) -> None:
        if batch.params or batch.metrics or batch.tags:
            run = self._run(operation["key"])
            self.client.log_batch(run, metrics=batch.metrics, params=to_params(batch.params), tags=to_tags(batch.tags))
        batch.clear()

    def _start(self, operation: dict[str, Any], batch: _Batch) -> None:
        """Make a trial's run, unless it is there: the answer to an earlier attempt may have been lost."""
        key, run = operation["key"], self._find(operation["key"])
        if run is None:
            self._in_doubt.add(key)
            run = self.client.create_run(
                self.experiment,
                start_time=operation["time"],
                tags={**operation["tags"], schema.KEY: key, "mlflow.parentRunId": self._run(operation.get("of"))},
                run_name=operation["name"],
            ).info.run_id
            self._runs[key] = run
        batch.params |= operation["params"]
        self.client.log_inputs(run, [dataset_input(operation["data"])])
        self.client.log_dict(run, operation["config"], "config.json")

    def _picture(self, operation: dict[str, Any]) -> None:
        with self.storage.fetched(operation["name"]) as path:
            self.client.log_artifact(
                self._run(operation["key"]), str(path), str(PurePosixPath(operation["name"]).parent.name)
            )

    def _run(self, key: str | None) -> str:
        run = self.parent if key is None else self._find(key)
        if run is None:
            raise UserError(f"trial {key} has no run")
        return run

    def _find(self, key: str) -> str | None:
        if key not in self._runs:
            if self._all_known and key not in self._in_doubt:
                return None
            found = self.client.search_runs([self.experiment], f"tags.`{schema.KEY}` = '{key}'", max_results=1)
            if not found:
                return None
            self._runs[key] = found[0].info.run_id
        return self._runs[key]


def lasts(error: Exception) -> bool:
    """Whether a request would be refused again, however often it were sent."""
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()  # type: ignore[no-untyped-call]
        return _refusal(status) and not _DATABASE_TROUBLE.search(str(error))
    if isinstance(error, requests.RequestException):
        return error.response is not None and _refusal(error.response.status_code)
    return isinstance(error, (UserError, TypeError, ValueError, LookupError, AttributeError))


def _refusal(status: int) -> bool:
    return 400 <= status < 500 and status not in MAY_PASS


def trial_runs(client: MlflowClient, experiment: str, kind: str = schema.KIND_TRIAL) -> dict[str, Run]:
    """All runs of trials of an experiment, or of another kind, by key."""
    found: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{schema.KIND}` = '{kind}'", page_token=token)
        found |= {run.data.tags[schema.KEY]: run for run in page}
        token = page.token
        if not token:
            return found


def dataset_input(data: Mapping[str, Any]) -> DatasetInput:
    """The training data as an input of a run, from what ``data.json`` says."""
    return DatasetInput(
        Dataset(
            name=str(data["name"]),
            digest=str(data["fingerprint"]),
            source_type="local",
            source=json.dumps({"uri": str(data["name"])}),
            profile=json.dumps({name: data[name] for name in ("pictures", "complete", "partial")}),
        ),
        [InputTag("mlflow.data.context", "training")],
    )


def to_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """Tags as MLflow takes them."""
    return [RunTag(name, value) for name, value in tags.items()]


def to_params(values: Mapping[str, Any]) -> list[Param]:
    """Parameters as MLflow takes them: text of at most 500 characters."""
    return [Param(name, str(value)[:500]) for name, value in values.items()]
