"""What is tracked by several drivers after each other, and while a server is slow or a driver dies."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from pipeline.home import Home
from pipeline.tracking.client import open_client
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.tracker import Tracker
from pipeline.trial_status import TrialEnd
from tests.support.pipeline.command_line import REPOSITORY
from tests.support.pipeline.tracking import DATA, FINGERPRINT, SETTINGS, config, settle
from trainables.storage.checkpoints import write_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from search_spaces.space import Space
    from trainables.storage.storage import Storage


OPEN = """
import sys
from pathlib import Path
from pipeline.home import Home
from pipeline.search.study import open_study
from pipeline.tracking.ownership import claim_experiment
from pipeline.tracking.client import open_client

home, name = Home(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
client = open_client(home, None)
open_study(home.study, name, ["minimize"])
claim_experiment(client, home, name)
"""


@pytest.mark.real_processes
def test_drivers_that_start_at_once_in_a_new_home_make_its_databases_once(tmp_path: Path) -> None:
    """The migrations of MLflow and Optuna fail if two processes run them at once."""
    words = [sys.executable, "-c", OPEN, str(tmp_path / "home")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    drivers = [subprocess.Popen([*words, name], cwd=REPOSITORY, text=True, **pipes) for name in "ab"]
    for driver in drivers:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
    for driver in drivers:
        assert driver.stdin is not None
        driver.stdin.write("\n")
        driver.stdin.flush()
    ends = [(driver.communicate(timeout=300)[1], driver.returncode) for driver in drivers]
    assert [code for _, code in ends] == [0, 0], ends
    assert {one.name for one in MlflowClient(Home(tmp_path / "home").tracking).search_experiments()} >= {"a", "b"}


class Watched:
    """A client that may not be used in the thread that made it, once it is armed; the thread that sends may."""

    def __init__(self, client: MlflowClient) -> None:
        self.client, self.tracking_uri, self.armed = client, client.tracking_uri, False
        self.home_thread = threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        assert not self.armed or threading.get_ident() != self.home_thread, f"{name} in the driver's own thread"
        return getattr(self.client, name)


def test_after_the_start_the_driver_never_waits_for_the_server(
    home: Home, space: Space, name: str, storage: Storage, stored: Any, trackers: list[Tracker], track: Any
) -> None:
    before = track()
    before.start_trial(config(space))
    before.log_result("k-00000", {"kimg": 1, "distance": 1.0})
    settle(trackers)
    before.sender.close()
    client: Any = Watched(open_client(home, None))
    tracker = Tracker(client, home, name, space, storage, print)
    trackers.append(tracker)
    tracker.start(SETTINGS, DATA, FINGERPRINT)
    (storage_file := Path(storage.location) / "k-00001" / "a.png").parent.mkdir()
    storage_file.write_bytes(b"picture")
    client.armed = True
    tracker.reconcile("k-00000", TrialEnd("complete"))
    tracker.start_trial(config(space))
    tracker.start_trial(config(space, 1))
    tracker.log_result("k-00001", {"kimg": 1, "distance": 1.0, "pictures": ["a.png"]})
    assert (tracker.last_kimg("k-00000"), tracker.last_kimg("k-00001"), tracker.last_kimg("k-00002")) == (1, 1, 0)
    tracker.finish_trial("k-00001", TrialEnd("complete"))
    tracker.finish("interrupted", TrialEnd("interrupted", "Ctrl-C"))
    assert [run.data.tags["gansweep.status"] for run in stored("trial")] == ["interrupted", "complete"]
    assert tracker.sender.refused == 0
    assert not (home.sweep(name) / "spool").exists()


def test_a_step_is_logged_once_whichever_driver_has_it(
    track: Callable[..., Tracker], space: Space, stored: Any, home: Home, storage: Storage
) -> None:
    for results in ([1, 2], [2, 2, 3], [1, 4]):
        tracker = track()
        tracker.start_trial(config(space))
        for kimg in results:
            tracker.log_result("k-00000", {"kimg": kimg, "distance": float(kimg)})
    write_results(storage.below("k-00000"), [{"kimg": kimg, "distance": float(kimg)} for kimg in range(1, 6)])
    track().start_trial(config(space))
    run = stored("trial")[0].info.run_id
    history = MlflowClient(home.tracking).get_metric_history(run, "distance")
    assert [(point.step, point.value) for point in history] == [(step, float(step)) for step in range(1, 6)]


def test_operations_of_a_dead_driver_are_sent_first_with_their_timestamps(
    track: Callable[..., Tracker],
    space: Space,
    stored: Any,
    home: Home,
    name: str,
    said: list[str],
    trackers: list[Tracker],
) -> None:
    tracker = track()
    tracker.sender.close()  # as if the server did not answer from here on
    spool = Outbox(home.sweep(name) / "spool")
    tracker.sender.spool = spool
    tracker.start_trial(config(space))
    tracker.log_result("k-00000", {"kimg": 3, "distance": 1.5})
    began = time.time() * 1000
    with (home.sweep(name) / "spool" / "operations.jsonl").open("ab") as file:
        file.write(b'{"number": 99, "do": "met')  # cut by a power cut
    again = Tracker(open_client(home, None), home, name, space, tracker.storage, said.append)
    assert "1 damaged line in" in said[0]
    assert "sending 2 writes of an earlier start" in said[1]
    assert again.last_kimg("k-00000") == 3
    trackers[:] = [again]
    run = stored("trial")[0].info.run_id
    (point,) = MlflowClient(home.tracking).get_metric_history(run, "distance")
    assert (point.step, point.value) == (3, 1.5)
    assert point.timestamp <= began + 3  # of three writes, each at least a millisecond after the one before


def test_a_run_that_a_dead_driver_left_open_is_closed(track: Callable[..., Tracker], space: Space, stored: Any) -> None:
    track().start_trial(config(space))
    tracker = track()
    tracker.reconcile("k-00000", TrialEnd("stopped", "by the scheduler"))
    tracker.reconcile("k-00000", TrialEnd("complete"))
    tracker.reconcile("k-00001", TrialEnd("complete"))
    (run,) = stored("trial")
    assert (run.data.tags["gansweep.status"], run.info.status) == ("stopped", "FINISHED")


def test_results_lost_in_a_power_cut_are_restored_from_the_journal(
    track: Callable[..., Tracker], space: Space, stored: Any, storage: Storage
) -> None:
    tracker = track()
    tracker.start_trial(config(space))
    tracker.log_result("k-00000", {"kimg": 1, "distance": 9.0})
    write_results(storage.below("k-00000"), [{"kimg": 1, "distance": 9.0}, {"kimg": 4, "distance": 2.5}])
    tracker = track()  # the study was told of the end; the last result and the end were in no file
    tracker.reconcile("k-00000", TrialEnd("complete"))
    (run,) = stored("trial")
    assert run.data.metrics["distance"] == 2.5
    assert (run.info.status, run.data.tags["gansweep.status"]) == ("FINISHED", "complete")
