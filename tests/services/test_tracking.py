"""Tracking servers that go away and come back, while a driver writes and at each of its ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from analysis.errors import AnalysisError
from pipeline.home import Home
from pipeline.settings import SweepSettings
from pipeline.tracking.client import open_client
from pipeline.tracking.tracker import Tracker
from pipeline.trial_status import TrialEnd
from tests.support.pipeline.command_line import until
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers.mlflow_server import MlflowServer
    from tests.support.servers.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.real_processes]

DATA = {"name": "faces", "fingerprint": "ab12", "pictures": 9, "complete": 7, "partial": 2}
SPACE = SweepSettings("acgan", Path("d"), "s", image_size=16).resolve_space()


class Driver:
    """The tracking of a sweep as each new driver process opens it."""

    def __init__(self, folder: Path, tracking: str) -> None:
        self.home, self.tracking, self.said = Home(folder / "home"), tracking, list[str]()
        self.storage = self.home.storage("s", None)

    def start(self) -> Tracker:
        client = open_client(self.home, self.tracking)
        artifacts = None if self.tracking.startswith("http") else self.home.artifacts("s")
        tracker = Tracker(client, self.home, "s", SPACE, self.storage, self.said.append, artifacts=artifacts)
        tracker.start({"trials": 2}, DATA, {"samples": 32})
        return tracker

    def begin(self, tracker: Tracker, number: int) -> None:
        params = dict(SPACE.recipe)
        tracker.start_trial({
            "key": f"s-{number:05d}", "number": number, "recipe": True, "params": params, "config_hash": "abc",
            "seed": 7,
        })  # fmt: skip

    def log(self, tracker: Tracker, number: int, *steps: int) -> None:
        key = f"s-{number:05d}"
        for kimg in steps:
            image = Path(self.storage.location) / key / "samples" / f"{kimg}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(b"image %d" % kimg)
            tracker.log_result(key, {"kimg": kimg, "distance": 1.0, "pictures": [f"samples/{kimg}.png"]})

    def recorded(self) -> dict[str, Any]:
        """Status, steps of the distance with rising times, and images of each trial, read by MLflow's own client."""
        client = MlflowClient(self.tracking)
        experiment = client.get_experiment_by_name("s")
        found = {}
        for run in client.search_runs([experiment.experiment_id], "tags.`gansweep.kind` = 'trial'"):
            points = client.get_metric_history(run.info.run_id, "distance")
            assert [point.timestamp for point in points] == sorted(point.timestamp for point in points)
            images = {entry.path for entry in client.list_artifacts(run.info.run_id, "samples")}
            assert images == {f"samples/{point.step}.png" for point in points}
            key = run.data.tags["gansweep.key"]
            assert key not in found
            found[key] = (run.data.tags["gansweep.status"], [point.step for point in points])
        return found

    @property
    def spool(self) -> Path:
        return self.home.sweep("s") / "spool"


def outage(driver: Driver, down: Callable[[], None], up: Callable[[], None]) -> None:
    """Log through an outage, end in another, and go on with a new driver."""
    tracker = driver.start()
    driver.begin(tracker, 0)
    driver.log(tracker, 0, 1, 2)
    assert tracker.sender.spool.shrinks(3, timeout=600)  # some may still be under way when it goes
    down()
    driver.log(tracker, 0, 3, 4)
    driver.begin(tracker, 1)
    driver.log(tracker, 1, 1, 2)
    tracker.finish_trial("s-00000", TrialEnd("complete"))
    until(lambda: driver.said)  # what is sent is gathered first: the outage must be met
    up()
    assert tracker.sender.spool.shrinks(1, timeout=600)
    until(lambda: len(driver.said) > 1)
    assert driver.recorded() == {"s-00000": ("complete", [1, 2, 3, 4]), "s-00001": ("running", [1, 2])}
    assert sum("does not answer" in line for line in driver.said) == 1
    assert sum("answers again" in line for line in driver.said) == 1

    down()
    driver.log(tracker, 1, 3)
    tracker.sender.patience = 1
    tracker.finish("interrupted", TrialEnd("interrupted", "Ctrl-C"))
    assert "4 writes wait for" in driver.said[-1]
    assert len((driver.spool / "operations.jsonl").read_text().splitlines()) >= 4
    assert tracker.sender._thread is not None
    tracker.sender._thread.join(600)  # a request may be under way
    with pytest.raises((AnalysisError, UserError)) as caught:
        driver.start()
    assert "\n" not in str(caught.value)

    up()
    tracker = driver.start()
    assert "sending 4 writes of an earlier start" in driver.said[-1]
    assert driver.recorded()["s-00001"] == ("interrupted", [1, 2, 3])
    driver.begin(tracker, 1)
    driver.log(tracker, 1, 3, 4)
    tracker.finish_trial("s-00001", TrialEnd("complete"))
    tracker.finish("complete", TrialEnd("interrupted"))
    assert driver.recorded() == {"s-00000": ("complete", [1, 2, 3, 4]), "s-00001": ("complete", [1, 2, 3, 4])}
    assert tracker.sender.refused == 0
    assert not driver.spool.exists()


def test_an_outage_of_the_mlflow_server_loses_no_write(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    outage(Driver(tmp_path, mlflow_server.url), mlflow_server.stop, mlflow_server.start)


def test_an_outage_of_postgresql_loses_no_write(tmp_path: Path, postgres: Postgres) -> None:
    outage(Driver(tmp_path, postgres.database("mlflow")), postgres.stop, postgres.start)


def test_an_outage_of_postgresql_behind_an_mlflow_server_loses_no_write(
    tmp_path: Path, postgres: Postgres, serve: Callable[[str], MlflowServer]
) -> None:
    server = serve(postgres.database("served"))
    outage(Driver(tmp_path, server.url), postgres.stop, postgres.start)


def test_images_reach_a_server_that_keeps_artifacts_itself(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    driver = Driver(tmp_path, mlflow_server.url)
    tracker = driver.start()
    driver.begin(tracker, 0)
    driver.log(tracker, 0, 1)
    tracker.finish("interrupted", TrialEnd("interrupted"))
    client = MlflowClient(mlflow_server.url)
    (run,) = client.search_runs([tracker.experiment], "tags.`gansweep.key` = 's-00000'")
    fetched = client.download_artifacts(run.info.run_id, "samples/1.png", str(tmp_path))
    assert Path(fetched).read_bytes() == b"image 1"
