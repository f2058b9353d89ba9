"""The addresses that `ui` prints, and what a browser shows there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.serve.mlflow_pages import sweep_pages
from pipeline.tracking.sweep_page import SweepPage
from tests.support.servers.browser import chromium, new_page
from tests.support.servers.mlflow_server import MlflowServer
from tests.support.sweeps import History
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

WIDTHS = [64, 16, 32]
DISTANCES = [30.0, 10.0, 20.0]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.find(tmp_path / "home")


def log(home: Home, name: str = "faces") -> tuple[str, str]:
    """Log a sweep of three trials, the second the best, write its pages, and return the ids of experiment and run."""
    home.root.mkdir()
    history = History(home.root, MlflowClient(home.tracking))
    trials: list[dict[str, Any]] = [
        {
            "metrics": {"distance": {40: distance}, "tag_accuracy": {40: 0.5}, "kimg": {40: 40.0}},
            "params": {"generator.width": width},
        }
        for distance, width in zip(DISTANCES, WIDTHS, strict=True)
    ]
    parent = history.log_sweep(name, trials)
    for run in history.client.search_runs([(experiment := history.client.get_run(parent).info.experiment_id)]):
        history.client.set_terminated(run.info.run_id)
    tracker: Any = SimpleNamespace(
        client=history.client, sweep=name, parent=parent, experiment=experiment, written=0,
        sender=SimpleNamespace(spool=[]),
    )  # fmt: skip
    assert SweepPage(tracker, print).refresh()
    return experiment, parent


def test_the_addresses_are_those_of_the_sweep(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    experiment, parent = log(home)
    runs, page = sweep_pages("http://127.0.0.1:1", home, "faces").values()
    address = f"http://127.0.0.1:1/#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert runs == f"{address}&viewStateShareKey=gansweep"  # whose order and columns the sweep has logged
    MlflowClient(home.tracking).delete_experiment_tag(experiment, "mlflow.sharedViewState.gansweep")
    runs = sweep_pages("http://127.0.0.1:1", home, "faces")["runs, best first:"]  # of an earlier version
    assert runs == f"{address}&orderByKey=metrics.%60distance%60&orderByAsc=true"
    assert page == f"http://127.0.0.1:1/#/experiments/{experiment}/runs/{parent}"
    with pytest.raises(UsageError, match=r"no sweep 'facs' in .*did you mean 'faces'"):
        sweep_pages("http://127.0.0.1:1", home, "facs")
    assert main(["ui", "facs", "--home", str(home.root)]) == 2
    assert "no sweep 'facs'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.real_processes
def test_the_best_configuration_is_one_click_away(home: Home) -> None:
    log(home)
    server = MlflowServer(home.root, home.tracking)
    server.start()
    try:
        with chromium() as browser:
            page = new_page(browser, viewport={"width": 1900, "height": 900})
            page.goto(sweep_pages(server.url, home, "faces")["runs, best first:"])
            cells = page.locator("[role=gridcell][col-id='metrics.`distance`']")
            cells.nth(2).wait_for()
            shown = [text for text in cells.all_inner_texts() if text not in ("", "-")]
            assert [float(text) for text in shown] == sorted(DISTANCES)
            widths = page.locator("[role=gridcell][col-id='params.`generator.width`']").all_inner_texts()
            assert widths[:3] == ["16", "32", "64"]
            with page.context.expect_page() as opened:
                page.get_by_role("link", name="faces-00001").first.click()  # in the description above the table
            winner = opened.value
            row = winner.get_by_role("row").filter(has_text="generator.width")
            row.first.wait_for()
            assert "16" in row.first.inner_text()
    finally:
        server.stop()
