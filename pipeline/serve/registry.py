"""Exports in MLflow's model registry: a logged model of the trial's run, a version of a registered model, aliases."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.mlflow_reader.connect import readable_errors
from pipeline.bundle.bundle import Bundle
from pipeline.serve.mlflow_model import save_served
from pipeline.serve.promotion import ModelScores, promotion_blocker
from pipeline.tracking.mlflow_writer import trial_runs
from trainables.errors import UsageError, UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion


CHAMPION, CANDIDATE = "champion", "candidate"
SCORES = "gansweep.scores"
"""Tag of a version: JSON of the objectives, ``{"distance": {"value": 1.0, "interval": [0.9, 1.1]}}``."""
FORCED = "gansweep.forced"
"""Tag of a version that became champion by ``--force``: the reason given."""
OVERRULED = "gansweep.overruled"
"""Tag of such a version: the refusal that was overruled."""
REPLACED = "gansweep.replaced"
"""Tag of a champion: the version that was champion before."""
RUN = "gansweep.run"
"""Tag of a version: key of the run whose weights it has, the trial's own or one of its confirmation."""
CONFIRMATION = "gansweep.confirmation"
"""Tag of a version whose configuration was confirmed: JSON of ``confirmation`` in the export's manifest."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Registered:
    """A new version of a registered model."""

    trial: str
    model: str
    version: int
    alias: str

    def summary(self) -> str:
        """Format as one line."""
        return f"registered {self.trial} as {self.model} version {self.version}, alias {self.alias}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that ``export --json`` prints beside the trial."""
        return {"model": self.model, "version": self.version, "alias": self.alias}


