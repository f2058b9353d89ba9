"""What the driver does with what trials report."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from pipeline.callback import SweepCallback
from pipeline.progress import Progress
from trainables.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path


class TrackerStub:
    """Remembers results."""

    def __init__(self) -> None:
        self.results: list[dict[str, Any]] = []
        self.nodes: list[str] = []

    def log_result(self, key: str, result: dict[str, Any]) -> None:
        self.results.append(result)

    def start_trial(self, config: dict[str, Any]) -> None:
        """It is known."""

    def ran_on(self, key: str, node: str) -> None:
        """On some node."""
        self.nodes.append(node)

    def open_trial(self, config: dict[str, Any]) -> None:
        """It is known."""

    def finish_trial(self, key: str, ended: Any) -> None:
        """It is over."""


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


def trial(kimg: int = 4, error: str | None = None) -> Any:
    return SimpleNamespace(config={"key": "s-00000"}, last_result={"kimg": kimg}, error_file=error)


def test_a_notice_reaches_the_user_once(callback: SweepCallback, printed: io.StringIO) -> None:
    for result in ({"kimg": 1, "notice": "checkpoint 2 cannot be used"}, {"kimg": 3}):
        callback.on_trial_result(1, [], trial(), result)
    assert printed.getvalue() == "trial s-00000: checkpoint 2 cannot be used\n"


def test_scores_of_a_trial_beyond_hope_are_logged_and_are_not_the_best(
    callback: SweepCallback, printed: io.StringIO
) -> None:
    scored = {"kimg": 2, "samples": 8, "distance": 5.0, "failure": "collapsed: all alike", "done": True}
    callback.on_trial_result(1, [], trial(), {"kimg": 1, "failure": "diverged: d_loss is nan", "done": True})
    callback.on_trial_result(1, [], trial(), scored)
    assert [result["distance"] for result in callback.tracker.results] == [5.0]  # type: ignore[attr-defined]
    assert "best" not in callback.progress.line()


def test_checkpoints_of_a_stopped_trial_go_and_those_of_a_crashed_or_complete_one_stay(
    callback: SweepCallback, tmp_path: Path
) -> None:
    callback.on_trial_error(1, [], trial())
    callback.on_trial_complete(1, [], trial(4))  # it may go on when the sweep is extended
    assert [path.name for path in tmp_path.rglob("*.pt")] == ["000001.pt"]
    callback.on_trial_complete(1, [], trial(2))
    assert not list(tmp_path.rglob("*.pt"))


def test_a_fused_trial_ran_on_the_node_of_its_host(callback: SweepCallback) -> None:
    """Tune says for every trial where its own process is, which only asks."""
    for result in ({"kimg": 1, "hostname": "worker-1"}, {"kimg": 2, "hostname": "worker-1", "node": "worker-7"}):
        callback.on_trial_result(1, [], trial(), result)
    assert callback.tracker.nodes == ["worker-1", "worker-7"]  # type: ignore[attr-defined]
