"""A whole sweep whose tracking server and study database restart under it, and a second home that wants its name."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from pipeline.cli.main import main
from tests.support.pipeline.command_line import Hold, command_words, start_cli, until
from tests.support.pipeline.sweep import tiny_settings

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

    from tests.support.servers.mlflow_server import MlflowServer
    from tests.support.servers.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.real_processes]

KIMG = 8


def trials(client: MlflowClient) -> list[Run]:
    """Runs of the sweep's trials, by key."""
    experiment = client.get_experiment_by_name("served")
    if experiment is None:
        return []
    found = client.search_runs([experiment.experiment_id], "tags.`gansweep.kind` = 'trial'")
    return sorted(found, key=lambda run: str(run.data.tags["gansweep.key"]))


def test_a_sweep_survives_restarts_of_its_servers_and_keeps_its_home(
    mlflow_server: MlflowServer, postgres: Postgres, home_with_classifier: Path, faces: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    url, client = postgres.database("sweep"), MlflowClient(mlflow_server.url)
    where: dict[str, Any] = {"tracking": mlflow_server.url, "study": url}
    settings = tiny_settings(home_with_classifier, faces, "served", trials=4, max_kimg=KIMG, scheduler="none", **where)
    hold = Hold(tmp_path)
    process = start_cli(command_words(settings), tmp_path, hold=hold)
    hold.wait(process)
    until(lambda: any("distance" in run.data.metrics for run in trials(client)))
    mlflow_server.stop()
    postgres.stop()
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reader.start()
    hold.release()
    for part in ("tracking", "study"):  # which is needed at the end of a trial
        until(lambda part=part: any(line.startswith(part) and "does not answer" in line for line in said))
    # In this order: without its study the sweep cannot end, which would wait for the other for a minute only.
    mlflow_server.start()
    postgres.start()
    reader.join(900)
    out, err = process.communicate(timeout=60)[0], "".join(said)
    assert process.returncode == 0, err
    assert err.count("answers again") == 2
    assert "Traceback" not in err
    assert "View run" not in out

    runs = trials(client)
    assert [run.data.tags["gansweep.key"] for run in runs] == [f"served-{number:05d}" for number in range(4)]
    for run in runs:
        assert (run.data.tags["gansweep.status"], run.info.status) == ("complete", "FINISHED")
        points = client.get_metric_history(run.info.run_id, "distance")
        assert [point.step for point in points] == list(range(1, KIMG + 1))
    found = optuna.load_study(study_name="served", storage=url).trials
    assert [trial.state for trial in found] == [TrialState.COMPLETE] * 4
    assert [trial.values[0] for trial in found] == [run.data.metrics["distance"] for run in runs]

    other = dataclasses.replace(settings, home=tmp_path / "other")
    for changes in ({}, {"study": None}, {"tracking": None}):
        assert main(command_words(dataclasses.replace(other, **changes))) == 1
        assert "belongs to another home" in capsys.readouterr().err
    assert len(trials(client)) == 4
