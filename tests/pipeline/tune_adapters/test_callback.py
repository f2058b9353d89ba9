"""The driver's handling of results and errors of trials."""

from __future__ import annotations

import io
import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from ray.exceptions import ActorDiedError
from rich.console import Console

from pipeline.tracking.progress import Progress
from pipeline.tune_adapters.callback import SweepCallback
from trainables.storage.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path


class TrackerStub:
    """Records results."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []
        self.nodes: list[str] = []

    def log_result(self, key: str, result: dict[str, Any]) -> None:
        self.results.append(result)

    def start_trial(self, config: dict[str, Any]) -> None:
        """Do nothing."""

    def ran_on(self, key: str, node: str) -> None:
        """Record the node."""
        self.nodes.append(node)

    def open_trial(self, config: dict[str, Any]) -> None:
        """Do nothing."""

    def finish_trial(self, key: str, ended: Any) -> None:
        """Do nothing."""


@pytest.fixture
def printed() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def callback(tmp_path: Path, printed: io.StringIO) -> SweepCallback:
    """A callback for one trial that has left a checkpoint."""
    (tmp_path / "s-00000" / "checkpoints").mkdir(parents=True)
    (tmp_path / "s-00000" / "checkpoints" / "000001.pt").write_bytes(b"state")
    progress = Progress(1, 4, 1, Console(file=printed, width=200, highlight=False))
    progress.__enter__()
    return SweepCallback(TrackerStub(), progress, 4, Storage(str(tmp_path), in_place=True))  # type: ignore[arg-type]


def trial(kimg: int = 4) -> Any:
    return SimpleNamespace(config={"key": "s-00000"}, last_result={"kimg": kimg}, pickled_error_file=None)


def test_a_notice_reaches_the_user_once(callback: SweepCallback, printed: io.StringIO) -> None:
    for result in ({"kimg": 1, "notice": "checkpoint 2 cannot be used"}, {"kimg": 3}):
        callback.on_trial_result(1, [], trial(), result)
    assert printed.getvalue() == "trial s-00000: checkpoint 2 cannot be used\n"


def test_scores_of_an_early_failure_are_logged_and_never_best(callback: SweepCallback, printed: io.StringIO) -> None:
    scored = {"kimg": 2, "samples": 8, "distance": 5.0, "failure": "collapsed: all alike", "done": True}
    callback.on_trial_result(1, [], trial(), {"kimg": 1, "failure": "diverged: d_loss is nan", "done": True})
    callback.on_trial_result(1, [], trial(), scored)
    assert [result["distance"] for result in callback.tracker.results] == [5.0]  # type: ignore[attr-defined]
    assert "best" not in callback.progress.line()


def test_only_checkpoints_of_a_stopped_trial_are_deleted(callback: SweepCallback, tmp_path: Path) -> None:
    callback.on_trial_error(1, [], trial())
    callback.on_trial_complete(1, [], trial(4))  # it may go on when the sweep is extended
    assert [path.name for path in tmp_path.rglob("*.pt")] == ["000001.pt"]
    callback.on_trial_complete(1, [], trial(2))
    assert not list(tmp_path.rglob("*.pt"))


def test_a_fused_trial_ran_on_the_node_of_its_host(callback: SweepCallback) -> None:
    """Tune reports the node of the trial's own process, which is only the proxy."""
    for result in ({"kimg": 1, "hostname": "worker-1"}, {"kimg": 2, "hostname": "worker-1", "node": "worker-7"}):
        callback.on_trial_result(1, [], trial(), result)
    assert callback.tracker.nodes == ["worker-1", "worker-7"]  # type: ignore[attr-defined]


def test_a_reported_crash_is_the_reason_of_the_error_that_follows(
    callback: SweepCallback, printed: io.StringIO
) -> None:
    for repeated in (True, False):
        callback.on_trial_result(1, [], trial(), {"crash": f"crashed: {'first' if repeated else 'second'}"})
        if repeated:
            callback.on_trial_recover(1, [], trial())
    callback.on_trial_error(1, [], trial())
    assert callback.tracker.results == callback.tracker.nodes == []  # type: ignore[attr-defined]
    assert "trial s-00000 failed: crashed: second\n" in printed.getvalue()
    assert "first" not in printed.getvalue()


def test_the_crash_of_a_repeated_trial_is_forgotten(callback: SweepCallback, printed: io.StringIO) -> None:
    callback.on_trial_result(1, [], trial(), {"crash": "crashed: first"})
    callback.on_trial_recover(1, [], trial())
    callback.on_trial_error(1, [], trial())  # its process died
    assert "trial s-00000 failed: crashed: worker died\n" in printed.getvalue()


def test_an_error_of_tune_does_not_get_the_reason_of_an_earlier_attempt(
    callback: SweepCallback, printed: io.StringIO, tmp_path: Path
) -> None:
    """Tune writes no file for its own errors, and leaves that of the first attempt."""
    failed = trial()
    failed.pickled_error_file = str(tmp_path / "error.pkl")
    (tmp_path / "error.pkl").write_bytes(pickle.dumps(ActorDiedError()))
    callback.on_trial_recover(1, [], failed)
    callback.on_trial_error(1, [], failed)
    assert "trial s-00000 failed: crashed: worker died\n" in printed.getvalue()
