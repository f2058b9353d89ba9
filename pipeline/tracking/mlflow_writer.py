"""Apply queued operations to MLflow. Every operation is idempotent."""

from __future__ import annotations

import hashlib
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

    from search_spaces.space import Space
    from trainables.storage.storage import Storage

NOTE = "mlflow.note.content"
"""Tag of the description that MLflow shows of a run or an experiment."""
MAY_PASS = (401, 403, 408, 429, 499)
"""4xx status codes that a retry may resolve: expired logins, rate limits and timeouts."""
_DATABASE_TROUBLE = re.compile(r"InterfaceError|OperationalError|PendingRollbackError|QueuePool limit")
"""MLflow reports some failures of its database connection as a bad request."""


@dataclass
class _Batch:
    """Metrics, parameters and tags to log with one request; the client splits batches that are too large."""

    metrics: list[Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def clear(self) -> None:
        self.metrics, self.params, self.tags = [], {}, {}


class MlflowWriter:
    """Applies operations, one at a time or in batches.

    An operation names its trial by ``key`` (``None``: the sweep's parent run), because the run may not exist yet;
    ``of`` names the trial under whose run a new one is nested. ``time`` is in milliseconds since 1970; because of it
    MLflow keeps a single copy of a metric that is logged twice.
    """

    def __init__(self, client: MlflowClient, experiment: str, parent: str, storage: Storage) -> None:
        self.client, self.experiment, self.parent, self.storage = client, experiment, parent, storage
        self._runs: dict[str, str] = {}
        self._all_known, self._in_doubt = False, set[str]()

    def know(self, runs: Mapping[str, str]) -> None:
        """Set the existing runs by key; from now on only this writer creates runs."""
        self._runs |= runs
        self._all_known = True

    def __call__(self, operation: dict[str, Any]) -> None:
        """Apply one operation.

        Raises:
            Exception: any error of MLflow and its stores; see ``is_permanent``.
        """
        self._of_one_run([operation])

    def write_batch(self, operations: list[dict[str, Any]]) -> None:
        """Apply operations with as few requests as possible, in order within each run.

        Raises:
            Exception: as above; some of the operations may have been applied.
        """
        of_runs: dict[str | None, list[dict[str, Any]]] = {}
        for operation in operations:
            of_runs.setdefault(operation["key"], []).append(operation)
        for batch in of_runs.values():
            self._of_one_run(batch)

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
                    values, stamp = operation["values"], (operation["time"], operation["step"])
                    batch.metrics += [Metric(name, value, *stamp) for name, value in values.items()]
                case "tag":
                    batch.tags |= operation["tags"]
                case "file":
                    self.client.log_dict(self._run(operation["key"]), operation["content"], operation["name"])
                case "table":
                    write_table(self.client, self._run(operation["key"]), operation["name"], operation["content"])
                case "picture":
                    self._image(operation)
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
        """Create a trial's run unless it exists: the response to an earlier attempt may have been lost."""
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

    def _image(self, operation: dict[str, Any]) -> None:
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
            runs = self.client.search_runs([self.experiment], f"tags.`{schema.KEY}` = '{key}'", max_results=1)
            if not runs:
                return None
            self._runs[key] = runs[0].info.run_id
        return self._runs[key]


def is_permanent(error: Exception) -> bool:
    """Whether retrying a request cannot succeed."""
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()  # type: ignore[no-untyped-call]
        return _refusal(status) and not _DATABASE_TROUBLE.search(str(error))
    if isinstance(error, requests.RequestException):
        return error.response is not None and _refusal(error.response.status_code)
    return isinstance(error, (UserError, TypeError, ValueError, LookupError, AttributeError))


def _refusal(status: int) -> bool:
    return 400 <= status < 500 and status not in MAY_PASS


def trial_runs(client: MlflowClient, experiment: str, kind: str = schema.KIND_TRIAL) -> dict[str, Run]:
    """Return all runs of one kind of an experiment, by key."""
    runs: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`{schema.KIND}` = '{kind}'", page_token=token)
        runs |= {run.data.tags[schema.KEY]: run for run in page}
        token = page.token
        if not token:
            return runs


def dataset_input(data: Mapping[str, Any]) -> DatasetInput:
    """Convert the content of ``data.json`` to an input of a run."""
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
    """Convert tags to MLflow's entities."""
    return [RunTag(name, value) for name, value in tags.items()]


def description_tags(sweep: str, current: Mapping[str, str], text: str) -> dict[str, str]:
    """Return the tags that set a description of a sweep, in the order to write them; none if it is a user's own.

    Args:
        sweep: its name.
        current: the tags of the run or experiment.
        text: the new description.
    """
    old, known = current.get(NOTE, ""), current.get(schema.DESCRIBED)
    if known is None:  # of an earlier version
        is_ours = old.replace("\\", "").startswith((f"**{sweep}**: ", f"Sweep **{sweep}** over "))
    else:
        is_ours = _digest(old) in known.split()
    if old and not is_ours:
        return {}
    # Of both texts: a process that ends between the two tags leaves the old one.
    return {schema.DESCRIBED: f"{_digest(text)} {_digest(old)}", NOTE: text}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def to_params(values: Mapping[str, Any]) -> list[Param]:
    """Convert parameters to MLflow's entities, cut to 500 characters."""
    return [Param(name, str(value)[:500]) for name, value in values.items()]


def write_table(client: MlflowClient, run: str, name: str, table: Mapping[str, Any]) -> None:
    """Write a table that MLflow's pages show as one, in place of an earlier one.

    Args:
        client: of the tracking server.
        run: id of the run.
        name: of the artifact, with the suffix ``.json``.
        table: ``columns``, and ``data`` as a list of rows.
    """
    if any(entry.path == name for entry in client.list_artifacts(run)):  # log_table would append to it
        client.log_dict(run, dict(table), name)
        return
    by_column = {column: [row[index] for row in table["data"]] for index, column in enumerate(table["columns"])}
    client.log_table(run, by_column, name)


def run_name(number: int, params: Mapping[str, Any], space: Space, most: int = 22) -> str:
    """Format a run's name: its number and differences from the recipe, e.g. ``00003 width=32 +4``.

    It has at most ``most`` characters, as the column of MLflow's pages, where a difference fits at all; ``+4`` counts
    the differences that are not named.
    """
    differing = [d.name for d in space.dimensions if params[d.name] != space.recipe[d.name] and d.active(params)]
    if not differing:
        return f"{number:05d} recipe"
    leaves = [name.rpartition(".")[2] for name in differing]
    shown_names = [
        short if leaves.count(short) == 1 else f"{name[0]}_{short}"
        for name, short in zip(differing, leaves, strict=True)
    ]
    parts = [f"{short}={_brief(params[name])}" for name, short in zip(differing, shown_names, strict=True)]
    name = f"{number:05d}"
    named = 0
    for part in parts:
        rest = len(parts) - named - 1
        if len(f"{name} {part}{f' +{rest}' if rest else ''}") <= most:
            name, named = f"{name} {part}", named + 1
    if not named:
        return f"{name} {parts[0]}" if len(parts) == 1 else f"{name} {len(parts)} changes"
    return f"{name} +{len(parts) - named}" if named < len(parts) else name


def _brief(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
