"""Homes and outputs that are no ordinary folders and files, and homes in half-made states."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from pipeline.cli.main import main
from pipeline.home import Home
from tests.support.sweeps import History
from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

SAVED = {"settings": {"space": "acgan", "name": "s", "data": "d", "trials": 3}, "started_with": {}}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    trial = {"status": "complete", "params": {"generator.width": 32}, "metrics": {"distance": {1: 9.0}}}
    History(home.root, MlflowClient(home.tracking)).log_sweep("s", [trial])
    return home


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Return the exit code of a command, and its one line on stderr, without its beginning."""
    code = main(list(words))
    (line,) = capsys.readouterr().err.splitlines() or [""]
    return code, line.removeprefix("gansweep: error: ")


@pytest.mark.parametrize("command", [["rank", "s"], ["status", "s"], ["list"]])
@pytest.mark.parametrize(
    ("name", "reason"),
    [("x" * 300, "File name too long"), ("loop", "Symlink loop"), ("~nobody-of-this-name", "home directory")],
)
def test_a_home_that_no_folder_can_be_is_one_line(
    tmp_path: Path, command: list[str], name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = name if name.startswith("~") else str(tmp_path / name)
    code, line = answer(capsys, *command, "--home", place)
    assert code == 2
    assert line.startswith(f"home {place[:80]!r}: ")
    assert reason in line
    assert line.endswith("; give another --home")


@pytest.mark.parametrize("foreign", [False, True])
def test_reading_makes_no_tables_in_another_programs_database(
    tmp_path: Path, foreign: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mlflow.db"
    file.touch()
    if foreign:
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE mine (value)")
        database.close()
    before = file.read_bytes()
    for command in (["rank", "s"], ["status", "s"], ["list"]):
        code, line = answer(capsys, *command, "--home", str(tmp_path))
        assert (code, "mlflow.db is no database of MLflow" in line) == (1, True), line
    assert file.read_bytes() == before


def test_a_too_long_output_is_one_line(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / f"{'y' * 300}.html")
    code, line = answer(capsys, "report", "s", "-o", output, "--home", str(home.root))
    assert code == 1
    assert line.startswith("File name too long: ")


def test_a_pipe_is_written_to_and_not_replaced(home: Home, tmp_path: Path) -> None:
    pipe, received = tmp_path / "pipe", []
    os.mkfifo(pipe)
    for write in (
        lambda: main(["report", "s", "-o", str(pipe), "--home", str(home.root)]),
        lambda: _write_text(pipe, "<html>"),
    ):
        reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
        reader.start()
        write()
        reader.join(60)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert ["<html" in text.lower() for text in received] == [True, True]


def _write_text(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text)


def test_a_sweep_without_a_database_is_shown_as_list_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trials" / "s").mkdir(parents=True)
    (tmp_path / "trials" / "s" / "sweep.json").write_text(json.dumps(SAVED))
    assert main(["list", "--home", str(tmp_path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["sweeps"]
    assert found["status"] == "prepared"
    assert main(["status", "s", "--home", str(tmp_path)]) == 0
    assert "`gansweep resume s` continues" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]", json.dumps({"settings": {"trials": "x"}, "started_with": {}})])
def test_a_sweep_with_damaged_settings_can_be_removed(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    settings = home.sweep("s") / "sweep.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(text)
    code, line = answer(capsys, "resume", "s", "--home", str(home.root))
    assert code == 1
    assert "settings" in line
    code, line = answer(capsys, "clean", "s", "--all", "--yes", "--home", str(home.root))
    assert code == 0
    assert line.startswith("what it may have outside of this home stays: ")
    assert not settings.parent.exists()


def test_a_folder_in_place_of_the_settings_is_no_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trials" / "s" / "sweep.json").mkdir(parents=True)
    code, line = answer(capsys, "resume", "s", "--home", str(tmp_path))
    assert (code, line) == (2, f"no sweep 's' in home {tmp_path}; it has no sweep yet")
