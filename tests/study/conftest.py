"""The scripts of docs/study as modules."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis import schema
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    from types import ModuleType

    from analysis.mlflow_reader.sweep import Sweep

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "docs" / "study" / "run.py"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(RUN.parent))
    return importlib.import_module("run")


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that writes the pages' tables as a module."""
    monkeypatch.syspath_prepend(str(RUN.parent))
    return importlib.import_module("pages")


def sweep_of(
    name: str, status: str = schema.COMPLETE, dimensions: tuple[str, ...] = (), trial: dict[str, Any] | None = None
) -> Sweep:
    space = {"dimensions": [{"name": dimension} for dimension in dimensions]}
    return make_sweep([{"key": f"{name}-00000", **(trial or {})}], name=name, status=status, space=space)
