"""Expected training by hand: what a rule leaves of trials in random order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipeline.plan.early_stopping import Range, simulate_sweeps
from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.settings import SweepSettings

if TYPE_CHECKING:
    from pipeline.simulate.simulator import SimulatedSweep

SECONDS = [[11.0, 33.0, 99.0]]  # 1.1 s per kimg, at 10, 30 and 90


def settings(**changes: Any) -> SweepSettings:
    usual = {"trials": 9, "max_kimg": 90, "concurrent": 3, "scheduler": "asha"}
    return SweepSettings("acgan", Path("d"), "s", **{**usual, **changes})


def simulated(settings: SweepSettings, trials: int, *rest: Any) -> list[SimulatedSweep]:
    slots = settings.resource_request().use_cores().slots
    return simulate_sweeps(settings.scheduler, resolve_budget(settings), slots, trials, *rest)


def test_without_stopping_everything_follows_from_the_numbers() -> None:
    for course in simulated(settings(scheduler="none"), 9, SECONDS, 0.0):
        assert (course.kimg, course.seconds, len(course.ended)) == (9 * 90, pytest.approx(3 * 99.0), 9)


def test_halving_lets_a_third_go_on_at_each_rung() -> None:
    """Many trials on one slot: 10 kimg for all, 20 more for a third, 60 more for a ninth, and a few early birds."""
    courses = simulated(settings(trials=900, concurrent=1), 900, SECONDS, 0.0)
    mean = np.mean([course.kimg for course in courses]) / 900
    # The n-th at a rung goes on with probability ceil(n / 3) / n, a third and at most 2/(3 n) more.
    assert 10 + 20 / 3 + 60 / 9 < mean < 10 + 20 / 3 + 60 / 9 + 1.0


def test_limits_hold() -> None:
    by_time = simulated(settings(scheduler="none", time_limit="150s"), 9, SECONDS, 0.0)
    assert {course.seconds for course in by_time} == {150.0}
    assert {course.kimg for course in by_time} == {3 * 90 + 3 * 30}
    total = simulated(settings(scheduler="none", total_kimg=500), 9, SECONDS, 0.0)
    assert {course.kimg for course in total} == {450}
    slow = simulated(settings(scheduler="none", max_trial_seconds=50.0), 9, SECONDS, 0.0)
    assert {(course.kimg, course.seconds) for course in slow} == {(9 * 30, 150.0)}
    assert {one.status for course in slow for one in course.ended} == {"stopped"}
    never = simulated(settings(scheduler="none", max_trial_seconds=5.0), 9, SECONDS, 0.0)
    assert {one.status for course in never for one in course.ended} == {"failed"}


@pytest.mark.parametrize("scheduler", ["asha", "mo-asha", "hyperband", "median", "pbt", "none"])
def test_every_scheduler_is_planned_and_none_exceeds_the_whole(scheduler: str) -> None:
    courses = simulated(settings(scheduler=scheduler, eval_kimg=10), 9, [[float(n) for n in range(1, 10)]], 0.0)
    assert all(9 * 10 <= course.kimg <= 9 * 90 for course in courses)
    to_the_end = scheduler in ("pbt", "none")
    assert all(course.kimg == 810 for course in courses) is to_the_end


def test_the_error_of_seconds_spreads_hours_and_not_training() -> None:
    courses = simulated(settings(scheduler="none"), 9, SECONDS, 0.5)
    logs = np.log([course.seconds / 297.0 for course in courses])
    assert 0.3 < logs.std() < 0.7
    assert {course.kimg for course in courses} == {810}


def test_seeds_decide() -> None:
    def kimg(seed: int) -> list[float]:
        return [course.kimg for course in simulated(settings(), 9, SECONDS, 0.1, seed)]

    assert kimg(1) == kimg(1) != kimg(2)


def test_ranges_are_a_median_and_the_middle_nine_tenths() -> None:
    assert Range.of([float(n) for n in range(101)]) == Range(50.0, 5.0, 95.0)
