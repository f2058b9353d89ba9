"""Small sweeps for the tests of the analysis: logged to a real MLflow database, or built by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.entities import Metric, Param

from analysis import schema
from analysis.mlflow_reader.sweep import REPEAT_COLUMNS, TRIAL_COLUMNS, Sweep

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient

FINGERPRINT = {"extractor": "efficientnet_lite0", "resize": 224, "samples": 1000, "data": "ab12" * 16}
SPACE = {
    "name": "acgan",
    "system": "acgan",
    "dimensions": [
        {"name": "optimizer.lr", "kind": "float", "low": 1e-5, "high": 1e-3, "log": True, "default": 2e-4},
        {"name": "generator.width", "kind": "int", "low": 16, "high": 64, "default": 32},
        {"name": "losses.soft_labels", "kind": "choice", "choices": [True, False], "default": True},
        {"name": "networks.norm", "kind": "choice", "choices": ["batch", "1"], "default": "batch"},
    ],
}
DATA = {"pictures": 2000, "judge": {"accuracy": {"hair": 0.95, "eyes": 0.9, "both": 0.86}}}


@dataclass
class History:
    """A home, and methods that write its MLflow database in the way of a sweep's tracking."""

    home: Path
    client: MlflowClient

    def log_sweep(self, name: str, trials: list[dict[str, Any]], *, artifacts: bool = True) -> str:
        """Log a sweep; a trial has ``status``, ``reason``, ``fingerprint``, ``params`` and ``metrics[name][step]``."""
        experiment = self.client.create_experiment(name, artifact_location=(self.home / "artifacts" / name).as_uri())
        fingerprint = json.dumps(FINGERPRINT)
        tags = {schema.KIND: schema.KIND_SWEEP, schema.SWEEP: name, schema.FINGERPRINT: fingerprint}
        parent = str(self.client.create_run(experiment, tags=tags).info.run_id)
        if artifacts:
            self.client.log_dict(parent, SPACE, schema.SPACE_FILE)
            self.client.log_dict(parent, {"name": name, "trials": len(trials)}, schema.SETTINGS_FILE)
            self.client.log_dict(parent, DATA, schema.DATA_FILE)
        for number, trial in enumerate(trials):
            self._log_trial(experiment, name, number, trial, parent)
        return parent

    def log_repeat(self, name: str, trial: dict[str, Any], **about: Any) -> str:
        """Log a repeat: ``about`` has kind, key, of, variant, change, seed and budget, ``trial`` is as in a sweep."""
        experiment = self.client.get_experiment_by_name(name).experiment_id
        (of,) = self.client.search_runs([experiment], f"tags.`{schema.KEY}` = '{about['of']}'")
        tags = {
            schema.KIND: about.get("kind", schema.KIND_CONFIRMATION),
            schema.KEY: about["key"],
            schema.OF: about["of"],
            schema.VARIANT: about.get("variant", schema.UNCHANGED),
            schema.VARIANT_PARAMS: json.dumps(about.get("change", {})),
            schema.SEED: str(about["seed"]),
            schema.BUDGET: str(about.get("budget", 40)),
            schema.CONFIG_HASH: of.data.tags[schema.CONFIG_HASH],
            schema.RECIPE: of.data.tags[schema.RECIPE],
        }
        return self._log_run(experiment, name, trial, tags, of.info.run_id)

    def _log_trial(self, experiment: str, name: str, number: int, trial: dict[str, Any], parent: str) -> None:
        tags = {
            schema.KIND: schema.KIND_TRIAL,
            schema.KEY: f"{name}-{number:05d}",
            schema.NUMBER: str(number),
            schema.RECIPE: "true" if number == 0 else "false",
            schema.CONFIG_HASH: f"{number:08x}",
        }
        logged = trial.get("params", {}) | {"seed": 7919 * (number + 1)}  # no dimension, but it differs per trial
        self._log_run(experiment, name, {**trial, "params": logged}, tags, parent)

    def _log_run(self, experiment: str, name: str, trial: dict[str, Any], identity: dict[str, str], parent: str) -> str:
        tags = {
            schema.SWEEP: name,
            schema.SYSTEM: "acgan",
            schema.STATUS: trial.get("status", schema.COMPLETE),
            schema.REASON: trial.get("reason", ""),
            schema.FINGERPRINT: json.dumps(trial.get("fingerprint", FINGERPRINT)),
            "mlflow.parentRunId": parent,
        }
        run = str(self.client.create_run(experiment, tags=identity | tags).info.run_id)
        metrics = [
            Metric(metric, value, timestamp=1000 + step, step=step)
            for metric, points in trial.get("metrics", {}).items()
            for step, value in points.items()
        ]
        params = [Param(param, str(value)) for param, value in trial.get("params", {}).items()]
        self.client.log_batch(run, metrics=metrics, params=params)
        return run


def make_sweep(rows: list[dict[str, Any]], **fields: Any) -> Sweep:
    """Build a sweep by hand; a row has only the columns that matter."""
    defaults = {
        "system": "acgan",
        "status": schema.COMPLETE,
        "reason": None,
        "recipe": False,
        "fingerprint": json.dumps(FINGERPRINT, sort_keys=True),
        "mlflow_run_id": "",
        "kimg": 40.0,
        "seconds": 60.0,
    }
    full = [{**defaults, "key": f"hand-{i:05d}", "number": i, **row} for i, row in enumerate(rows)]
    trials = pd.DataFrame(full).reindex(
        columns=[*TRIAL_COLUMNS, *dict.fromkeys(c for r in rows for c in r if "." in c)]
    )
    return Sweep(**{"name": "hand", "trials": trials, "fingerprint": FINGERPRINT, **fields})


def make_repeats(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Build repeats of a sweep by hand; a row has ``of``, ``seed`` and the other columns that matter."""
    defaults = {
        "kind": schema.KIND_CONFIRMATION,
        "variant": schema.UNCHANGED,
        "variant_params": {},
        "budget": 40,
        "system": "acgan",
        "status": schema.COMPLETE,
        "reason": None,
        "recipe": False,
        "config_hash": "",
        "fingerprint": json.dumps(FINGERPRINT, sort_keys=True),
        "mlflow_run_id": "",
        "kimg": 40.0,
        "seconds": 60.0,
        "samples": 1000.0,
    }
    full = [{**defaults, "key": f"{row['of']}-c{row['seed']:02d}", **row} for row in rows]
    return pd.DataFrame(full).reindex(
        columns=[*REPEAT_COLUMNS, *dict.fromkeys(name for row in rows for name in row if "." in name)]
    )
