"""Thirty trials of the soak: none is lost or repeated, and the soak finds planted faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mlflow.entities import Metric

from analysis import schema
from benchmarks import soak
from pipeline.home import Home
from pipeline.search.study import open_study
from pipeline.settings import SweepSettings
from pipeline.tracking.client import open_client
from pipeline.tune_adapters.study_searcher import StudySearcher

if TYPE_CHECKING:
    from mlflow import MlflowClient


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thirty_trials_are_all_there() -> None:
    found = soak.soak(30, bare=False)["sweep"]
    assert (found["trials"], found["faults"]) == (30, [])
    assert found["driver_cpu_seconds_per_trial"] > 0


KEYS = ("s-00000", "s-00001")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> SweepSettings:
    home = tmp_path_factory.mktemp("soaked")
    return SweepSettings("dcgan", home / "faces", "s", trials=2, image_size=16, home=home)


@pytest.fixture(scope="module")
def client(settings: SweepSettings) -> MlflowClient:
    """Two trials as a sweep leaves them."""
    home = Home.find(settings.home)
    client, study = open_client(home, None), open_study(home.study, "s", ["minimize"])
    experiment = client.create_experiment("s", home.artifacts("s").as_uri())
    space = settings.resolve_space()
    searcher = StudySearcher(study, space, sweep="s", trials=2, seed=0, max_kimg=4)
    for number, key in enumerate(KEYS):
        searcher.suggest(key)
        result = {"kimg": 4, "distance": 2.5 + number}
        searcher.on_trial_complete(key, result)
        log(client, experiment, key, [(1, 9.0), (4, 2.5 + number)])
    return client


def log(client: MlflowClient, experiment: str, key: str, points: list[tuple[int, float]]) -> str:
    tags = {schema.KIND: schema.KIND_TRIAL, schema.KEY: key, schema.STATUS: schema.COMPLETE}
    run = str(client.create_run(experiment, tags=tags).info.run_id)
    for kimg, distance in points:
        client.log_batch(run, metrics=[Metric("distance", distance, kimg, kimg), Metric("kimg", kimg, kimg, kimg)])
    return run


def test_faults_are_found(settings: SweepSettings, client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name("s").experiment_id
    assert soak.find_faults(settings) == []
    run = soak.trial_runs(client, experiment)[KEYS[1]].info.run_id

    client.log_batch(run, metrics=[Metric("distance", 3.5, 99, 4)])  # the same step at another time
    assert soak.find_faults(settings) == ["s-00001 has results at [1, 4, 4], the last at 4.0"]
    client.delete_run(run)
    assert soak.find_faults(settings) == ["1 runs, expected 2", "keys differ: ['s-00001']"]
    again = log(client, experiment, KEYS[1], [(1, 9.0), (4, 7.0)])
    assert soak.find_faults(settings) == ["s-00001 ended at 7.0, says MLflow, and not the study"]
    client.delete_run(again)
    for _ in range(2):
        log(client, experiment, KEYS[1], [(4, 3.5)])
    assert soak.find_faults(settings) == ["3 runs, expected 2"]
