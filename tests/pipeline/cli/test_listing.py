"""`gansweep list`, and `gansweep clean --all`, on sweeps that were logged without training."""

from __future__ import annotations

import errno
import json
import shutil
from typing import TYPE_CHECKING

import optuna
import pytest
from mlflow import MlflowClient

from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.sweep_lock import lock_sweep
from tests.support.sweeps import History
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from pathlib import Path

TRIALS = [
    {"status": "complete", "params": {"generator.width": 32}, "metrics": {"distance": {1: 9.0}, "kimg": {1: 1.0}}},
    {"status": "complete", "params": {"generator.width": 16}, "metrics": {"distance": {1: 7.5}, "kimg": {1: 1.0}}},
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two sweeps with trials, and one whose start failed before its first trial."""
    home = Home(tmp_path / "home")
    home.root.mkdir()
    history = History(home.root, MlflowClient(home.tracking))
    for name in ("faces", "other"):
        history.log_sweep(name, TRIALS)
        optuna.create_study(storage=home.study, study_name=name)
        (home.sweep(name) / f"{name}-00000").mkdir(parents=True)
        (home.sweep(name) / f"{name}-00000" / "weights").write_bytes(b"x" * 1000)
    half = {"settings": {"space": "acgan", "name": "half", "data": "d", "trials": 3}, "started_with": {}}
    write_json(home.sweep("half") / "sweep.json", half)
    return home


def listed(home: Home, capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    assert main(["list", "--home", str(home.root), "--json"]) == 0
    return {one["name"]: one for one in json.loads(capsys.readouterr().out)["sweeps"]}


def test_every_sweep_is_listed_with_its_numbers(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(home, capsys)
    assert list(found) == ["faces", "half", "other"]
    assert found["half"]["status"] == "prepared"
    assert found["faces"]["trials"]["complete"] == 2
    assert found["faces"]["best"]["distance"] == {"key": "faces-00001", "value": 7.5}
    artifacts = sum(path.stat().st_size for path in home.artifacts("faces").rglob("*") if path.is_file())
    assert found["faces"]["bytes"] >= 1000 + artifacts
    with lock_sweep(home, "faces"):
        assert listed(home, capsys)["faces"]["status"] == "running"
    assert main(["list", "--home", str(home.root)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "faces", "half", "other"]


def test_an_empty_home_has_no_sweeps_and_a_missing_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--home", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"sweeps": []}
    assert list(tmp_path.iterdir()) == []
    assert main(["list", "--home", str(tmp_path / "hoem")]) == 2
    assert f"--home is {tmp_path / 'hoem'}, and there is no such folder" in capsys.readouterr().err


def test_a_whole_sweep_is_removed_and_the_others_stay(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--home", str(home.root)]
    assert main(["clean", "faces", "--all", "--dry-run", *where]) == 0
    assert main(["clean", "faces", "--all", *where]) == 2  # stdin is no terminal
    assert "--yes" in capsys.readouterr().err
    assert "faces" in listed(home, capsys)
    with lock_sweep(home, "faces"):
        assert main(["clean", "faces", "--all", "--yes", *where]) == 1
    assert "'faces' is in use" in capsys.readouterr().err
    assert main(["clean", "faces", "--all", "--yes", *where]) == 0
    capsys.readouterr()
    assert list(listed(home, capsys)) == ["half", "other"]
    assert not home.sweep("faces").exists()
    assert not home.artifacts("faces").exists()
    assert home.lock("faces").exists()  # another process may wait for it
    assert optuna.get_all_study_names(home.study) == ["other"]
    assert MlflowClient(home.tracking).get_experiment_by_name("faces") is None
    assert (home.sweep("other") / "other-00000" / "weights").is_file()
    assert main(["clean", "faces", "--all", "--yes", *where]) == 2
    assert main(["clean", "half", "--all", "--yes", *where]) == 0
    capsys.readouterr()
    assert list(listed(home, capsys)) == ["other"]


def test_a_removal_that_was_interrupted_can_be_repeated(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, words = home.sweep("half") / "sweep.json", ["clean", "half", "--all", "--yes", "--home", str(home.root)]
    delete = shutil.rmtree
    for stuck in (home.artifacts("half") / "images", home.sweep("half") / "trial"):
        stuck.mkdir(parents=True)

        def fail(path: Path, stuck: Path = stuck) -> None:
            if path == stuck:
                raise OSError(errno.EACCES, "permission denied", str(path))
            delete(path)

        with monkeypatch.context() as patch:
            patch.setattr(shutil, "rmtree", fail)
            assert main(words) == 1
        assert f"cannot remove {stuck}: permission denied" in capsys.readouterr().err
        assert settings.is_file()
    assert main(words) == 0
    assert not home.sweep("half").exists()
    assert not home.artifacts("half").exists()


def test_commands_agree_on_a_sweep_without_trials(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["half", "--home", str(home.root)]
    assert main(["status", *where]) == 0
    assert "gansweep resume half" in capsys.readouterr().out
    for command in (["rank"], ["report", "-o", "x.html"]):
        assert main([command[0], *where, *command[1:]]) == 2
        assert "gansweep resume half" in capsys.readouterr().err


def test_a_deleted_run_of_the_sweep_hides_no_trial(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    client = MlflowClient(home.tracking)
    experiment = client.get_experiment_by_name("faces").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`gansweep.kind` = 'sweep'")
    client.delete_run(parent.info.run_id)
    assert main(["status", "faces", "--home", str(home.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["trials"]["complete"] == 2
    assert found["run_deleted"]
    assert main(["status", "faces", "--home", str(home.root)]) == 0
    assert "gansweep resume faces" in capsys.readouterr().out
    assert main(["rank", "faces", "--home", str(home.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == "faces-00001"
