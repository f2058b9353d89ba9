"""How a trial ended: one rule, every case."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.outcome import Outcome, came_to_its_end, outcome


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        ({"kimg": 10, "distance": 1.0}, "complete", ""),
        ({"kimg": 11}, "complete", ""),
        ({"kimg": 9}, "stopped", "stopped by the scheduler at 9 kimg"),
        ({"kimg": 4, "failure": "diverged: d_loss is nan", "done": True}, "failed", "diverged: d_loss is nan"),
        ({"kimg": 10, "failure": "diverged at the end"}, "failed", "diverged at the end"),
        ({}, "failed", "ended before its first result"),
        (None, "failed", "ended before its first result"),
        ({"distance": 1.0}, "failed", "ended before its first result"),
    ],
)
def test_the_last_result_decides(result: dict[str, Any] | None, status: str, reason: str) -> None:
    assert outcome(result, 10) == Outcome(status, reason)


def test_a_crash_wins_over_any_result() -> None:
    assert outcome({"kimg": 10}, 10, "ValueError: no") == Outcome("failed", "crashed: ValueError: no")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("File x\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.\n",
         "out of memory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB."),
        ("MemoryError", "out of memory: MemoryError"),
        ("Memory on the node was 7 GB / 8 GB, which exceeds the memory usage threshold of 0.95.\nSee the manual.",
         "out of memory: See the manual."),
        ("The actor is dead because its worker process has died. (1) the process was killed by the OOM killer",
         "killed: the system ended the trial's process, most often for want of memory"),
        ("ray.exceptions.ActorUnavailableError: The actor f1 is unavailable: RPC error: Socket closed rpc_code: 14",
         "killed: the system ended the trial's process, most often for want of memory"),
        ("ray.exceptions.ActorDiedError: The actor died because its node has died.",
         "crashed: ray.exceptions.ActorDiedError: The actor died because its node has died."),
        ("", "crashed: worker died"),
        ("ValueError: out of range", "crashed: ValueError: out of range"),
    ],
)  # fmt: skip
def test_want_of_memory_is_told_from_other_crashes(text: str, reason: str) -> None:
    assert outcome(None, 10, text) == Outcome("failed", reason)


def test_a_trial_that_took_too_long_is_stopped_at_its_last_scores() -> None:
    result = {"kimg": 4, "distance": 1.0, "stopped": "out of time: took more than 60 s, 5.1 kimg trained"}
    assert outcome(result, 10) == Outcome("stopped", result["stopped"])


@pytest.mark.parametrize(
    ("ended", "over"),
    [
        (outcome({"kimg": 10}, 10), True),
        (outcome({"kimg": 4, "failure": "diverged: d_loss is nan"}, 10), True),
        (outcome({"kimg": 4, "failure": "collapsed: diversity 0.001"}, 10), True),
        (outcome({"kimg": 4, "failure": "the discriminator has won: its loss was at its floor"}, 10), True),
        (outcome(None, 10), False),
        (outcome(None, 10, "torch.OutOfMemoryError: CUDA out of memory."), False),
        (outcome(None, 10, "The actor died because its worker process has died."), False),
        (outcome(None, 10, "ActorDiedError: The actor died because its node has died."), False),
        (Outcome("interrupted", "Ctrl-C"), False),
        (Outcome("running"), False),
    ],
)
def test_what_ended_with_its_process_is_not_over(ended: Outcome, over: bool) -> None:
    assert came_to_its_end(ended.status, ended.reason) is over
