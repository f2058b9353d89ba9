"""How a trial ended: one rule, every case."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import torch

from pipeline.trial_status import TrialEnd, crash_reason, is_final, outcome
from trainables.errors import DiskError, ScorerError, UserError


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        ({"kimg": 10, "distance": 1.0}, "complete", ""),
        ({"kimg": 11}, "complete", ""),
        ({"kimg": 9}, "stopped", "stopped by the scheduler at 9 kimg"),
        ({"kimg": 40.5, "cost_kimg": 9}, "stopped", "stopped by the scheduler at 9 kimg of the recipe"),
        ({"kimg": 0.7, "cost_kimg": 10}, "complete", ""),
        ({"kimg": 4, "failure": "diverged: d_loss is nan", "done": True}, "failed", "diverged: d_loss is nan"),
        ({"kimg": 10, "failure": "diverged at the end"}, "failed", "diverged at the end"),
        ({}, "failed", "ended before its first result"),
        (None, "failed", "ended before its first result"),
        ({"distance": 1.0}, "failed", "ended before its first result"),
    ],
)
def test_the_last_result_decides(result: dict[str, Any] | None, status: str, reason: str) -> None:
    assert outcome(result, 10) == TrialEnd(status, reason)


def test_a_crash_wins_over_any_result() -> None:
    assert outcome({"kimg": 10}, 10, "crashed: ValueError: no") == TrialEnd("failed", "crashed: ValueError: no")


def test_a_reported_crash_is_the_end_of_a_trial_that_was_stopped_before_it_raised() -> None:
    assert outcome({"crash": "crashed: x", "done": True}, 10) == TrialEnd("failed", "crashed: x")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nSee the documentation"),
         "out of memory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB."),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
         "out of memory: RuntimeError: [enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        (MemoryError(), "out of memory: MemoryError"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory: OSError: [Errno 12] Cannot allocate memory"),
        (OSError(errno.ENOSPC, "No space left"), "environment: [Errno 28] No space left"),
        (OSError(errno.EROFS, "Read-only"), "environment: [Errno 30] Read-only"),
        (OSError(errno.EDQUOT, "Quota"), f"environment: [Errno {errno.EDQUOT}] Quota"),
        (OSError(errno.EIO, "Input/output"), "environment: [Errno 5] Input/output"),
        (DiskError("cannot write x: no space left"), "environment: cannot write x: no space left"),
        (ScorerError("no scorer after 4 h of waiting"), "environment: no scorer after 4 h of waiting"),
        (OSError(errno.EACCES, "Denied"), "crashed: PermissionError: [Errno 13] Denied"),
        (UserError("cannot write config.json"), "crashed: trainables.errors.UserError: cannot write config.json"),
        (ValueError("out of memory is no word for this"), "crashed: ValueError: out of memory is no word for this"),
        (KeyError("x" * 999), f"crashed: {f'KeyError: {chr(39)}' + 'x' * 289}"),
    ],
)  # fmt: skip
def test_out_of_memory_is_distinguished_from_other_crashes(error: Exception, reason: str) -> None:
    assert crash_reason(error) == reason


def test_a_fault_of_the_disk_interrupts_a_trial() -> None:
    assert outcome({"kimg": 4}, 10, "environment: full") == TrialEnd("interrupted", "environment: full")


def test_a_crash_without_a_reason_has_a_kind() -> None:
    assert outcome(None, 10, "") == TrialEnd("failed", "crashed: worker died")


def test_a_trial_that_took_too_long_is_stopped_at_its_last_scores() -> None:
    result = {"kimg": 4, "distance": 1.0, "stopped": "out of time: took more than 60 s, 5.1 kimg trained"}
    assert outcome(result, 10) == TrialEnd("stopped", result["stopped"])


@pytest.mark.parametrize(
    ("ended", "over"),
    [
        (outcome({"kimg": 10}, 10), True),
        (outcome({"kimg": 4, "failure": "diverged: d_loss is nan"}, 10), True),
        (outcome({"kimg": 4, "failure": "collapsed: diversity 0.001"}, 10), True),
        (outcome({"kimg": 4, "failure": "the discriminator has won: its loss was at its floor"}, 10), True),
        (outcome(None, 10), False),
        (outcome(None, 10, crash_reason(torch.OutOfMemoryError("CUDA out of memory."))), False),
        (outcome(None, 10, "killed: the process ended"), False),
        (outcome(None, 10, crash_reason(ValueError("x"))), False),
        (outcome(None, 10, crash_reason(OSError(errno.ENOSPC, "full"))), False),
        (TrialEnd("interrupted", "Ctrl-C"), False),
        (TrialEnd("running"), False),
    ],
)
def test_what_ended_with_its_process_is_not_over(ended: TrialEnd, over: bool) -> None:
    assert is_final(ended.status, ended.reason) is over
