from __future__ import annotations

import math
import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from mlflow.entities import Metric

from analysis import schema
from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.mlflow_reader.connect import redact_uri, tracking_uri
from analysis.mlflow_reader.run_table import epoch_seconds
from analysis.mlflow_reader.sweep import REPEAT_COLUMNS, TRIAL_COLUMNS, Sweep, curves, load, open_tracking
from tests.support.sweeps import DATA, FINGERPRINT, SPACE, History, make_sweep


@pytest.fixture(scope="module")
def sweep(history: History, logged: str) -> Sweep:
    return load(logged, home=history.home)


def test_reads_what_belongs_to_the_sweep(sweep: Sweep) -> None:
    assert (sweep.name, sweep.fingerprint, sweep.space, sweep.data) == ("faces", FINGERPRINT, SPACE, DATA)
    assert sweep.settings == {"name": "faces", "trials": 5}


def test_one_row_per_trial_with_tidy_columns(sweep: Sweep) -> None:
    trials = sweep.trials
    assert tuple(trials.columns[: len(TRIAL_COLUMNS)]) == TRIAL_COLUMNS
    assert list(trials["key"]) == [f"faces-{number:05d}" for number in range(5)]
    assert list(trials["recipe"]) == [True, False, False, False, False]
    assert list(trials["status"]) == ["complete", "complete", "stopped", "failed", "failed"]
    assert trials["reason"].isna().tolist() == [True, True, False, False, False]
    assert "metrics.d_loss" in trials
    assert "metrics.kimg" not in trials
    assert sweep.scores == [
        "distance",
        "fd_efficientnet_lite0",
        "tag_accuracy",
        "tag_accuracy_eyes",
        "tag_accuracy_hair",
    ]


def test_last_values_and_missing_ones(sweep: Sweep) -> None:
    assert sweep.trials["scores.distance"].iloc[:4].tolist() == [41.5, 30.25, 90.0, 10.0]
    assert sweep.trials["kimg"].iloc[:3].tolist() == [40.0, 40.0, 20.0]
    assert sweep.trials[["scores.distance", "kimg", "seconds"]].iloc[4].isna().all()


def test_infinity_and_nan_come_back(sweep: Sweep) -> None:
    diverged = sweep.trials.iloc[3]
    assert diverged["metrics.g_loss"] == math.inf  # the database holds 1.8e308
    assert math.isnan(diverged["metrics.d_loss"])


def test_parameters_have_their_types_in_the_order_of_the_space(sweep: Sweep) -> None:
    assert sweep.params == [*(dimension["name"] for dimension in SPACE["dimensions"]), "image_size", "seed"]  # type: ignore[index]
    dtypes = {name: str(sweep.trials[f"params.{name}"].dtype) for name in sweep.params}
    assert dtypes["optimizer.lr"] == "float64"  # one was logged as "1"
    assert dtypes["generator.width"] == dtypes["image_size"] == "int64"
    assert dtypes["losses.soft_labels"] == "bool"
    assert sweep.trials["params.networks.norm"].dropna().tolist() == ["1"]  # a choice of strings, not an integer


def test_without_artifacts_parameters_are_read_as_literals(history: History) -> None:
    params = {"a": 3, "b": "2.5", "c": "False", "d": "hinge", "e": "(1, 2)", "f": "nan"}
    history.log_sweep("bare", [{"params": params}, {}], artifacts=False)
    sweep = load("bare", home=history.home)
    assert (sweep.space, sweep.settings, sweep.data) == ({}, {}, {})
    first = {name: sweep.trials[f"params.{name}"].iloc[0] for name in params}
    assert first == {"a": 3, "b": 2.5, "c": False, "d": "hinge", "e": "(1, 2)", "f": "nan"}
    assert str(sweep.trials["params.a"].dtype) == "Int64"  # stays whole although one trial lacks it


def test_times_are_timestamps(history: History) -> None:
    history.log_sweep("timed", [{}, {}], artifacts=False)
    runs = history.client.search_runs([history.client.get_experiment_by_name("timed").experiment_id])
    first = next(run for run in runs if run.data.tags.get(schema.KEY) == "timed-00000")
    history.client.set_terminated(first.info.run_id, end_time=first.info.start_time + 90_500)
    trials = load("timed", home=history.home).trials
    assert (str(trials["started"].dt.tz), str(trials["ended"].dt.tz)) == ("UTC", "UTC")
    began = datetime.fromtimestamp(first.info.start_time / 1000, UTC)
    assert trials["started"].iloc[0].to_pydatetime() == began
    assert (trials["ended"] - trials["started"]).iloc[0] == timedelta(seconds=90.5)
    assert trials["ended"].isna().tolist() == [False, True]
    assert epoch_seconds(trials["started"]).iloc[0] == first.info.start_time / 1000
    assert epoch_seconds(pd.Series([1.5, None])).tolist()[0] == 1.5


def test_an_empty_sweep_has_the_columns(history: History) -> None:
    history.log_sweep("empty", [], artifacts=False)
    assert tuple(load("empty", home=history.home).trials.columns) == TRIAL_COLUMNS


