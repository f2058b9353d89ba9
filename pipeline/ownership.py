"""One home per sweep: two homes that share a tracking server or a study must not mix their trials under one name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException

from analysis import schema
from analysis.connect import shown
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import optuna
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

    from pipeline.home import Home


def require_own_experiment(client: MlflowClient, home: Home, sweep: str, *, adopt: bool = False) -> Experiment | None:
    """The MLflow experiment of a sweep, if there is one.

    Raises:
        UserError: it is another home's and not to be adopted, or was deleted.
    """
    found = client.get_experiment_by_name(sweep)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        raise UserError(f"MLflow experiment {sweep!r} was deleted; restore it or take another --name")
    owner = found.tags.get(schema.HOME, home.identity())
    if owner != home.identity() and not adopt:
        raise UserError(_taken(sweep, shown(client.tracking_uri), owner))
    return found


def claim_experiment(
    client: MlflowClient, home: Home, sweep: str, *, artifacts: Path | None = None, adopt: bool = False
) -> str:
    """The id of the sweep's MLflow experiment, made when it is not there yet, and marked as the home's own.

    Args:
        client: MLflow.
        home: who claims it.
        sweep: its name.
        artifacts: where the experiment keeps its artifacts; default: where the server decides.
        adopt: take it over from the home that has it.

    Raises:
        UserError: it is another home's, or was deleted.
    """
    found = require_own_experiment(client, home, sweep, adopt=adopt)
    if found is None:
        location = artifacts.as_uri() if artifacts is not None else None
        try:
            # With the tag from its first moment: of two homes that begin at once, one finds it taken.
            return str(client.create_experiment(sweep, location, {schema.HOME: home.identity()}))
        except MlflowException:
            found = require_own_experiment(client, home, sweep, adopt=adopt)
            if found is None:
                raise
    if found.tags.get(schema.HOME) != home.identity():
        client.set_experiment_tag(found.experiment_id, schema.HOME, home.identity())
    return str(found.experiment_id)


def claim_study(study: optuna.Study, home: Home, url: str, *, adopt: bool = False) -> None:
    """Mark a study as the home's own.

    Raises:
        UserError: it is another home's.
    """
    if schema.HOME not in study.user_attrs or adopt:
        study.set_user_attr(schema.HOME, home.identity())
    owner = study.user_attrs[schema.HOME]  # read again: another home may have been as quick
    if owner != home.identity():
        raise UserError(_taken(study.study_name, shown(url), owner))


def _taken(sweep: str, place: str, owner: str) -> str:
    return (
        f"sweep {sweep!r} at {place} belongs to another home (its home.id is {owner}); give that --home, take another "
        "--name, or --adopt the sweep if that home no longer runs it"
    )
