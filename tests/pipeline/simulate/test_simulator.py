"""The simulated clock, by closed forms and by histories worked out by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from pipeline.schedulers import RULES
from pipeline.schedulers.base import NoStopping
from pipeline.simulate.recording import Curve, Point
from pipeline.simulate.simulator import FinishedTrial, Limits, SimulatedSweep, simulate
from tests.support.pipeline.curves import MAX, RUNGS, curve, params

if TYPE_CHECKING:
    from collections.abc import Sequence


class InOrder:
    """Returns curves in order, and records what it receives."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        self.curves = list(curves)
        self.told: list[tuple[str, FinishedTrial]] = []

    def suggest(self) -> Curve | None:
        return self.curves.pop(0) if self.curves else None

    def record_end(self, curve: Curve, ended: FinishedTrial) -> None:
        self.told.append((curve.key, ended))


def kept(curves: Sequence[Curve], workers: int, **limits: float) -> SimulatedSweep:
    return simulate(InOrder(curves), NoStopping(), Limits(workers, MAX, **limits), "s")  # type: ignore[arg-type]


def test_one_worker_takes_the_sum_of_all_seconds() -> None:
    course = kept([curve(f"r-{n}", (9, 8, 7), seconds=1.0 + n) for n in range(5)], 1)
    assert course.seconds == MAX * (1 + 2 + 3 + 4 + 5)
    assert course.slot_use(1) == 1.0
    assert course.kimg == 5 * MAX


@pytest.mark.parametrize(("workers", "rounds"), [(1, 12), (3, 4), (4, 3), (5, 3), (12, 1), (256, 1)])
def test_equal_trials_come_in_rounds(workers: int, rounds: int) -> None:
    course = kept([curve(f"r-{n}", (9, 8, 7)) for n in range(12)], workers)
    assert course.seconds == rounds * MAX
    assert course.slot_use(workers) == pytest.approx(12 / (workers * rounds))


def test_a_slot_takes_the_next_trial_as_soon_as_it_is_free() -> None:
    # 90 and 180 s at once; the third begins after 90 s, beside the second, and ends after 90 + 270.
    course = kept([curve("a", (9, 8, 7), 1.0), curve("b", (9, 8, 6), 2.0), curve("c", (9, 8, 5), 3.0)], 2)
    assert [(one.number, one.seconds, one.used_kimg) for one in course.ended] == [
        (0, 90.0, 90 + 45),  # b, at 2 s per kimg, is half-way
        (1, 180.0, 180 + 30),  # c has trained for 90 of its 270 s
        (2, 360.0, 270.0),
    ]
    assert course.seconds == 360.0
    assert course.busy == 90 + 180 + 270


def test_asha_stops_trials_in_the_order_of_simulated_time() -> None:
    # Seconds per kimg put the reports at 10 kimg in the order d, c, b, a, at 10, 20, 30 and 40 s.
    curves = [
        curve("a", (40.0, 30.0, 20.0), 4.0),
        curve("b", (50.0, 40.0, 30.0), 3.0),
        curve("c", (10.0, 9.0, 8.0), 2.0),
        curve("d", (20.0, 5.0, 4.0), 1.0),
    ]
    search = InOrder(curves)
    course = simulate(search, RULES["asha"](RUNGS, MAX), Limits(4, MAX), "s")
    # At 10 kimg: d is alone and goes on; of d and c the best one does, c; of three the best one, not b; of four the
    # best two, c and d, so not a. At 30 kimg d comes first (30 s) and goes on, c (60 s) is second of two: stopped.
    assert [(key, ended.status, ended.kimg, ended.seconds) for key, ended in search.told] == [
        ("b", "stopped", 10, 30.0),
        ("a", "stopped", 10, 40.0),
        ("c", "stopped", 30, 60.0),
        ("d", "complete", 90, 90.0),
    ]
    assert course.kimg == 10 + 10 + 30 + 90


