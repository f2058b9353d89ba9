"""Displays that cannot show all characters, closed pipes and read-only homes: commands in their own processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from tests.support.pipeline.command_line import MAIN, REPOSITORY, run_cli
from tests.support.sweeps import History

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 54321
TRIAL = {"status": "failed", "reason": "crashed: \u732b \u2026", "params": {}, "metrics": {}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    trial = {"status": "complete", "params": {"generator.width": 32}, "metrics": {"distance": {1: 9.0}}}
    History(folder, MlflowClient(f"sqlite:///{folder}/mlflow.db")).log_sweep("s", [trial, TRIAL])
    return folder


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_characters_that_cannot_be_shown_are_replaced(home: Path, tmp_path: Path, encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding, "COLUMNS": "60"}
    for words in (["rank", "s"], ["status", "s"], ["status", "s", "--json"]):
        done = run_cli([*words, "--home", str(home)], tmp_path, **environment)
        assert done.returncode == 0, done.stderr
        assert "UnicodeEncodeError" not in done.stderr
    assert "\\u732b" in done.stdout  # JSON loses nothing


@pytest.mark.real_processes
def test_a_reader_that_stops_reading_is_no_failure(home: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "rank", "s", "--home", str(home)],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_another_users_home_can_be_read(home: Path, tmp_path: Path) -> None:
    (home / "locks").mkdir()
    (home / "locks" / "s").touch()
    before = sorted(home.rglob("*"))
    may_read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]  # the interpreter may be root's
    other = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", *may_read, sys.executable]
    for words in (["status", "s"], ["rank", "s"], ["list"], ["report", "s", "-o", "r.html"]):
        folder = tmp_path / words[0]
        folder.mkdir()
        shutil.chown(folder, STRANGER, STRANGER)
        done = subprocess.run(
            [*other, "-c", MAIN, *words, "--home", str(home)],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert sorted(home.rglob("*")) == before
