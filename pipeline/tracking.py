"""What a sweep writes to MLflow: the only writer, in the driver, in batches."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import time
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient

from analysis import schema
from analysis.connect import open_tracking, readable_errors, shown
from pipeline.outcome import came_to_its_end
from pipeline.ownership import claim_experiment
from pipeline.sender import Sender
from pipeline.spool import Spool
from pipeline.stretches import Stretches
from pipeline.writer import MlflowWriter, dataset_input, lasts, to_params, to_tags, trial_runs
from trainables.checkpoint import read_results
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pipeline.home import Home
    from pipeline.outcome import Outcome
    from search_spaces.space import Space
    from trainables.storage import Storage

SPOOL = "spool"
"""Folder in that of the sweep: what is still to be sent."""
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql")
MLFLOW_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Where the user sets no other: little patience with a server (attempts, seconds), since ours is in ``Sender``, and
no word on stdout, which is for results."""
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": schema.DISTANCE,
}
"""What MLflow's pages go by: runs that train, rather than prompts, and which chart comes first."""
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
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # creating the database is no news
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Failures are said in one line by who meets them, not with a traceback by MLflow and a warning for each attempt.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    if tracking is not None and scheme != "sqlite":
        return open_tracking(tracking=tracking)
    try:
        home.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make home {home.root}: {error.strerror or error}; give another --home") from error
    uri = tracking or home.tracking
    with readable_errors(uri):
        return MlflowClient(uri)


