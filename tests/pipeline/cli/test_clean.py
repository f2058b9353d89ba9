"""Cleaning: what goes, what stays, and how much it was."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from pipeline.cli.clean import clean_sweep
from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.sweep_lock import lock_sweep
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.pipeline.sweep import Swept

BEST, WEIGHTS, CHECKPOINT = "best.safetensors", "generator.safetensors", f"checkpoints/000001-{'0' * 64}.pt"


@pytest.fixture
def home(swept: Swept, tmp_path: Path) -> Home:
    """A copy of the swept home, in which every trial has left weights of 10 and 3 bytes and a checkpoint of 7."""
    shutil.copytree(swept.home.root, tmp_path / "home", ignore=shutil.ignore_patterns("cache"))
    home = Home.find(tmp_path / "home")
    for run in swept.runs():
        folder = home.sweep("tiny") / run.data.tags["gansweep.key"]
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        (folder / CHECKPOINT).parent.mkdir()
        (folder / WEIGHTS).write_bytes(b"0123456789")
        (folder / BEST).write_bytes(b"012")
        (folder / CHECKPOINT).write_bytes(b"0123456")
    return home


def left(home: Home, name: str) -> set[str]:
    return {path.relative_to(home.sweep("tiny")).parts[0] for path in home.sweep("tiny").glob(f"*/{name}")}


def must_stay(swept: Swept) -> set[str]:
    """The recipe, and every trial that no other beats on both objectives, by comparing all pairs."""
    scored = [
        (run.data.tags["gansweep.key"], run.data.metrics["distance"], -run.data.metrics["tag_accuracy"])
        for run in swept.runs()
        if run.data.tags["gansweep.status"] in ("complete", "stopped")
    ]
    front = {
        key
        for key, distance, error in scored
        if not any(d <= distance and e <= error and (d < distance or e < error) for _, d, e in scored)
    }
    return {"tiny-00000", *front}


def test_weights_of_the_best_the_recipe_and_the_front_stay(swept: Swept, home: Home) -> None:
    everything = left(home, WEIGHTS)
    freed = clean_sweep(home, "tiny", None, keep=0, dry_run=False)
    kept = must_stay(swept)
    assert left(home, WEIGHTS) == left(home, BEST) == kept
    assert left(home, CHECKPOINT) == set()
    gone = len(everything) - len(kept)
    assert gone > 0
    assert freed.size == 13 * gone + 7 * len(everything)
    assert len(freed.files) == 2 * gone + len(everything)
    assert clean_sweep(home, "tiny", None, keep=0, dry_run=False).files == ()


def test_the_requested_number_of_best_trials_is_kept(swept: Swept, home: Home) -> None:
    clean_sweep(home, "tiny", None, keep=100, dry_run=False)
    assert left(home, WEIGHTS) == {run.data.tags["gansweep.key"] for run in swept.runs()}


def test_samples_and_configurations_stay(home: Home) -> None:
    before = sorted(home.sweep("tiny").glob("*/samples/*.png")) + sorted(home.sweep("tiny").glob("*/config.json"))
    clean_sweep(home, "tiny", None, keep=0, dry_run=False)
    assert before
    assert all(path.exists() for path in before)


def test_a_dry_run_lists_the_same_files_and_removes_none(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    def files() -> list[Path]:  # reading a sweep may fill the cache
        return sorted(path for path in home.root.rglob("*") if not path.is_relative_to(home.cache))

    before = files()
    dry = clean_sweep(home, "tiny", None, keep=0, dry_run=True)
    assert main(["clean", "tiny", "--keep", "0", "--dry-run", "--home", str(home.root)]) == 0
    assert capsys.readouterr().out == f"would remove {len(dry.files)} files, 0.0 MiB\n"
    assert files() == before
    assert clean_sweep(home, "tiny", None, keep=0, dry_run=False) == dry


def test_json_lists_every_file(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {path: path.stat().st_size for path in home.sweep("tiny").rglob("*") if path.is_file()}
    for words in (["--dry-run"], []):
        assert main(["clean", "tiny", "--keep", "0", "--home", str(home.root), "--json", *words]) == 0
        printed = capsys.readouterr()
        told = json.loads(printed.out)
        files = told.pop("files")
        assert told == {
            "sweep": "tiny",
            "dry_run": bool(words),
            "bytes": sum(sizes[home.sweep("tiny") / name] for name in files),
        }
        assert files
        assert {(home.sweep("tiny") / name).exists() for name in files} == {bool(words)}
        assert all(line.startswith("files of tiny") for line in printed.err.splitlines()), printed.err  # if it is slow
    assert len(sizes) - len(files) == len([path for path in home.sweep("tiny").rglob("*") if path.is_file()])


def tag(home: Home, key: str, status: str) -> None:
    client = MlflowClient(home.tracking)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    (run,) = client.search_runs([experiment], f"tags.`gansweep.key` = '{key}'")
    client.set_tag(run.info.run_id, "gansweep.status", status)


def test_an_interrupted_trial_keeps_its_checkpoint(home: Home) -> None:
    tag(home, "tiny-00002", "interrupted")
    clean_sweep(home, "tiny", None, keep=0, dry_run=False)
    assert left(home, CHECKPOINT) == {"tiny-00002"}
    assert "tiny-00002" in left(home, WEIGHTS)


def test_a_running_sweep_is_not_cleaned(home: Home) -> None:
    with lock_sweep(home, "tiny"):
        before = sorted(home.root.rglob("*"))
        with pytest.raises(UserError, match=f"'tiny' is in use by process {os.getpid()};"):
            clean_sweep(home, "tiny", None, keep=0, dry_run=False)
    assert sorted(home.root.rglob("*")) == before
