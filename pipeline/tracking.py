"""What a sweep writes to MLflow: the only writer, in the driver, in batches."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from analysis import schema
from analysis.connect import open_tracking, readable_errors
from trainables.errors import UsageError, UserError
from trainables.trial import read_results

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run

    from pipeline.home import Home
    from pipeline.outcome import Outcome
    from search_spaces.space import Space

PARAMETERS_PER_CALL = 100
"""MLflow refuses more parameters in one request."""
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
MLFLOW_STATUS = {
    schema.COMPLETE: "FINISHED",
    schema.STOPPED: "FINISHED",
    schema.FAILED: "FAILED",
    schema.INTERRUPTED: "KILLED",
}


def open_client(home: Home, tracking: str | None) -> MlflowClient:
    """The MLflow of ``tracking``, or of the home, whose database is made when it is not there yet."""
    scheme = (tracking or "").partition(":")[0].partition("+")[0]
    if tracking is not None and scheme not in SCHEMES:
        raise UsageError(f"--tracking is {tracking!r}; expected one of {', '.join(SCHEMES)}, e.g. sqlite:///FILE")
    if tracking is not None and scheme != "sqlite":
        return open_tracking(tracking=tracking)
    try:
        home.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make home {home.root}: {error.strerror or error}; give another --home") from error
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # creating the database is no news
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = tracking or home.tracking
    with readable_errors(uri):
        return MlflowClient(uri)


class Tracker:
    """One experiment per sweep, one parent run, one nested run per trial key."""

    def __init__(self, client: MlflowClient, sweep: str, artifacts: Path | None, space: Space) -> None:
        self.client, self.sweep, self.space = client, sweep, space
        with readable_errors("tracking"):
            self.experiment = self._experiment(artifacts)
            self.parent = self._parent()
        self._runs: dict[str, str] = {}
        self._steps: defaultdict[str, set[int]] = defaultdict(set)
        """Steps of each key that are logged."""

    def start(self, settings: Mapping[str, Any], data: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        """Describe the sweep on its parent run."""
        tags = {
            schema.FINGERPRINT: json.dumps(fingerprint, sort_keys=True),
            schema.STATUS: schema.RUNNING,
            schema.SYSTEM: str(self.space.recipe["system"]),
            "mlflow.note.content": f"Sweep **{self.sweep}** over `{self.space.name}`: {self.space.summary}.\n\n"
            f"`gansweep rank {self.sweep}` ranks its trials.",
        }
        # A sweep may go on with other private settings (more slots, say), but MLflow changes no parameter.
        known = self.client.get_run(self.parent).data.params
        fresh = {name: value for name, value in settings.items() if name not in known}
        self.client.log_batch(self.parent, tags=_tags(tags), params=_params(fresh))
        self.client.log_dict(self.parent, dict(settings), schema.SETTINGS_FILE)
        self.client.log_dict(self.parent, self.space.to_json(), schema.SPACE_FILE)
        self.client.log_dict(self.parent, dict(data), schema.DATA_FILE)
        self.client.update_run(self.parent, status="RUNNING")
        self._fingerprint = tags[schema.FINGERPRINT]
        self._dataset = DatasetInput(
            Dataset(
                name=str(data["name"]),
                digest=str(data["fingerprint"]),
                source_type="local",
                source=json.dumps({"uri": str(data["name"])}),
                profile=json.dumps({name: data[name] for name in ("pictures", "complete", "partial")}),
            ),
            [InputTag("mlflow.data.context", "training")],
        )
        self.client.log_inputs(self.parent, [self._dataset])

    def start_trial(self, config: Mapping[str, Any]) -> None:
        """Find or make the run of a trial's key."""
        key = config["key"]
        if key in self._runs:
            return
        run = self._find(schema.KEY, key)
        params = config["params"]
        if run is not None:
            self._continue_trial(key, run.info.run_id, Path(config["folder"]))
            return
        tags = {
            schema.KIND: schema.KIND_TRIAL,
            schema.SWEEP: self.sweep,
            schema.KEY: key,
            schema.NUMBER: str(config["number"]),
            schema.SYSTEM: str(params["system"]),
            schema.STATUS: schema.RUNNING,
            schema.RECIPE: str(config["recipe"]).lower(),
            schema.CONFIG_HASH: config["config_hash"],
            schema.FINGERPRINT: self._fingerprint,
            "mlflow.parentRunId": self.parent,
        }
        name = run_name(config["number"], params, self.space)
        made = self.client.create_run(self.experiment, run_name=name, tags=tags)
        self._runs[key] = made.info.run_id
        listed = _params({**params, "seed": config["seed"]})
        self.client.log_batch(made.info.run_id, params=listed[:PARAMETERS_PER_CALL])
        self.client.log_inputs(made.info.run_id, [self._dataset])
        self.client.log_dict(made.info.run_id, dict(params), "config.json")

    def _continue_trial(self, key: str, run: str, folder: Path) -> None:
        """Open a run again, and log what the trial had written when an earlier driver died."""
        self._runs[key] = run
        self._steps[key] = {point.step for point in self.client.get_metric_history(run, schema.KIMG)}
        self.client.update_run(run, status="RUNNING")
        self.client.set_tag(run, schema.STATUS, schema.RUNNING)
        for result in read_results(folder):
            self.log_result(key, result, folder)

    def last_kimg(self, key: str) -> int:
        """How far the trial's run has come; 0 at its beginning."""
        return max(self._steps[key], default=0)

    def log_result(self, key: str, result: Mapping[str, Any], folder: Path) -> None:
        """One batch of metrics at the step ``kimg``, and the pictures the trial drew; a step is logged only once."""
        run, step, now = self._runs[key], int(result[schema.KIMG]), int(time.time() * 1000)
        if step in self._steps[key]:
            return
        self._steps[key].add(step)
        metrics = [
            Metric(name, float(value), now, step)
            for name, value in result.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        ]
        self.client.log_batch(run, metrics=metrics)
        for picture in result.get("pictures", ()):
            self.client.log_artifact(run, str(folder / picture), str(Path(picture).parent))

    def reconcile(self, key: str, ended: Outcome) -> None:
        """Close the run of a trial that has ended, where an earlier driver died before it could."""
        if key not in self._stale:
            return
        self._runs[key] = self._stale.pop(key)
        self.finish_trial(key, ended)

    @cached_property
    def _stale(self) -> dict[str, str]:
        query = f"tags.`{schema.KIND}` = '{schema.KIND_TRIAL}' and tags.`{schema.STATUS}` = '{schema.RUNNING}'"
        found: dict[str, str] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment], query, page_token=token)
            found |= {run.data.tags[schema.KEY]: run.info.run_id for run in page}
            token = page.token
            if not token:
                return found

    def finish_trial(self, key: str, ended: Outcome) -> None:
        """Close a trial's run with its status and reason."""
        run = self._runs.pop(key)
        self.client.log_batch(run, tags=_tags({schema.STATUS: ended.status, schema.REASON: ended.reason}))
        self.client.set_terminated(run, MLFLOW_STATUS[ended.status])

    def finish(self, status: str, interrupted: Outcome) -> None:
        """Close what is still open, then the parent run."""
        for key in list(self._runs):
            self.finish_trial(key, interrupted)
        self.client.set_tag(self.parent, schema.STATUS, status)
        self.client.set_terminated(self.parent, MLFLOW_STATUS[status])

    def _experiment(self, artifacts: Path | None) -> str:
        found = self.client.get_experiment_by_name(self.sweep)
        if found is None:
            location = artifacts.as_uri() if artifacts is not None else None
            return str(self.client.create_experiment(self.sweep, artifact_location=location))
        if found.lifecycle_stage == "deleted":
            raise UserError(f"MLflow experiment {self.sweep!r} was deleted; restore it or take another --name")
        return str(found.experiment_id)

    def _parent(self) -> str:
        run = self._find(schema.KIND, schema.KIND_SWEEP)
        if run is not None:
            return str(run.info.run_id)
        tags = {schema.KIND: schema.KIND_SWEEP, schema.SWEEP: self.sweep}
        return str(self.client.create_run(self.experiment, run_name=self.sweep, tags=tags).info.run_id)

    def _find(self, tag: str, value: str) -> Run | None:
        query = f"tags.`{tag}` = '{value}'"
        runs = self.client.search_runs([self.experiment], query, max_results=1)
        return runs[0] if runs else None


def run_name(number: int, params: Mapping[str, Any], space: Space, most: int = 4) -> str:
    """Short and readable: the number and what differs from the recipe, e.g. ``00003 width=32 noise_dim=128``."""
    differing = [d.name for d in space.dimensions if params[d.name] != space.recipe[d.name] and d.active(params)]
    if not differing:
        return f"{number:05d} recipe"
    last = [name.rpartition(".")[2] for name in differing]
    shown_names = [
        short if last.count(short) == 1 else f"{name[0]}_{short}" for name, short in zip(differing, last, strict=True)
    ]
    parts = [f"{short}={_brief(params[name])}" for name, short in zip(differing, shown_names, strict=True)]
    more = f" +{len(parts) - most}" if len(parts) > most else ""
    return f"{number:05d} {' '.join(parts[:most])}{more}"


def _brief(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, value) for name, value in tags.items()]


def _params(values: Mapping[str, Any]) -> list[Param]:
    return [Param(name, str(value)[:500]) for name, value in values.items()]
