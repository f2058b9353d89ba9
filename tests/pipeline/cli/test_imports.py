"""What a command imports: looked up in ``sys.modules`` of a fresh process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from mlflow import MlflowClient

from pipeline.home import Home
from tests.support.pipeline.exports import make_portable, write_bundle
from tests.support.sweeps import History

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"torch", "ray", "mlflow", "optuna", "pandas", "scipy", "matplotlib"}
REPORT_IMPORTS = """
import sys
from pipeline.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code or 0
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""
CASES = [
    # words, exit code, packages that must not be imported
    ("", 0, HEAVY),
    ("--help", 0, HEAVY),
    ("--version", 0, HEAVY),
    ("run --help", 0, HEAVY),
    ("rank --help", 0, HEAVY),
    ("report --help", 0, HEAVY),
    ("claims --help", 0, HEAVY),
    ("--tyro-print-completion bash", 0, HEAVY),
    ("rnu", 2, HEAVY),
    ("run acgan --data d --name n --trials many", 2, HEAVY),
    ("run acgan --data d --name n --fuse 1", 2, HEAVY),
    ("run acgan --data d --name n --domain-a hair=blue", 2, HEAVY),
    ("run acgan --name n", 2, HEAVY),
    ("spaces", 0, HEAVY),
    ("rank s --home {home}", 0, {"torch", "ray", "mlflow"}),
    ("status s --home {home} --json", 0, {"torch", "ray", "mlflow"}),
    ("report s --home {home} -o report.html", 0, {"torch", "ray", "mlflow"}),
    ("generate {export} red~hair --backend onnx -o x.png", 0, {"torch", "ray", "mlflow"}),
]


def imported(code: str, words: list[str], cwd: Path) -> tuple[int, set[str]]:
    """Exit code of a script in a separate process, and the names of all modules on the last line of its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, set(done.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a sweep ``s`` of two trials."""
    folder = tmp_path_factory.mktemp("imports") / "home"
    folder.mkdir()
    history = History(folder, MlflowClient(Home.find(folder).tracking))
    trials = [{"metrics": {"distance": {1: 3.0 + number}, "tag_accuracy": {1: 0.5}}} for number in range(2)]
    history.log_sweep("s", trials)
    return folder


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_portable(write_bundle(tmp_path_factory.mktemp("imports") / "export"))


@pytest.mark.parametrize(("line", "code", "unwanted"), CASES, ids=[case[0] or "nothing" for case in CASES])
def test_a_command_imports_no_more_than_it_needs(
    line: str, code: int, unwanted: set[str], home: Path, export: Path, tmp_path: Path
) -> None:
    words = [word.replace("~", " ") for word in line.format(home=home, export=export).split()]
    ended, modules = imported(REPORT_IMPORTS, words, tmp_path)
    assert ended == code
    assert "pipeline.cli.main" in modules
    assert not modules & unwanted
