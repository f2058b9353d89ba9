"""Slot utilization of a sweep by hand arithmetic, with a clock that the test sets."""

from __future__ import annotations

import pytest

from pipeline.tracking.slot_utilization import SlotUtilization


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def report(use: SlotUtilization, clock: Clock, at: float, train: float, score: float) -> None:
    clock.now = 1000.0 + at
    use.result({"kimg": 1, "seconds": 99.0, "train_seconds": train, "score_seconds": score})


def test_two_slots_of_100_seconds_with_90_and_60_used(clock: Clock) -> None:
    use = SlotUtilization(2, clock=clock)
    assert use.figures() == {}
    clock.now = 1000.0
    use.ready()
    clock.now = 1004.0
    use.ready()  # the second slot was late, which is lost
    report(use, clock, 50, 38.0, 2.0)
    report(use, clock, 64, 57.0, 3.0)  # the second slot's only trial
    report(use, clock, 100, 47.5, 2.5)
    clock.now = 5000.0  # nothing after the last result counts
    # First slot 40 + 50, second 60, of 2 * 100.
    assert use.figures() == {"slot_use": 0.75, "slot_seconds": 200.0, "busy_seconds": 150.0}


def test_one_slot_that_never_waits_is_wholly_used(clock: Clock) -> None:
    use = SlotUtilization(1, clock=clock)
    use.ready()
    for end in (10, 20, 30):
        report(use, clock, end, 8.0, 2.0)
    assert use.figures()["slot_use"] == 1.0


def test_what_died_without_a_result_is_lost(clock: Clock) -> None:
    use = SlotUtilization(1, clock=clock)
    use.ready()
    report(use, clock, 10, 10.0, 0.0)
    clock.now = 1030.0
    use.ready()  # again, after 20 seconds that came to nothing
    report(use, clock, 40, 10.0, 0.0)
    use.result({"kimg": 1, "failure": "killed"})
    assert use.figures()["slot_use"] == 0.5


def test_drivers_of_one_sweep_add_up_without_the_time_between_them(clock: Clock) -> None:
    first = SlotUtilization(2, clock=clock)
    first.ready()
    report(first, clock, 100, 90.0, 10.0)  # 100 of 200
    clock.now = 9000.0
    second = SlotUtilization(4, known=first.figures(), clock=clock)
    assert second.figures() == first.figures()
    second.ready()
    report(second, clock, 8025, 80.0, 20.0)  # 100 of 4 * 25
    assert second.figures() == {"slot_use": 200 / 300, "slot_seconds": 300.0, "busy_seconds": 200.0}


def test_it_is_logged_once_a_minute(clock: Clock) -> None:
    use = SlotUtilization(1, clock=clock)
    use.ready()
    due = []
    for clock.now in (1010.0, 1059.0, 1060.0, 1061.0, 1119.0, 1120.0):
        due.append(use.due())
    assert due == [False, False, True, False, False, True]
