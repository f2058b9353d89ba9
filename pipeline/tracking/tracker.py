"""The only writer of a sweep to MLflow; runs in the driver and writes in batches."""

from __future__ import annotations

import contextlib
import json
import math
import time
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.mlflow_reader.connect import readable_errors, redact_uri
from pipeline.tracking.mlflow_writer import (
    MlflowWriter,
    dataset_input,
    description_tags,
    is_permanent,
    run_name,
    to_params,
    to_tags,
    trial_runs,
)
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.outbox_worker import OutboxWorker
from pipeline.tracking.ownership import claim_experiment, open_parent_run
from pipeline.tracking.trial_timeline import TrialTimeline
from pipeline.trial_status import is_final
from trainables.errors import UserError
from trainables.storage.checkpoints import read_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlflow import MlflowClient

    from pipeline.home import Home
    from pipeline.trial_status import TrialEnd
    from search_spaces.space import Space
    from trainables.storage.storage import Storage

SPOOL = "spool"
"""Subfolder of the sweep with the operations that are still to be sent."""
LONGEST_TAG = 5000
"""Characters; the limit of MLflow's servers, which was lower in earlier versions."""
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": schema.DISTANCE,
}
"""Tags that control MLflow's pages: the experiment holds training runs (not prompts), and which chart comes first."""
MLFLOW_STATUS = {
    schema.COMPLETE: "FINISHED",
    schema.STOPPED: "FINISHED",
    schema.FAILED: "FAILED",
    schema.INTERRUPTED: "KILLED",
}


