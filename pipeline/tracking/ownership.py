"""Ensure one home per sweep: homes that share a tracking server or a study must not mix trials under one name."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from analysis import schema
from analysis.mlflow_reader.connect import redact_uri
from pipeline.tracking.mlflow_writer import trial_runs
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import optuna
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from pipeline.home import Home


def require_own_experiment(client: MlflowClient, home: Home, sweep: str, *, adopt: bool = False) -> Experiment | None:
    """Return the MLflow experiment of a sweep; ``None`` if there is none.

    Raises:
        UserError: it belongs to another home and is not to be adopted, or it was deleted.
    """
    experiment = client.get_experiment_by_name(sweep)
    if experiment is None:
        return None
    if experiment.lifecycle_stage == "deleted":
        raise UserError(f"MLflow experiment {sweep!r} was deleted; restore it or take another --name")
    owner = experiment.tags.get(schema.HOME, home.identity())
    if owner != home.identity() and not adopt:
        raise UserError(_foreign_sweep_message(sweep, redact_uri(client.tracking_uri), owner))
    return experiment


def claim_experiment(
    client: MlflowClient, home: Home, sweep: str, *, artifacts: Path | None = None, adopt: bool = False
) -> str:
    """Create the MLflow experiment of a sweep if needed, mark it as owned by the home, and return its id.

    Args:
        client: MLflow.
        home: the new owner.
        sweep: name of the sweep.
        artifacts: folder of the experiment's artifacts; default: chosen by the server.
        adopt: take it over from another home.

    Raises:
        UserError: it belongs to another home, or was deleted.
    """
    experiment = require_own_experiment(client, home, sweep, adopt=adopt)
    if experiment is None:
        location = artifacts.as_uri() if artifacts is not None else None
        try:
            # Create it with the tag: if two homes start at the same time, one of them finds it owned.
            return str(client.create_experiment(sweep, location, {schema.HOME: home.identity()}))
        except MlflowException:
            experiment = require_own_experiment(client, home, sweep, adopt=adopt)
            if experiment is None:
                raise
    if experiment.tags.get(schema.HOME) != home.identity():
        client.set_experiment_tag(experiment.experiment_id, schema.HOME, home.identity())
    return str(experiment.experiment_id)


def open_parent_run(client: MlflowClient, experiment: str, sweep: str) -> str:
    """Return the id of a sweep's own run, which is created if needed, or restored if a user deleted it."""
    query = f"tags.`{schema.KIND}` = '{schema.KIND_SWEEP}'"
    for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY):
        for run in client.search_runs([experiment], query, view, max_results=1):
            if view == ViewType.DELETED_ONLY:
                client.restore_run(run.info.run_id)
            return str(run.info.run_id)
    tags = {schema.KIND: schema.KIND_SWEEP, schema.SWEEP: sweep}
    parent = str(client.create_run(experiment, run_name=sweep, tags=tags).info.run_id)
    for run in trial_runs(client, experiment, schema.KIND_TRIAL).values():  # their parent was removed for good
        client.set_tag(run.info.run_id, "mlflow.parentRunId", parent)
    return parent


def delete_experiment(client: MlflowClient, home: Home, sweep: str) -> None:
    """Delete the sweep's MLflow experiment with its runs, and free its name for another sweep.

    MLflow keeps deleted experiments, under their names, until ``mlflow gc``.

    Raises:
        UserError: it is another home's.
    """
    known = client.get_experiment_by_name(sweep)
    if known is None:
        return
    if known.lifecycle_stage == "deleted":
        client.restore_experiment(known.experiment_id)
    require_own_experiment(client, home, sweep)
    client.rename_experiment(known.experiment_id, f"{sweep} (removed {uuid.uuid4().hex[:8]})")
    client.delete_experiment(known.experiment_id)


def claim_study(study: optuna.Study, home: Home, url: str, *, adopt: bool = False) -> None:
    """Mark a study as owned by the home.

    Raises:
        UserError: it belongs to another home.
    """
    if schema.HOME not in study.user_attrs or adopt:
        study.set_user_attr(schema.HOME, home.identity())
    owner = study.user_attrs[schema.HOME]  # read again: another home may have claimed it at the same time
    if owner != home.identity():
        raise UserError(_foreign_sweep_message(study.study_name, redact_uri(url), owner))


def _foreign_sweep_message(sweep: str, place: str, owner: str) -> str:
    return (
        f"sweep {sweep!r} at {place} belongs to another home (its home.id is {owner}); give that --home, take another "
        "--name, or --adopt the sweep if that home no longer runs it"
    )