def test_repeats_are_a_table_of_their_own(history: History) -> None:
    history.log_sweep("again", [{"metrics": {"distance": {40: 30.0}}}] * 2)
    measured = {"metrics": {"distance": {20: 50.0, 40: 41.5}, "kimg": {40: 40}, "samples": {40: 1000}}}
    history.log_repeat("again", measured, key="again-00001-c01", of="again-00001", seed=2**31 + 7)
    failed = {"status": "failed", "reason": "diverged: d_loss", "params": {"generator.width": 16}}
    about = {"kind": "ablation", "variant": "without generator.width", "change": {"generator.width": 16}}
    history.log_repeat("again", failed, key="again-00001-a-x-00", of="again-00001", seed=5, budget=20, **about)
    sweep = load("again", home=history.home)
    assert list(sweep.trials["key"]) == ["again-00000", "again-00001"]
    repeats = sweep.repeats
    assert tuple(repeats.columns[: len(REPEAT_COLUMNS)]) == REPEAT_COLUMNS
    assert list(repeats["key"]) == ["again-00001-a-x-00", "again-00001-c01"]
    ablated, confirmed = repeats.to_dict("records")
    assert (confirmed["kind"], confirmed["of"], confirmed["variant"]) == ("confirmation", "again-00001", "unchanged")
    assert (confirmed["seed"], confirmed["budget"], confirmed["variant_params"]) == (2**31 + 7, 40, {})
    assert (confirmed["scores.distance"], confirmed["kimg"], confirmed["samples"]) == (41.5, 40.0, 1000.0)
    assert (ablated["kind"], ablated["status"], ablated["reason"]) == ("ablation", "failed", "diverged: d_loss")
    assert ablated["variant_params"] == {"generator.width": 16}
    assert (ablated["params.generator.width"], ablated["budget"]) == (16, 20)


def test_a_sweep_without_repeats_has_their_columns(sweep: Sweep) -> None:
    for one in (sweep, Sweep("hand", sweep.trials)):
        assert len(one.repeats) == 0
        assert tuple(one.repeats.columns) == REPEAT_COLUMNS


def test_reads_more_than_one_page(history: History, logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.mlflow_reader.bulk._CHUNK", 2)  # runs per query
    assert len(load(logged, home=history.home).trials) == 5


def test_curves_are_histories(sweep: Sweep) -> None:
    table = curves(sweep, ["distance"])
    assert list(table.columns) == ["key", "kimg", "name", "value"]
    recipe = table[table["key"] == "faces-00000"]
    assert list(zip(recipe["kimg"], recipe["value"], strict=True)) == [(20, 80.0), (40, 41.5)]
    assert set(curves(sweep)["name"]) >= {"distance", "tag_accuracy", "d_loss"}


def test_names_with_a_plus_come_back(history: History) -> None:
    name = "class_accuracy/size/c++ d.e"
    stored = schema.logged_name(name)
    assert "+" not in stored  # MLflow refuses it
    assert schema.unescaped(stored) == name
    assert schema.logged_name("fd_stub_to_a+b") == schema.escaped("fd_stub_to_a+b")
    history.log_sweep("plus", [{"metrics": {stored: {1: 0.5, 2: 0.75}}}])
    sweep = load("plus", home=history.home)
    assert sweep.trials[f"metrics.{name}"].tolist() == [0.75]
    assert curves(sweep, [name])["value"].tolist() == [0.5, 0.75]
    assert curves(sweep, [name])["name"].unique().tolist() == [name]


def test_curves_keep_the_later_of_two_values_of_a_step(history: History) -> None:
    history.log_sweep("resumed", [{"metrics": {"distance": {20: 50.0}}}], artifacts=False)
    sweep = load("resumed", home=history.home)
    replayed = Metric("distance", 49.0, timestamp=9999, step=20)
    history.client.log_batch(sweep.trials["mlflow_run_id"].iloc[0], metrics=[replayed])
    assert curves(sweep, ["distance"])["value"].tolist() == [49.0]


def test_unknown_sweep_names_the_nearest_and_only_sweeps(history: History, logged: str) -> None:
    history.client.create_experiment("face-detector")  # somebody else's, on the same server
    with pytest.raises(AnalysisUsageError, match=r"no sweep 'facs' in .*did you mean 'faces'.*known: ") as caught:
        load("facs", home=history.home)
    assert "face-detector" not in str(caught.value)
    with pytest.raises(AnalysisUsageError, match=r"no sweep 'FACES' in .*did you mean 'faces'"):
        load("FACES", home=history.home)
    with pytest.raises(AnalysisUsageError, match="no sweep 'face-detector'"):
        load("face-detector", home=history.home)


def test_home_without_a_database_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"no sweeps in .*nowhere.*--home DIR"):
        open_tracking(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    with pytest.raises(AnalysisError, match=r"mlflow\.db: .*not a database") as caught:
        load("faces", home=tmp_path)
    assert "\n" not in str(caught.value)


def test_home_comes_from_the_environment(history: History, logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSWEEP_HOME", str(history.home))
    assert len(load(logged).trials) == 5
    monkeypatch.delenv("GANSWEEP_HOME")
    assert tracking_uri() == f"sqlite:///{Path.cwd()}/gansweep-runs/mlflow.db"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://me:secret@127.0.0.1:1/mlflow"])
def test_a_dead_server_is_one_line_and_quick(uri: str) -> None:
    start = time.perf_counter()
    with pytest.raises(AnalysisError, match=r"answers at .*127\.0\.0\.1:1") as caught:
        open_tracking(tracking=uri)
    assert time.perf_counter() - start < 60  # with MLflow's own patience it is minutes
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_server_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.mlflow_reader.connect._ANSWER_WITHIN", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(AnalysisError, match="timed out"):
        open_tracking(tracking=f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_passwords_are_not_printed() -> None:
    assert redact_uri("postgresql://me:secret@db:5432/mlflow") == "postgresql://***@db:5432/mlflow"
    assert redact_uri("http://server:5000") == "http://server:5000"


def test_a_sweep_is_shown_on_one_line() -> None:
    sweep = make_sweep([{"status": "complete"}, {"status": "failed"}, {"status": "complete"}])
    assert repr(sweep) == "Sweep('hand': 3 trials, 2 complete, 1 failed)"
    assert repr(make_sweep([])) == "Sweep('hand': 0 trials)"