class Tracker:
    """Writes a sweep: one experiment with a parent run, one nested run per trial key, and below it one per repeat.

    The constructor does all reading, and raises if the server does not answer. After ``start`` nothing waits for the
    server: every write is queued in the outbox, from which a thread sends it.

    Args:
        client: MLflow.
        home: holds the outbox; its id protects the sweep from other homes.
        sweep: name of the sweep.
        space: searched space.
        storage: of the trials' files.
        say: prints a one-line message.
        artifacts: folder of the sweep's artifacts; default: chosen by the server.
        adopt: take the sweep over from another home.

    Raises:
        UserError: the sweep belongs to another home, or operations of an earlier start cannot be sent.
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
            self.parent = open_parent_run(client, self.experiment, sweep)
            self.figures = dict(client.get_run(self.parent).data.metrics)
            """Metrics of the sweep's run, as logged by earlier drivers."""
            writer = MlflowWriter(client, self.experiment, self.parent, storage)
            spool = Outbox(home.sweep(sweep) / SPOOL)
            self.sender = OutboxWorker(
                spool, writer, is_permanent, redact_uri(client.tracking_uri), say, write_batch=writer.write_batch
            )
            self.sender.flush()
            kinds = (schema.KIND_TRIAL, *schema.REPEATS)
            runs = {key: run for kind in kinds for key, run in trial_runs(client, self.experiment, kind).items()}
            writer.know({key: run.info.run_id for key, run in runs.items()})
        self.ended = {
            key
            for key, run in runs.items()
            if is_final(run.data.tags.get(schema.STATUS), run.data.tags.get(schema.REASON, ""))
        }
        """Keys of runs that earlier drivers finished, without those that were interrupted with a driver."""
        self._stale = {key for key, run in runs.items() if run.data.tags.get(schema.STATUS) == schema.RUNNING}
        """Keys of runs that an earlier driver left open."""
        self._last = {key: int(schema.cost({schema.KIMG: -1, **run.data.metrics})) for key, run in runs.items()}
        """The last logged step of each run by key. Steps are sent in order, so all earlier ones are logged too."""
        names = (schema.SAMPLES, *schema.OBJECTIVES)
        self.scores = {
            key: {name: run.data.metrics[name] for name in names if name in run.data.metrics}
            for key, run in runs.items()
            if run.data.tags.get(schema.KIND) == schema.KIND_TRIAL and run.data.tags.get(schema.STATUS) != schema.FAILED
        }
        """The last scores of the sweep's own trials, as logged by earlier drivers."""
        self._open: set[str] = set()
        self._fingerprint: dict[str, str] = {}
        """Tag of runs that start from now on; empty while the scorer is prepared."""
        self._unmarked = {key for key, run in runs.items() if schema.FINGERPRINT not in run.data.tags}
        """Keys of runs that were started without it."""
        self.precision = "float32"
        """Training precision of runs that start from now on."""
        self.fused = 1
        """Maximum number of trials fused into one program, for runs that start from now on."""
        self._time = max((run.info.end_time or run.info.start_time or 0 for run in runs.values()), default=0)
        """Timestamp of the last write; it never decreases, so that writes keep their order if the clock is set back."""
        self._written = 0
        self._stretches = TrialTimeline({key: run.data.tags.get(schema.STRETCHES) for key, run in runs.items()})

    def start(
        self, settings: Mapping[str, Any], data: Mapping[str, Any], fingerprint: Mapping[str, Any] | None
    ) -> None:
        """Describe the sweep on its parent run, then start to send in the background.

        Args:
            settings: of the sweep.
            data: content of ``data.json``.
            fingerprint: of the scores; ``None`` while the scorer is prepared, see ``record_scorer``.

        Raises:
            AnalysisError: the server does not answer.
        """
        self._describe(settings, data, fingerprint)
        self.start_repeats(data, fingerprint)

    def start_repeats(self, data: Mapping[str, Any], fingerprint: Mapping[str, Any] | None) -> None:
        """Start to send in the background; the description of the sweep stays unchanged."""
        self._data = {name: data[name] for name in ("name", "fingerprint", "pictures", "complete", "partial")}
        self.sender.start()
        if fingerprint is not None:
            self._set_fingerprint(fingerprint)

    def record_scorer(self, data: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
        """Complete the description of the sweep and of its trials, before the first scores are logged."""
        self._put("file", None, name=schema.DATA_FILE, content=dict(data))
        self._put("tag", None, tags={schema.FINGERPRINT: json.dumps(fingerprint, sort_keys=True)})
        self._set_fingerprint(fingerprint)

    def _set_fingerprint(self, fingerprint: Mapping[str, Any]) -> None:
        """Set the fingerprint of trials that start from now on, and of those that started without one."""
        self._fingerprint = {schema.FINGERPRINT: json.dumps(fingerprint, sort_keys=True)}
        for key in sorted(self._unmarked):
            self._put("tag", key, tags=self._fingerprint)
        self._unmarked.clear()

    def _describe(
        self, settings: Mapping[str, Any], data: Mapping[str, Any], fingerprint: Mapping[str, Any] | None
    ) -> None:
        scored = {} if fingerprint is None else {schema.FINGERPRINT: json.dumps(fingerprint, sort_keys=True)}
        tags = {
            **scored,
            schema.STATUS: schema.RUNNING,
            schema.SYSTEM: str(self.space.recipe["system"]),
        }
        text = (
            f"Sweep **{self.sweep}** over `{self.space.name}`: {self.space.summary}.\n\n"
            f"`gansweep rank {self.sweep}` ranks its trials; a ranking will stand here soon."
        )
        with readable_errors(self.client.tracking_uri):
            for name, value in EXPERIMENT_TAGS.items():
                self.client.set_experiment_tag(self.experiment, name, value)
            # A resumed sweep may have other private settings (e.g. more slots), but MLflow parameters are immutable.
            logged = self.client.get_run(self.parent).data
            fresh = {name: value for name, value in settings.items() if name not in logged.params}
            tags |= description_tags(self.sweep, logged.tags, text)
            self.client.log_batch(self.parent, tags=to_tags(tags), params=to_params(fresh))
            self.client.log_dict(self.parent, dict(settings), schema.SETTINGS_FILE)
            self.client.log_dict(self.parent, self.space.to_json(), schema.SPACE_FILE)
            self.client.log_dict(self.parent, dict(data), schema.DATA_FILE)
            self.client.update_run(self.parent, status="RUNNING")
            self.client.log_inputs(self.parent, [dataset_input(data)])

    def start_trial(self, config: Mapping[str, Any]) -> None:
        """Create or continue the run of a trial, and log stored results that no driver received.

        A driver may have died before it received a result, or a worker after it stored one and before it reported it.
        """
        key = config["key"]
        resumed = key in self._last
        self.open_trial(config)
        for result in read_results(self.storage.below(key)) if resumed else ():
            self.log_result(key, result)

    def open_trial(self, config: Mapping[str, Any]) -> None:
        """Create the run of a trial's key, or continue it."""
        key = config["key"]
        if key in self._open:
            return
        self._open.add(key)
        self._stale.discard(key)
        self._stretches.start(key)
        if key in self._last:
            self._put("go on", key, tags={schema.STRETCHES: self._stretches.to_json(key)})
            return
        params = config["params"]
        # A trial has a number, a repeat names what it repeats.
        identity = config.get("repeat") or {schema.KIND: schema.KIND_TRIAL, schema.NUMBER: str(config["number"])}
        tags = {
            **identity,
            schema.SWEEP: self.sweep,
            schema.SYSTEM: str(params["system"]),
            schema.STATUS: schema.RUNNING,
            schema.RECIPE: str(config["recipe"]).lower(),
            schema.CONFIG_HASH: config["config_hash"],
            **self._fingerprint,
            schema.PRECISION: self.precision,
            schema.FUSED: str(self.fused),
            schema.STRETCHES: self._stretches.to_json(key),
        }
        self._put(
            "start",
            key,
            of=identity.get(schema.OF),
            name=config.get("name") or run_name(config["number"], params, self.space),
            tags=tags,
            params={name: str(value) for name, value in (*params.items(), ("seed", config["seed"]))},
            config=dict(params),
            data=self._data,
        )
        self._last[key] = -1
        if not self._fingerprint:
            self._unmarked.add(key)

    def last_kimg(self, key: str) -> int:
        """Return the kimg of its budget at the trial's last logged result; 0 if there is none."""
        return max(0, self._last.get(key, 0))

    def ran_on(self, key: str, node: str) -> None:
        """Record the node that reported a trial; it is logged when the trial ends."""
        self._stretches.seen(key, node)

    def log_result(self, key: str, result: Mapping[str, Any]) -> None:
        """Log a batch of metrics at the step of its cost, and the trial's images; each step is logged only once."""
        step = int(schema.cost(result))
        if step <= self._last[key]:
            return
        self._last[key] = step
        numbers = {
            name: float(value)
            for name, value in result.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        }
        classes = {name: value for name, value in numbers.items() if name.startswith(schema.CLASS_ACCURACY)}
        values = {schema.logged_name(name): value for name, value in numbers.items() if name not in classes}
        if tag := _intervals_tag(values):
            values = {name: value for name, value in values.items() if not name.startswith(schema.INTERVAL)}
            self._put("tag", key, tags=tag)
        if classes:
            rows = [[*name.split("/", 2)[1:], value] for name, value in classes.items()]
            table = {"columns": ["group", "class", "accuracy"], "data": rows}
            self._put("table", key, name=schema.CLASS_ACCURACY_FILE, content=table)
        values |= {schema.CHARTS + name: numbers[name] for name in schema.OBJECTIVES if name in numbers}
        images = [self._operation("picture", key, name=f"{key}/{name}") for name in result.get("pictures", ())]
        self.sender.put(self._operation("metrics", key, step=step, values=values), *images)

    def log_sweep(self, values: Mapping[str, float]) -> None:
        """Log metrics of the sweep's own run, unless they are those logged last.

        The step is the number of slot-seconds.
        """
        if not values.items() <= self.figures.items():
            self.figures |= values
            self._put("metrics", None, step=int(values[schema.SLOT_SECONDS]), values=dict(values))

    def reconcile(self, key: str, ended: TrialEnd) -> None:
        """Close the run of an ended trial if an earlier driver died before it did."""
        if key in self._stale:
            self._stale.discard(key)
            for result in read_results(self.storage.below(key)):  # a power cut may have lost the last ones
                self.log_result(key, result)
            self.finish_trial(key, ended)

    def finish_trial(self, key: str, ended: TrialEnd) -> None:
        """Close a trial's run with its status and reason."""
        tags = {schema.STATUS: ended.status, schema.REASON: ended.reason}
        if key in self._open:
            self._open.discard(key)
            self._stretches.end(key)
            tags[schema.STRETCHES] = self._stretches.to_json(key)
        # The study has recorded the end already, so no later start would repeat this write.
        self.sender.put(self._operation("end", key, tags=tags, status=MLFLOW_STATUS[ended.status]), sync=True)

    def finish(self, status: str, interrupted: TrialEnd) -> None:
        """Close open runs and the parent run, wait until all is sent or a timeout, and report what is not."""
        self._interrupt(interrupted)
        self._put("end", None, tags={schema.STATUS: status}, status=MLFLOW_STATUS[status])
        self.sender.finish()

    def finish_repeats(self, interrupted: TrialEnd) -> None:
        """Do the same after repeats, without closing the parent run."""
        self._interrupt(interrupted)
        self.sender.finish()

    def _interrupt(self, how: TrialEnd) -> None:
        """Close the runs that this driver or an earlier one left open; each may have stored an unreported result."""
        for key in sorted(self._open | self._stale):
            with contextlib.suppress(UserError):  # if the storage does not answer, the next start reads them
                for result in read_results(self.storage.below(key)):
                    self.log_result(key, result)
            self.finish_trial(key, how)

    @property
    def written(self) -> int:
        """Number of writes so far; grows with every start, result and end."""
        return self._written

    def _put(self, do: str, key: str | None, **what: Any) -> None:
        self.sender.put(self._operation(do, key, **what))

    def _operation(self, do: str, key: str | None, **what: Any) -> dict[str, Any]:
        self._written += 1
        self._time = max(self._time + 1, int(time.time() * 1000))
        return {"do": do, "key": key, "time": self._time, **what}


def _intervals_tag(values: Mapping[str, float]) -> dict[str, str]:
    """Return the intervals among a result's figures as one tag; nothing if there are none, or more than a tag holds."""
    ends = {schema.unescaped(name): value for name, value in values.items() if name.startswith(schema.INTERVAL)}
    scores = dict.fromkeys(name.removeprefix(schema.INTERVAL).rpartition("/")[0] for name in ends)
    pairs = {score: [ends.get(f"{schema.INTERVAL}{score}/{end}") for end in ("low", "high")] for score in scores}
    text = json.dumps(pairs)
    return {schema.INTERVALS: text} if pairs and len(text) <= LONGEST_TAG else {}
