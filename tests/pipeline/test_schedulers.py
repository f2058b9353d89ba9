"""Rungs of the schedulers, by hand, and whom they stop."""

from __future__ import annotations

from types import SimpleNamespace
from unittest import mock

import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from pipeline.schedulers import make_scheduler


def stopped(scheduler: TrialScheduler, kimg: int, distances: list[float]) -> list[bool]:
    """Whether each of several trials is stopped when they report one after the other at the same kimg."""
    verdicts = []
    for place, distance in enumerate(distances):
        trial = SimpleNamespace(trial_id=f"t{place}{distance}")
        scheduler.on_trial_add(mock.Mock(), trial)
        result = {"kimg": kimg, "distance": distance, "training_iteration": 1}
        verdicts.append(scheduler.on_trial_result(mock.Mock(), trial, result) == TrialScheduler.STOP)
    return verdicts


def test_no_scheduler_stops_nobody() -> None:
    scheduler = make_scheduler("none", 90, 10)
    assert isinstance(scheduler, FIFOScheduler)
    assert stopped(scheduler, 10, [1.0, 2.0, 3.0, 4.0]) == [False] * 4


@pytest.mark.parametrize(
    ("max_kimg", "eval_kimg", "rungs"),
    [(90, 10, [10, 30, 90]), (90, 20, [20, 60]), (36, 12, [12, 36]), (2, 1, [1]), (1, 1, [])],
)
def test_asha_has_rungs_at_a_ninth_a_third_and_the_whole(max_kimg: int, eval_kimg: int, rungs: list[int]) -> None:
    scheduler = make_scheduler("asha", max_kimg, eval_kimg)
    assert isinstance(scheduler, ASHAScheduler)
    milestones = sorted(milestone for milestone, _ in scheduler._brackets[0]._rungs)
    # A rung at the whole budget stops nobody: who is there has ended.
    assert [m for m in milestones if m < max_kimg] == [r for r in rungs if r < max_kimg]


def test_asha_goes_on_with_the_best_third_of_those_seen() -> None:
    scheduler = make_scheduler("asha", 90, 10)
    # Cut-offs are the 33rd percentile of what was recorded: after 5 and 6 it is 5.33, after 5, 6, 7 it is 5.67.
    assert stopped(scheduler, 10, [5.0, 6.0, 7.0, 4.0, 5.5]) == [False, True, True, False, True]


def test_asha_leaves_trials_alone_between_rungs() -> None:
    scheduler = make_scheduler("asha", 90, 10)
    stopped(scheduler, 10, [5.0, 1.0])
    assert stopped(scheduler, 9, [100.0]) == [False]
