"""A home that version 0.1.0 made, before the names of this code changed: what it printed then is printed now.

``tests/data/home-0.1.0.tar.xz`` holds it without images, caches and checkpoints, and with the answers of that version::

    gansweep data synth /old/faces -n 300 --seed 1 --size 32
    gansweep run acgan --data /old/faces --name old --home /old/home --trials 3 --image-size 16 --max-kimg 2 \
        --eval-kimg 1 --samples 64 --rung-samples 32 --concurrent 1 --scheduler asha --sampler random \
        --choices generator.width=2,4 --choices discriminator.width=2,4 \
        --set generator.width=4 --set discriminator.width=4
    gansweep confirm old --home /old/home --top 1 --seeds 2
    gansweep rank old --home /old/home --json > rank.json
    gansweep status old --home /old/home --json > status.json
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.bundle.bundle import Bundle
from pipeline.cli.main import main
from tests.support.stub_tag_classifier import place_tag_classifier
from trainables.data.dataset import load_folder
from trainables.data.synthetic import write_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

ARCHIVE = Path(__file__).resolve().parents[1] / "data" / "home-0.1.0.tar.xz"
OLD = "/old/home"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of the archive, in which the home stands where MLflow's database says that it does."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    with contextlib.closing(sqlite3.connect(tmp_path / "home" / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (OLD, f"{tmp_path}/home"))
    return tmp_path


def printed(words: Iterable[object], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that succeeds prints to stdout."""
    capsys.readouterr()
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def require_kept(before: Any, now: Any, place: str = "") -> None:
    """Every key and value of an old answer is in the new one, which may say more."""
    if isinstance(before, dict):
        assert isinstance(now, dict), place
        for name, value in before.items():
            assert name in now, f"{place}/{name}"
            require_kept(value, now[name], f"{place}/{name}")
    elif isinstance(before, list):
        assert isinstance(now, list), place
        assert len(before) == len(now), place
        for position, (one, other) in enumerate(zip(before, now, strict=True)):
            require_kept(one, other, f"{place}/{position}")
    elif isinstance(before, float):
        assert now == pytest.approx(before, rel=1e-9), place
    else:
        assert before == now, place


@pytest.mark.parametrize("command", ["rank", "status"])
def test_old_answers_are_given_still(command: str, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((old / f"{command}.json").read_text())
    now = json.loads(printed([command, "old", "--home", old / "home", "--json"], capsys))
    require_kept(before, now)


def test_claims_are_examined(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(["claims", "old", "--home", old / "home", "--json"], capsys))
    assert found


def test_report_is_written(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = old / "page.html"
    printed(["report", "old", "--home", old / "home", "-o", page], capsys)
    assert "old-00000" in page.read_text(encoding="utf-8")


def test_confirmed_winner_is_exported(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed(["export", "old", "--home", old / "home", "-o", old / "winner"], capsys)
    manifest = json.loads((old / "winner" / "manifest.json").read_text())
    assert (manifest["trial"], manifest["run"]) == ("old-00000", "old-00000-c01")
    assert Bundle.load(old / "winner").config.image_size == 16


def test_trials_are_in_the_study(old: Path) -> None:
    study = optuna.load_study(study_name="old", storage=f"sqlite:///{old}/home/optuna.db")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, *[TrialState.PRUNED] * 2]
    assert study.trials[0].values == pytest.approx([3781.632563060816, 0.03125])


@pytest.fixture
def resumable(old: Path) -> Path:
    """The home with images again. They are drawn by this version, so their fingerprint is written into the sweep."""
    faces, saved = old / "faces", old / "home" / "trials" / "old" / "sweep.json"
    write_folder(faces, 300, seed=1, size=32)
    place_tag_classifier(old / "home", faces, 16)
    sweep = json.loads(saved.read_text())
    sweep["data"] = load_folder(faces, 16).fingerprint
    sweep["started_with"] |= {"data": str(faces), "home": str(old / "home")}
    saved.write_text(json.dumps(sweep))
    return saved


def test_ended_sweep_is_complete_when_resumed(resumable: Path, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "old", "--home", str(old / "home")]) == 0
    assert "complete" in capsys.readouterr().err
    study = optuna.load_study(study_name="old", storage=f"sqlite:///{old}/home/optuna.db")
    assert len(study.trials) == 3


def test_sweep_of_another_space_is_not_resumed(resumable: Path, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = json.loads(resumable.read_text())
    sweep["space"]["dimensions"][0]["choices"] = [2, 8]
    resumable.write_text(json.dumps(sweep))
    assert main(["resume", "old", "--home", str(old / "home")]) == 1
    assert "'old'" in capsys.readouterr().err