class Tracker:
    """One experiment per sweep, one parent run, one nested run per trial key, and below that one per repeat of it.

    What is read is read here, at the beginning, and a server that does not answer then is an error. After ``start``
    nothing waits for the server: every write goes to the spool, from which a thread sends it.

    Args:
        client: MLflow.
        home: holds the spool; its id keeps another home from the sweep.
        sweep: its name.
        space: what is searched.
        storage: where the trials keep their files.
        say: tells the user one line.
        artifacts: where MLflow keeps those of the sweep; default: where the server decides.
        adopt: take the sweep over from another home.

    Raises:
        UserError: the sweep is another home's; what an earlier start left cannot be sent.
        AnalysisError: the server does not answer.
    """

    def __init__(
        self,
        client: MlflowClient,
        home: Home,
        sweep: str,
        space: Space,
        storage: Storage,
        say: Callable[[str], None],
        *,
        artifacts: Path | None = None,
        adopt: bool = False,
    ) -> None:
        self.client, self.sweep, self.space, self.storage = client, sweep, space, storage
        with readable_errors(client.tracking_uri):
            self.experiment = claim_experiment(client, home, sweep, artifacts=artifacts, adopt=adopt)
            self.parent = self._parent()
            self.figures = dict(client.get_run(self.parent).data.metrics)
            """Metrics of the sweep's run, as an earlier driver left them."""
            writer = MlflowWriter(client, self.experiment, self.parent, storage)
            spool = Spool(home.sweep(sweep) / SPOOL)
            self.sender = Sender(spool, writer, lasts, shown(client.tracking_uri), say, together=writer.together)
            self.sender.flush()
            kinds = (schema.KIND_TRIAL, *schema.REPEATS)
            runs = {key: run for kind in kinds for key, run in trial_runs(client, self.experiment, kind).items()}
            writer.know({key: run.info.run_id for key, run in runs.items()})
        self.ended = {
            key
            for key, run in runs.items()
            if came_to_its_end(run.data.tags.get(schema.STATUS), run.data.tags.get(schema.REASON, ""))
        }
        """Keys whose runs came to their end, as an earlier driver left them; not those that ended with a process."""
        self._stale = {key for key, run in runs.items() if run.data.tags.get(schema.STATUS) == schema.RUNNING}
        """Keys whose runs an earlier driver left open."""
        self._last = {key: int(run.data.metrics.get(schema.KIMG, -1)) for key, run in runs.items()}
        """The last step of each key that has a run. Steps are sent in order: those before it are there too."""
        wanted = (schema.SAMPLES, *schema.OBJECTIVES)
        self.scores = {
            key: {name: run.data.metrics[name] for name in wanted if name in run.data.metrics}
            for key, run in runs.items()
            if run.data.tags.get(schema.KIND) == schema.KIND_TRIAL and run.data.tags.get(schema.STATUS) != schema.FAILED
        }
        """The last scores of the sweep's own trials, as an earlier driver left them."""
        self._open: set[str] = set()
        self.precision = "float32"
        """Of the training of runs that begin from now on."""
        self.fused = 1
        """The most trials of one program, of runs that begin from now on."""
        self._time = max((run.info.end_time or run.info.start_time or 0 for run in runs.values()), default=0)
        """Of the last write: writes keep their order where the clock of the machine is set back."""
        self._written = 0
        self._stretches = Stretches({key: run.data.tags.get(schema.STRETCHES) for key, run in runs.items()})

    def start(self, settings: Mapping[str, Any], data: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        """Describe the sweep on its parent run, then begin to send in the background.

        Raises:
            AnalysisError: the server does not answer.
        """
        self._describe(settings, data, fingerprint)
        self.start_repeats(data, fingerprint)

    def start_repeats(self, data: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        """Begin to send in the background; what the sweep's run says of the sweep stays as it is."""
        self._fingerprint = json.dumps(fingerprint, sort_keys=True)
        self._data = {name: data[name] for name in ("name", "fingerprint", "pictures", "complete", "partial")}
        self.sender.start()

    def _describe(self, settings: Mapping[str, Any], data: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        tags = {
            schema.FINGERPRINT: json.dumps(fingerprint, sort_keys=True),
            schema.STATUS: schema.RUNNING,
            schema.SYSTEM: str(self.space.recipe["system"]),
            "mlflow.note.content": f"Sweep **{self.sweep}** over `{self.space.name}`: {self.space.summary}.\n\n"
            f"`gansweep rank {self.sweep}` ranks its trials; a ranking will stand here soon.",
        }
        with readable_errors(self.client.tracking_uri):
            for name, value in EXPERIMENT_TAGS.items():
                self.client.set_experiment_tag(self.experiment, name, value)
            # A sweep may go on with other private settings (more slots, say), but MLflow changes no parameter.
            known = self.client.get_run(self.parent).data.params
            fresh = {name: value for name, value in settings.items() if name not in known}
            self.client.log_batch(self.parent, tags=to_tags(tags), params=to_params(fresh))
            self.client.log_dict(self.parent, dict(settings), schema.SETTINGS_FILE)
            self.client.log_dict(self.parent, self.space.to_json(), schema.SPACE_FILE)
            self.client.log_dict(self.parent, dict(data), schema.DATA_FILE)
            self.client.update_run(self.parent, status="RUNNING")
            self.client.log_inputs(self.parent, [dataset_input(data)])

    def start_trial(self, config: Mapping[str, Any]) -> None:
        """Make the run of a trial's key, or go on with it and log what it had written and no driver has heard of.

        A driver may have died before it had a result, or a worker after it had stored one and before it could say so.
        """
        key = config["key"]
        known = key in self._last
        self.open_trial(config)
        for result in read_results(self.storage.below(key)) if known else ():
            self.log_result(key, result)

    def open_trial(self, config: Mapping[str, Any]) -> None:
        """Make the run of a trial's key, or go on with it."""
        key = config["key"]
        if key in self._open:
            return
        self._open.add(key)
        self._stretches.start(key)
        if key in self._last:
            self._put("go on", key, tags={schema.STRETCHES: self._stretches.to_json(key)})
            return
        params = config["params"]
        # A trial has a number, a repeat says what it repeats.
        own = config.get("repeat") or {schema.KIND: schema.KIND_TRIAL, schema.NUMBER: str(config["number"])}
        tags = {
            **own,
            schema.SWEEP: self.sweep,
            schema.SYSTEM: str(params["system"]),
            schema.STATUS: schema.RUNNING,
            schema.RECIPE: str(config["recipe"]).lower(),
            schema.CONFIG_HASH: config["config_hash"],
            schema.FINGERPRINT: self._fingerprint,
            schema.PRECISION: self.precision,
            schema.FUSED: str(self.fused),
            schema.STRETCHES: self._stretches.to_json(key),
        }
        self._put(
            "start",
            key,
            of=own.get(schema.OF),
            name=config.get("name") or run_name(config["number"], params, self.space),
            tags=tags,
            params={name: str(value) for name, value in (*params.items(), ("seed", config["seed"]))},
            config=dict(params),
            data=self._data,
        )
        self._last[key] = -1

    def last_kimg(self, key: str) -> int:
        """How far the trial's run has come; 0 at its beginning."""
        return max(0, self._last.get(key, 0))

    def ran_on(self, key: str, node: str) -> None:
        """The trial was heard of from a node; its run says so when it ends."""
        self._stretches.seen(key, node)

    def log_result(self, key: str, result: Mapping[str, Any]) -> None:
        """One batch of metrics at the step ``kimg``, and the pictures the trial drew; a step is logged only once."""
        step = int(result[schema.KIMG])
        if step <= self._last[key]:
            return
        self._last[key] = step
        values = {
            schema.logged_name(name): float(value)
            for name, value in result.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        }
        pictures = [self._operation("picture", key, name=f"{key}/{name}") for name in result.get("pictures", ())]
        self.sender.put(self._operation("metrics", key, step=step, values=values), *pictures)

    def log_sweep(self, values: Mapping[str, float]) -> None:
        """Metrics of the sweep's own run; the step counts the seconds that its slots were there."""
        if values:
            self._put("metrics", None, step=int(values[schema.SLOT_SECONDS]), values=dict(values))

    def reconcile(self, key: str, ended: Outcome) -> None:
        """Close the run of a trial that has ended, where an earlier driver died before it could."""
        if key in self._stale:
            self._stale.discard(key)
            for result in read_results(self.storage.below(key)):  # a power cut may have taken the last of them
                self.log_result(key, result)
            self.finish_trial(key, ended)

    def finish_trial(self, key: str, ended: Outcome) -> None:
        """Close a trial's run with its status and reason."""
        tags = {schema.STATUS: ended.status, schema.REASON: ended.reason}
        if key in self._open:
            self._open.discard(key)
            self._stretches.end(key)
            tags[schema.STRETCHES] = self._stretches.to_json(key)
        # The study knows of the end already: no later start would make up for it.
        self.sender.put(self._operation("end", key, tags=tags, status=MLFLOW_STATUS[ended.status]), sync=True)

    def finish(self, status: str, interrupted: Outcome) -> None:
        """Close what is still open, then the parent run; wait a while until all is sent, and say what is not."""
        self._interrupt(interrupted)
        self._put("end", None, tags={schema.STATUS: status}, status=MLFLOW_STATUS[status])
        self.sender.finish()

    def finish_repeats(self, interrupted: Outcome) -> None:
        """The same after repeats, which leave the parent run alone."""
        self._interrupt(interrupted)
        self.sender.finish()

    def _interrupt(self, how: Outcome) -> None:
        """Close the runs of trials that nobody trains any more; one may have stored a result that no one heard of."""
        for key in sorted(self._open):
            with contextlib.suppress(UserError):  # a storage that does not answer now: the next start reads it
                for result in read_results(self.storage.below(key)):
                    self.log_result(key, result)
            self.finish_trial(key, how)

    @property
    def written(self) -> int:
        """How much has been written: grows with every start, result and end."""
        return self._written

    def _put(self, do: str, key: str | None, **what: Any) -> None:
        self.sender.put(self._operation(do, key, **what))

    def _operation(self, do: str, key: str | None, **what: Any) -> dict[str, Any]:
        self._written += 1
        self._time = max(self._time + 1, int(time.time() * 1000))
        return {"do": do, "key": key, "time": self._time, **what}

    def _parent(self) -> str:
        query = f"tags.`{schema.KIND}` = '{schema.KIND_SWEEP}'"
        found = self.client.search_runs([self.experiment], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {schema.KIND: schema.KIND_SWEEP, schema.SWEEP: self.sweep}
        return str(self.client.create_run(self.experiment, run_name=self.sweep, tags=tags).info.run_id)


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
