"""optuna-dashboard opens the study of a sweep and shows the values that ``rank`` shows."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from analysis.mlflow_reader.sweep import load
from analysis.ranking.ranking import rank
from tests.support.servers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.pipeline.sweep import Swept

pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed: pip install optuna-dashboard")
pytestmark = [pytest.mark.slow, pytest.mark.real_processes]


@pytest.fixture
def dashboard(swept: Swept) -> Iterator[str]:
    port = free_port()
    words = [f"sqlite:///{swept.home.root / 'optuna.db'}", "--host", "127.0.0.1", "--port", str(port)]
    code = "import sys; from optuna_dashboard._cli import main; sys.exit(main())"
    with subprocess.Popen([sys.executable, "-c", code, *words]) as server:
        try:
            yield f"http://127.0.0.1:{port}/api"
        finally:
            server.terminate()


def fetched(url: str) -> Any:
    attempts = 1200
    for attempt in range(attempts):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return json.load(answer)
        except OSError:
            if attempt == attempts - 1:
                raise
            time.sleep(0.5)
    raise AssertionError


def test_its_values_are_those_of_the_ranking(dashboard: str, swept: Swept) -> None:
    (study,) = [
        one for one in fetched(f"{dashboard}/studies")["study_summaries"] if one["study_name"] == swept.settings.name
    ]
    shown = fetched(f"{dashboard}/studies/{study['study_id']}?after=0")
    assert [way.lower() for way in shown["directions"]] == ["minimize", "maximize"]
    assert shown["objective_names"] == ["distance", "tag_accuracy"]
    by_number = {one["number"]: one for one in shown["trials"]}
    ranking = rank(load(swept.settings.name, home=swept.home.root)).to_json()
    assert len(by_number) == len(ranking["trials"])
    complete = [one for one in ranking["trials"] if one["status"] == "complete"]
    assert complete
    for one in complete:
        values = [float(value) for value in by_number[one["number"]]["values"]]
        assert values == [one["scores"]["distance"], one["scores"]["tag_accuracy"]]
    best = min(complete, key=lambda one: by_number[one["number"]]["values"][0])
    assert best["key"] == min(complete, key=lambda one: one["rank"])["key"]