def test_stopped_trials_free_slots_and_report_their_last_scores() -> None:
    search = InOrder([curve("a", (10, 9, 8)), curve("b", (20, 19, 18)), curve("c", (30, 29, 28))])
    course = simulate(search, RULES["asha"](RUNGS, MAX), Limits(1, MAX), "s")
    assert [(key, ended.seconds, ended.scores["distance"]) for key, ended in search.told] == [
        ("a", 90.0, 8), ("b", 100.0, 20), ("c", 110.0, 30),
    ]  # fmt: skip
    assert course.slot_use(1) == 1.0


def test_failed_trials_take_their_time_and_the_kimg_that_was_scored() -> None:
    nothing = Curve("n", params(), (), seconds=7.0)
    short = Curve("s", params(), (Point(10, 10.0, {"distance": 3.0}),), seconds=25.0)
    course = kept([nothing, short, curve("w", (9, 8, 7))], 1)
    assert [(one.status, one.kimg, one.seconds) for one in course.ended] == [
        ("failed", 0, 7.0), ("failed", 10, 32.0), ("complete", 90, 122.0),
    ]  # fmt: skip
    assert course.ended[0].scores == {}


def test_training_between_evaluations_counts() -> None:
    """One fails after 25 s, 10 kimg at a second each; the other's next 20 kimg take 60 s from its tenth on."""
    short = Curve("s", params(), (Point(10, 10.0, {"distance": 3.0}),), seconds=25.0)
    points = ((10, 10.0), (30, 70.0), (90, 100.0))
    uneven = Curve("u", params(), tuple(Point(kimg, at, {"distance": 1.0}) for kimg, at in points))
    course = kept([short, uneven], 2)
    assert [(one.seconds, one.used_kimg) for one in course.ended] == [(25.0, 25 + 15), (100.0, 25 + 90)]
    assert (course.kimg, course.used_kimg) == (10 + 90, 25 + 90)
    cut = kept([short, uneven], 2, seconds=40.0)
    assert cut.used_kimg == 25 + 20


def test_a_trial_ended_by_its_time_limit_is_recorded_as_stopped() -> None:
    slow = Curve("s", params(), (Point(10, 10.0, {"distance": 3.0}),), status="stopped")
    course = kept([slow], 1)
    assert [(one.status, one.kimg, one.scores["distance"]) for one in course.ended] == [("stopped", 10, 3.0)]


@pytest.mark.parametrize(("total", "begun"), [(90, 1), (179, 1), (180, 2), (450, 5)])
@pytest.mark.parametrize("workers", [1, 3, 99])
def test_the_total_is_never_exceeded_and_ends_no_trial(total: int, begun: int, workers: int) -> None:
    course = kept([curve(f"r-{n}", (9, 8, 7)) for n in range(9)], workers, total_kimg=total)
    assert len(course.ended) == begun
    assert {one.status for one in course.ended} == {"complete"}
    assert course.kimg == begun * MAX <= total


def test_budget_of_stopped_trials_goes_to_others() -> None:
    curves = [curve("best", (1, 1, 1)), *(curve(f"r-{n}", (9.0 + n, 8, 7)) for n in range(20))]
    course = simulate(InOrder(curves), RULES["asha"](RUNGS, MAX), Limits(1, MAX, total_kimg=200), "s")
    # 90 for the first; each of the others uses 10 and needs room for 90: 90 + 10 n + 90 <= 200 for n = 0, 1, 2.
    assert [one.kimg for one in course.ended] == [90, 10, 10, 10]


def test_a_time_limit_interrupts_what_runs() -> None:
    course = kept([curve(f"r-{n}", (9, 8, 7)) for n in range(4)], 2, seconds=120.0)
    assert [(one.status, one.kimg) for one in course.ended] == [
        ("complete", 90), ("complete", 90), ("interrupted", 30), ("interrupted", 30),
    ]  # fmt: skip
    assert (course.seconds, course.busy, course.kimg) == (120.0, 240.0, 240.0)


def test_a_number_of_trials_is_a_limit_too() -> None:
    assert len(kept([curve(f"r-{n}", (9, 8, 7)) for n in range(9)], 4, trials=6).ended) == 6


def test_an_empty_sweep_takes_no_time() -> None:
    course = kept([], 4)
    assert (course.ended, course.seconds, course.slot_use(4)) == ([], 0.0, 0.0)
    assert not math.isnan(course.kimg)
