"""What the README says to type into a notebook runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow import MlflowClient

from tests.support.sweeps import History

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def notebook() -> str:
    """The block of Python in the README that loads a sweep."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    (block,) = (one for one in blocks if "load(" in one and "Bundle" not in one)
    return str(block)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path, MlflowClient(f"sqlite:///{tmp_path}/mlflow.db"))
    scores: Iterable[float] = (8.0, 6.0)
    history.log_sweep("first", [{"metrics": {"distance": {20: 2 * one, 40: one}}} for one in scores])
    monkeypatch.setenv("GANSWEEP_HOME", str(tmp_path))
    seen: dict[str, Any] = {}
    results = []
    for line in notebook().splitlines():
        if re.match(r"from |import |\w+ = ", line):
            exec(line, seen)
        elif line:
            results.append(eval(line, seen))
    described, ranked, curves = results
    assert all(isinstance(one, pd.DataFrame) for one in results)
    assert described.loc["complete", "mean"] == 7.0
    assert ranked["key"].tolist() == ["first-00001", "first-00000"]
    assert curves.to_numpy().tolist() == [[16.0, 12.0], [8.0, 6.0]]
