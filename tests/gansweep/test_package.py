"""The package of the product's own name: public names, imported on first use, and ``python -m gansweep``."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gansweep

REPOSITORY = Path(__file__).resolve().parents[2]
OWNERS = {
    "Bundle": "pipeline.bundle.bundle",
    "Sweep": "analysis.mlflow_reader.sweep",
    "SweepSettings": "pipeline.settings",
    "curves": "analysis.mlflow_reader.sweep",
    "effects_table": "analysis.effects.marginal",
    "load": "analysis.mlflow_reader.sweep",
    "rank": "analysis.ranking.ranking",
    "run_sweep": "pipeline.sweep.run",
}
OURS = {"analysis", "pipeline", "search_spaces", "trainables"}
HEAVY = {"torch", "ray", "mlflow", "optuna", "pandas", "scipy", "matplotlib", "numpy"}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.parametrize("name", OWNERS)
def test_a_public_name_is_the_object_of_its_module(name: str) -> None:
    assert getattr(gansweep, name) is getattr(importlib.import_module(OWNERS[name]), name)


def test_exactly_these_names_are_public() -> None:
    assert set(gansweep.__all__) == set(OWNERS)
    assert set(OWNERS) <= set(dir(gansweep))
    with pytest.raises(AttributeError, match="run_swep"):
        gansweep.run_swep  # noqa: B018


def test_importing_the_package_imports_nothing_else() -> None:
    done = run("-c", "import sys, gansweep; print(*sys.modules)")
    assert done.returncode == 0
    assert not (HEAVY | OURS) & set(done.stdout.split())


def test_settings_and_table_come_without_torch_and_ray() -> None:
    done = run("-c", "import sys; from gansweep import SweepSettings, load, rank; print(*sys.modules)")
    assert done.returncode == 0
    assert not HEAVY & set(done.stdout.split())


def test_the_module_runs_the_command_line() -> None:
    version = run("-m", "gansweep", "--version")
    assert (version.returncode, version.stdout) == (0, f"gansweep {importlib.metadata.version('gansweep')}\n")
    mistake = run("-m", "gansweep", "rnak", "s")
    assert (mistake.returncode, mistake.stdout) == (2, "")
    assert "'rnak'" in mistake.stderr
    assert mistake.stderr.count("\n") == 1


def test_every_package_is_installed_and_typed() -> None:
    setuptools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = set(setuptools["packages"]["find"]["include"])
    for package in OURS | {"gansweep"}:
        assert (REPOSITORY / package / "py.typed").is_file() or package == "search_spaces"
        assert {f"{package}*", package} & patterns