class Registration:
    """Registers an export as a version of a registered model.

    Args:
        client: MLflow client of the sweep's tracking server.
        model: name of the registered model, which is created if needed.
        promote: make the version the champion if it is clearly better than the present one.
        force: make it the champion anyway, for this reason.

    Raises:
        UsageError: an invalid name, or ``force`` without ``promote`` or without a reason.
    """

    def __init__(self, client: MlflowClient, model: str, *, promote: bool = False, force: str | None = None) -> None:
        if not _MODEL_NAME.fullmatch(model):
            raise UsageError(
                f"--register is {model!r}; allowed: 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter "
                "or digit"
            )
        if force is not None and not promote:
            raise UsageError("--force overrules the comparison with the champion; give --promote with it")
        if force is not None and not force.strip():
            raise UsageError("--force is empty; give the reason, which is kept with the version")
        self.client, self.model, self.promote, self.force = client, model, promote, force
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # hides messages on the check of its own example

    @property
    def alias(self) -> str:
        """Return the name of the new version."""
        return CHAMPION if self.promote else CANDIDATE

    def check(self, facts: Mapping[str, Any]) -> None:
        """Refuse, before anything is written, a promotion that the scores do not support.

        Args:
            facts: ``trial``, ``scores``, ``intervals``, ``fingerprint``, ``confirmation`` and ``rule_numbers`` of the
                manifest of an export.

        Raises:
            UserError: the new model is not clearly better than the champion, or a first one without an interval.
        """
        if self.promote:
            self._require_better(measured(facts), self.champion())

    def champion(self) -> ModelVersion | None:
        """Return the version that the alias points to; ``None`` if there is none."""
        with readable_errors(self.client.tracking_uri):
            models = self.client.search_registered_models(f"name = '{self.model}'")
            version = models[0].aliases.get(CHAMPION) if models else None
            return None if version is None else self.client.get_model_version(self.model, str(version))

    def register(self, folder: Path) -> Registered:
        """Log an export as a model of its trial's run, register it, and move the alias.

        Raises:
            UserError: the run was deleted, the export cannot be served, or the champion has changed meanwhile and the
                new model is not better.
        """
        bundle = Bundle.load(folder, "onnx")
        facts = bundle.manifest
        new = measured(facts)
        with readable_errors(self.client.tracking_uri):
            run = self._run(facts["sweep"], facts.get("run", facts["trial"]))
            model = self._log(bundle, run)
            version = self._create_version(model, run, facts)
        try:
            with readable_errors(self.client.tracking_uri):
                self._finish(version, model, new)
        except Exception as error:
            raise UserError(
                f"{first_line(error)}; {self.model} version {version} of {facts['trial']} is registered all the same, "
                f"without the alias {self.alias}"
            ) from error
        return Registered(facts["trial"], self.model, int(version), self.alias)

    def _finish(self, version: str, model: LoggedModel, new: ModelScores) -> None:
        """Link the model to its version, and move the alias."""
        from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

        # MLflow's pages use this tag to link the logged model to its versions.
        about_version = json.dumps([{"name": self.model, "version": int(version)}])
        self.client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: about_version})
        if self.promote:
            # Another promotion may have happened since the first check; then this version gets no alias.
            champion = self.champion()
            overruled = self._require_better(new, champion)
            replaced = None if champion is None else str(champion.version)
            tags = {FORCED: self.force, OVERRULED: overruled, REPLACED: replaced}
            for name, value in tags.items():
                if value is not None:
                    self.client.set_model_version_tag(self.model, version, name, value)
        self.client.set_registered_model_alias(self.model, self.alias, version)

    def _require_better(self, new: ModelScores, champion: ModelVersion | None) -> str | None:
        """Refuse a promotion, or return the refusal that ``force`` overrules; ``None`` if there is none."""
        reason = promotion_blocker(new, None if champion is None else _of_version(champion))
        if reason is not None and self.force is None:
            outcome = "gets no champion" if champion is None else "keeps its champion"
            raise UserError(
                f"{self.model} {outcome}: {reason}; leave --promote out to register a candidate, or give --force REASON"
            )
        return reason

    def _run(self, sweep: str, key: str) -> Run:
        experiment = self.client.get_experiment_by_name(sweep)
        if experiment is not None:
            for kind in (schema.KIND_TRIAL, *schema.REPEATS):
                if run := trial_runs(self.client, experiment.experiment_id, kind).get(key):
                    return run
        raise UserError(f"MLflow has no run of trial {key}; register where its sweep was tracked, see --tracking")

    def _log(self, bundle: Bundle, run: Run) -> LoggedModel:
        """Log a model that is linked to the run and has its parameters and scores."""
        from mlflow.entities import LoggedModelOutput

        run_id = run.info.run_id
        about = {schema.KEY: run.data.tags[schema.KEY], schema.SWEEP: run.data.tags[schema.SWEEP]}
        model = self.client.create_logged_model(
            run.info.experiment_id, "generator", run_id, {**about, **_fingerprint(bundle.manifest)}, run.data.params
        )
        try:
            with tempfile.TemporaryDirectory() as folder:
                save_served(bundle, Path(folder) / "model", model_id=model.model_id, run_id=run_id)
                self.client.log_model_artifacts(model.model_id, str(Path(folder) / "model"))
            self.client.log_batch(run_id, metrics=self._scores(run, model.model_id))
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=_last_step(run))])
        except BaseException:
            self.client.finalize_logged_model(model.model_id, "FAILED")
            raise
        self.client.finalize_logged_model(model.model_id, "READY")
        return model

    def _scores(self, run: Run, model_id: str) -> list[Any]:
        """Return the run's last scores, linked to the model: MLflow merges metrics of equal step, time and value."""
        from mlflow.entities import Metric

        run_id = run.info.run_id
        metrics = []
        for name in run.data.metrics:
            if schema.is_score(name):
                last = max(self.client.get_metric_history(run_id, name), key=lambda metric: metric.step)
                metrics.append(Metric(name, last.value, last.timestamp, last.step, model_id=model_id, run_id=run_id))
        return metrics

    def _create_version(self, model: LoggedModel, run: Run, facts: Mapping[str, Any]) -> str:
        from mlflow.exceptions import MlflowException

        new = measured(facts)
        try:
            self.client.create_registered_model(self.model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        scores = {
            name: {"value": new.scores[name], "interval": new.intervals.get(name)}
            for name in schema.OBJECTIVES
            if new.scores.get(name) is not None
        }
        about = {
            **{name: run.data.tags[name] for name in (schema.KEY, schema.SWEEP)},
            RUN: facts.get("run", facts["trial"]),
            schema.FINGERPRINT: json.dumps(new.fingerprint),
            SCORES: json.dumps(scores),
            **({CONFIRMATION: json.dumps(facts["confirmation"])} if new.confirmed else {}),
        }
        version = self.client.create_model_version(
            self.model,
            model.artifact_location,  # "models:/ID" would be looked up in MLflow's global tracking server
            run_id=run.info.run_id,
            tags=about,
            model_id=model.model_id,
        )
        return str(version.version)


def measured(facts: Mapping[str, Any]) -> ModelScores:
    """Return the scores of a trial from an export's manifest."""
    intervals = {score: (low, high) for score, (low, high) in (facts.get("intervals") or {}).items()}
    confirmed, rule = facts.get("confirmation") is not None, facts.get("rule_numbers") or {}
    limits = {"classifier": rule.get("classifier"), "min_tag_accuracy": rule.get("minimum")}
    return ModelScores(facts["trial"], facts["fingerprint"], facts["scores"], intervals, confirmed, **limits)


def _of_version(version: ModelVersion) -> ModelScores:
    tags = version.tags
    name = f"champion version {version.version}" + (f" ({tags[schema.KEY]})" if schema.KEY in tags else "")
    scores = json.loads(tags.get(SCORES, "{}"))
    return ModelScores(
        name,
        json.loads(tags.get(schema.FINGERPRINT, "{}")),
        {score: about["value"] for score, about in scores.items()},
        {score: tuple(about["interval"]) for score, about in scores.items() if about["interval"]},
        CONFIRMATION in tags,
    )


def _fingerprint(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {schema.FINGERPRINT: json.dumps(manifest["fingerprint"])}


def _last_step(run: Run) -> int:
    return int(run.data.metrics.get(schema.KIMG, 0))
