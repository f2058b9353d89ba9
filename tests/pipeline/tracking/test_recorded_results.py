"""Recorded results come back in their order from a real MLflow database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from analysis import schema
from analysis.errors import AnalysisError
from pipeline.tracking.recorded_results import recorded_results

if TYPE_CHECKING:
    from pathlib import Path

LOGGED = {
    # key: (kimg, time, distance, tag accuracy)
    "s-00000": [(10, 1000, 30.0, 0.5), (20, 4000, 20.0, 0.6), (20, 9000, 20.0, 0.6)],  # logged twice
    "s-00001": [(10, 3000, 40.0, 0.4)],
    "s-00002": [(10, 2000, 35.0, None), (20, 2500, 25.0, None)],  # unconditional
    "s-00004": [(10, 3500, 50.0, 0.3), (20, 500, 45.0, 0.3)],  # the clock was set back in between
    "s-00003": [],  # died before its first result
}


def test_results_are_in_the_order_of_logging(tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.create_experiment("s", artifact_location=(tmp_path / "artifacts").as_uri())
    client.create_run(experiment, tags={schema.KIND: schema.KIND_SWEEP})
    other = client.create_experiment("other", artifact_location=(tmp_path / "artifacts").as_uri())
    for home, points in [(experiment, LOGGED), (other, {"other-00000": [(10, 1, 1.0, 1.0)]})]:
        for key, results in points.items():
            run = client.create_run(home, tags={schema.KIND: schema.KIND_TRIAL, schema.KEY: key}).info.run_id
            for kimg, time, distance, accuracy in results:
                metrics = [Metric("distance", distance, time, kimg), Metric("d_loss", 1.0, time, kimg)]
                metrics += [Metric("tag_accuracy", accuracy, time, kimg)] if accuracy is not None else []
                client.log_batch(run, metrics=metrics)
    assert recorded_results(client, experiment) == [
        ("s-00000", 10, {"distance": 30.0, "tag_accuracy": 0.5}),
        ("s-00002", 10, {"distance": 35.0}),
        ("s-00002", 20, {"distance": 25.0}),
        ("s-00001", 10, {"distance": 40.0, "tag_accuracy": 0.4}),
        ("s-00004", 10, {"distance": 50.0, "tag_accuracy": 0.3}),
        ("s-00004", 20, {"distance": 45.0, "tag_accuracy": 0.3}),
        ("s-00000", 20, {"distance": 20.0, "tag_accuracy": 0.6}),
    ]


def test_a_server_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    with pytest.raises(AnalysisError) as caught:
        recorded_results(MlflowClient("http://127.0.0.1:9"), "1")
    assert "\n" not in str(caught.value)
