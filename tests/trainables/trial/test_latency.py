"""The latency of a generator: medians of warm runs of one image, by a clock that the test sets."""

from __future__ import annotations

import pytest
import torch

from trainables.trial.latency import ENOUGH_SECONDS, RUNS, WARMING, latency_ms

INPUTS = (torch.arange(12.0).reshape(4, 3), torch.arange(4).reshape(4, 1))


class Slow:
    """Takes the next of these seconds at each run, by its own clock."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.now, self.runs = seconds, 1e6, 0

    def __call__(self, noise: torch.Tensor, tags: torch.Tensor) -> None:
        assert (noise.tolist(), tags.tolist()) == ([[0.0, 1.0, 2.0]], [[0]])  # one image
        self.now += self.seconds[min(self.runs, len(self.seconds) - 1)]
        self.runs += 1

    def clock(self) -> float:
        return self.now


def test_the_median_of_the_warm_runs_counts() -> None:
    cold, outlier = [9.0] * WARMING, 0.1
    slow = Slow(*cold, outlier, 0.002, 0.004, 0.003, 0.003)
    assert latency_ms(slow, INPUTS, "cpu", slow.clock) == pytest.approx(3.0, abs=1e-3)
    assert slow.runs == WARMING + RUNS


def test_a_slow_network_is_run_only_until_it_is_enough() -> None:
    slow = Slow(0.4 * ENOUGH_SECONDS)
    assert latency_ms(slow, INPUTS, "cpu", slow.clock) == pytest.approx(400 * ENOUGH_SECONDS, abs=1e-3)
    assert slow.runs == WARMING + 3
    slower = Slow(60.0)
    assert latency_ms(slower, INPUTS, "cpu", slower.clock) == 60_000
    assert slower.runs == WARMING + 1


def test_a_clock_that_is_set_back_or_stands_still_gives_no_negative_time() -> None:
    for seconds in (0.0, -3600.0):
        slow = Slow(seconds)
        assert latency_ms(slow, INPUTS, "cpu", slow.clock) == 0
        assert slow.runs == WARMING + RUNS
