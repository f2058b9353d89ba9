"""Scores that are prepared beside the first trials."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from optuna.trial import TrialState
from rich.console import Console

from pipeline.sweep import prepare, scoring_task
from pipeline.sweep.scoring_task import ScoringTask
from pipeline.tune_adapters import late_scorer
from tests.support.pipeline.sweep import sweep, tiny_settings
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.sweep.scoring import Scoring


def prepare_late(patch: pytest.MonkeyPatch, finish: Callable[[ScoringTask, Callable[[], Scoring]], None]) -> None:
    """Let a thread end the task by ``finish``, not before the trials run, whatever the cache has."""

    def start(request: dict[str, Any], read: Callable[[], Scoring]) -> ScoringTask:
        task = ScoringTask()
        before = task.listen

        def follow() -> None:
            while task.listen is before:
                time.sleep(0.02)
            task.listen()  # maybe before anything is displayed
            finish(task, read)

        threading.Thread(target=follow, daemon=True).start()
        return task

    patch.setattr(prepare, "is_cached", lambda sweep, images: False)
    patch.setattr(prepare, "beats_chance", lambda sweep, images: True)
    patch.setattr(ScoringTask, "start", start)


def test_trials_wait_for_a_scorer_that_comes_after_they_started(
    home_with_classifier: Path, faces: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(home_with_classifier, faces, "late", trials=1, max_kimg=1)
    prepare_late(monkeypatch, lambda task, read: task.future.set_result(read()))
    swept = sweep(settings)
    assert swept.status == "complete"
    beside, accuracy = "prepared beside the first trials", "  accuracy on"
    assert swept.printed.index(beside) < swept.printed.index(accuracy) < swept.printed.index("1/1 trials done")
    (run,), (parent,) = swept.runs(), swept.runs("sweep")
    assert run.data.metrics["tag_accuracy"] == swept.trials()[0].values[1]
    assert run.data.tags["gansweep.fingerprint"] == parent.data.tags["gansweep.fingerprint"]
    assert len(json.loads(run.data.tags["gansweep.fingerprint"])["judge"]) == 16
    (path,) = swept.home.artifacts("late").rglob("data.json")
    data = json.loads(path.read_text())
    assert data["judge"]["held_out"] > 0
    assert data["floor"]["samples"] > 0


def test_a_sweep_without_a_scorer_ends_with_the_reason_and_goes_on_later(
    home_with_classifier: Path, faces: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(home_with_classifier, faces, "scorerless", trials=1, max_kimg=1)
    with monkeypatch.context() as patch:
        prepare_late(patch, lambda task, read: task.future.set_exception(UserError("the tag classifier diverged")))
        with pytest.raises(UserError, match="the tag classifier diverged"):
            sweep(settings)
    swept = sweep(settings)
    assert swept.status == "complete"
    (run,), (trial,) = swept.runs(), swept.trials()
    assert (run.data.tags["gansweep.status"], trial.state) == ("complete", TrialState.COMPLETE)
    assert "gansweep.fingerprint" in run.data.tags


def test_a_stage_that_waits_counts_the_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process writes its lines without times; the stage that shows them, or the sweep's line, adds one."""
    shown: list[str] = []
    monkeypatch.setattr(scoring_task, "show_stage", lambda *_: contextlib.nullcontext(shown.append))
    for line in ("tag classifier: 3 of 8 rounds", "near-duplicates among 9 images: 4 s"):
        task = ScoringTask()
        assert task.progress() == ""
        task._progress = line
        assert re.fullmatch(rf"{line} \(\d+ s so far\)", task.progress())
        task.future.cancel()
        assert task.progress() == ""
        with contextlib.suppress(CancelledError):
            task.wait(Console(quiet=True))
        task.listen()
    assert shown == ["tag classifier: 3 of 8 rounds", "near-duplicates among 9 images: 4 s"]


def test_a_scorer_that_comes_after_the_sweep_starts_no_other_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = mock.MagicMock()
    monkeypatch.setattr(late_scorer, "ray", stub)
    for end in (True, False):
        future: Future[Any] = Future()
        with late_scorer.provide_scorer(future):
            if not end:
                future.set_result(mock.Mock(scorer="the scorer"))
        if end:
            future.set_result(mock.Mock(scorer="of an ended sweep"))
    stub.put.assert_called_once_with("the scorer")
    assert stub.kill.call_count == 2


def test_the_process_does_not_end_by_a_signal_to_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(words: list[str], **options: Any) -> subprocess.Popen[str]:
        blocked.append(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        return started(["true"], **options)

    blocked: list[bool] = []
    started = subprocess.Popen
    monkeypatch.setattr("pipeline.sweep.scoring_task.subprocess.Popen", start)
    task = ScoringTask.start({}, lambda: "the scoring")  # type: ignore[arg-type, return-value]
    assert task.future.result(timeout=60) == "the scoring"
    assert blocked == [True]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.slow
@pytest.mark.real_processes
def test_the_process_says_in_one_line_why_it_failed(home_with_classifier: Path, faces: Path) -> None:
    settings = tiny_settings(home_with_classifier, faces, "changed")
    task = ScoringTask.start({"settings": settings.to_json(), "fingerprint": "of other images"}, pytest.fail)
    with pytest.raises(UserError, match=r"^cannot prepare the scores of trials: the images of .*faces changed"):
        task.future.result(timeout=300)
    assert task.progress() == ""
    assert not task.ready
