from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric

from analysis.mlflow_reader.bulk import Database, api_runs, version
from analysis.mlflow_reader.cache import FOLDER
from analysis.mlflow_reader.sweep import Sweep, curves, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sweeps import History

NAMES = ["distance", "g_loss", "d_loss"]


@pytest.fixture
def ended(history: History, logged: str, tmp_path: Path) -> Path:
    """A copy of the home, whose trials have ended for MLflow too."""
    shutil.copytree(history.home, tmp_path / "home")
    home = tmp_path / "home"
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    for run in load(logged, home=home).trials["mlflow_run_id"]:
        client.set_terminated(run, "FINISHED", 1_700_000_000_000)
    shutil.rmtree(home / "cache", ignore_errors=True)
    return home


def same(one: Sweep, other: Sweep) -> None:
    pd.testing.assert_frame_equal(one.trials, other.trials)
    pd.testing.assert_frame_equal(curves(one, NAMES), curves(other, NAMES))


def count_histories(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the runs whose histories are read from the database."""
    asked: list[int] = []
    histories = Database.histories

    def counted_histories(self: Database, runs: list[str], name: str) -> object:
        asked.append(len(runs))
        return histories(self, runs, name)

    monkeypatch.setattr(Database, "histories", counted_histories)
    return asked


def test_the_database_and_the_api_give_the_same(ended: Path, logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    direct = load(logged, home=ended)
    shutil.rmtree(ended / "cache", ignore_errors=True)
    monkeypatch.setattr(Database, "behind", staticmethod(lambda uri: False))
    same(direct, load(logged, home=ended))


def test_other_tables_than_expected_are_read_through_mlflow(
    ended: Path, logged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = load(logged, home=ended)
    table = curves(direct, NAMES)
    shutil.rmtree(ended / "cache", ignore_errors=True)
    monkeypatch.setattr("analysis.mlflow_reader.bulk._table", lambda name, *columns: _renamed(name, columns))
    other = load(logged, home=ended)
    pd.testing.assert_frame_equal(direct.trials, other.trials)
    pd.testing.assert_frame_equal(table, curves(other, NAMES))


def _renamed(name: str, columns: tuple[str, ...]) -> object:
    import sqlalchemy as sa

    return sa.table(f"{name}_of_the_future", *map(sa.column, columns))


def test_the_second_time_no_history_is_read(ended: Path, logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(logged, home=ended)
    curves(first, NAMES)
    asked = count_histories(monkeypatch)
    same(first, load(logged, home=ended))
    assert sum(asked) == 0


def test_a_run_that_went_on_is_read_again(ended: Path, logged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(logged, home=ended)
    curves(first, ["distance"])
    client = MlflowClient(f"sqlite:///{ended}/mlflow.db")
    run = first.trials["mlflow_run_id"].iloc[0]
    client.update_run(run, status="RUNNING")
    client.log_batch(run, metrics=[Metric("distance", 11.0, 5000, 60)])
    asked = count_histories(monkeypatch)
    running = load(logged, home=ended)
    assert running.trials["scores.distance"].iloc[0] == 11.0
    assert curves(running, ["distance"]).query("key == 'faces-00000'")["value"].tolist() == [80.0, 41.5, 11.0]
    client.log_batch(run, metrics=[Metric("distance", 10.0, 6000, 80)])
    client.set_terminated(run, "FINISHED", 1_700_000_009_000)
    again = load(logged, home=ended)
    assert again.trials["scores.distance"].iloc[0] == 10.0
    assert curves(again, ["distance"]).query("key == 'faces-00000'")["value"].tolist() == [80.0, 41.5, 11.0, 10.0]
    assert [count for count in asked if count] == [1, 1]


def test_histories_of_other_runs_stay_and_older_versions_go(
    ended: Path, logged: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(logged, home=ended)
    first, rest = (dataclasses.replace(whole, trials=part) for part in (whole.trials[:2], whole.trials[2:]))
    curves(first, ["distance"])
    curves(rest, ["distance"])
    asked = count_histories(monkeypatch)
    before = curves(whole, ["distance"])
    assert sum(asked) == 0
    run = whole.trials["mlflow_run_id"].iloc[0]
    MlflowClient(f"sqlite:///{ended}/mlflow.db").set_terminated(run, "FINISHED", 1_700_000_009_000)
    again = load(logged, home=ended)
    curves(dataclasses.replace(again, trials=again.trials[:1]), ["distance"])
    assert sum(asked) == 1
    pd.testing.assert_frame_equal(curves(again, ["distance"]), before)
    assert sum(asked) == 1
    (file,) = (ended / "cache" / FOLDER).glob("history-*.parquet")
    assert sorted(pd.read_parquet(file)["run_id"]) == sorted(whole.trials["mlflow_run_id"])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "folder"])
def test_a_damaged_cache_is_read_anew(ended: Path, logged: str, damage: str) -> None:
    first = load(logged, home=ended)
    curves(first, NAMES)
    files = sorted((ended / "cache" / FOLDER).glob("*.parquet"))
    assert len(files) == len(NAMES)
    for file in files:
        content = bytearray(file.read_bytes())
        if damage == "truncated":
            file.write_bytes(content[: len(content) // 2])
        elif damage == "flipped":
            content[len(content) // 8] ^= 0xFF
            file.write_bytes(content)
        elif damage == "foreign":
            pd.DataFrame({"a": [1]}).to_parquet(file)
        elif damage == "folder":
            file.unlink()
            file.mkdir()
        else:
            file.write_bytes(b"")
    same(first, load(logged, home=ended))


def test_without_a_writable_cache_everything_is_read(ended: Path, logged: str) -> None:
    (ended / "cache").write_text("a file where the folder should be")
    assert len(load(logged, home=ended).trials) == 5


def test_runs_that_have_not_ended_are_not_kept(ended: Path, logged: str) -> None:
    assert [version("RUNNING", None), version("RUNNING", 5), version("FINISHED", None)] == ["", "", ""]
    assert version("KILLED", 5) != version("KILLED", 6) != version("FAILED", 6)


def test_the_api_is_read_page_by_page(history: History, logged: str) -> None:
    experiment = history.client.get_experiment_by_name(logged)
    assert experiment is not None
    runs = list(api_runs(history.client, experiment.experiment_id, "trial", page_size=2))
    assert len({run.info.run_id for run in runs}) == 5
