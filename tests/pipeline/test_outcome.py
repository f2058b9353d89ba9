"""How a trial ended: one rule, every case."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.outcome import Outcome, outcome


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
