"""The progress line and the time left, by hand arithmetic on a clock that the test turns."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from pipeline.outcome import Outcome
from pipeline.progress import Progress, clock

if TYPE_CHECKING:
    from collections.abc import Callable


class Watch:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr("time.monotonic", made)
    return made


@pytest.fixture
def begin() -> Callable[..., Progress]:
    def make(trials: int, max_kimg: int = 10, slots: int = 2) -> Progress:
        return Progress(trials, max_kimg, slots, Console(file=io.StringIO(), width=200)).__enter__()

    return make


COMPLETE = Outcome("complete")


def test_at_first_nothing_is_known(watch: Watch, begin: Callable[..., Progress]) -> None:
    progress = begin(4)
    assert progress.seconds_left() is None
    progress.started("a")
    assert progress.seconds_left() is None
    assert progress.line() == "0/4 trials done, 1 running"


def test_before_any_end_every_trial_is_expected_to_take_the_whole_budget(
    watch: Watch, begin: Callable[..., Progress]
) -> None:
    progress = begin(4)
    progress.started("a")
    progress.started("b")
    watch.now += 20
    progress.result("a", {"kimg": 4, "distance": 9.0, "tag_accuracy": 0.25})
    progress.result("b", {"kimg": 1, "distance": 7.0, "tag_accuracy": 0.125})
    # 5 kimg in 20 s; to do: 6 and 9 of the running ones, 2 x 10 of those that wait: 35 kimg at 4 s each.
    assert progress.seconds_left() == pytest.approx(140)
    assert progress.line() == (
        "0/4 trials done, 2 running, best distance 7.00, best tag accuracy 25.0%, about 2 min left"
    )


def test_after_ends_trials_are_expected_to_take_what_ended_ones_took(
    watch: Watch, begin: Callable[..., Progress]
) -> None:
    progress = begin(5)
    for key, kimg, how in (("a", 10, COMPLETE), ("b", 2, Outcome("stopped"))):
        progress.started(key)
        progress.result(key, {"kimg": kimg, "distance": 5.0})
        progress.ended(key, how)
    progress.started("c")
    progress.result("c", {"kimg": 3, "distance": 6.0})
    watch.now += 30
    # 15 kimg in 30 s; the mean of the ended is 6 kimg; to do: 3 of c, 2 x 6 of those that wait: 15 kimg at 2 s each.
    assert progress.seconds_left() == pytest.approx(30)
    assert progress.line() == "2/5 trials done, 1 stopped, 1 running, best distance 5.00, about 30 s left"


def test_a_failed_trial_is_counted_and_said(watch: Watch, begin: Callable[..., Progress]) -> None:
    progress = begin(2)
    progress.started("a")
    progress.ended("a", Outcome("failed", "crashed: [odd] text"))
    assert progress.line() == "1/2 trials done, 1 failed, 0 running"
    assert "trial a failed: crashed: [odd] text" in progress.console.file.getvalue()  # type: ignore[attr-defined]


def test_at_the_end_no_time_is_left(watch: Watch, begin: Callable[..., Progress]) -> None:
    progress = begin(1)
    progress.started("a")
    progress.result("a", {"kimg": 10, "distance": 3.5})
    progress.ended("a", COMPLETE)
    watch.now += 5
    assert progress.line() == "1/1 trials done, 0 running, best distance 3.50"
    progress.__exit__()
    assert progress.console.file.getvalue().endswith("best distance 3.50\n")  # type: ignore[attr-defined]


def test_a_trial_that_is_started_again_is_counted_once(watch: Watch, begin: Callable[..., Progress]) -> None:
    progress = begin(1)
    progress.started("a", 4)
    progress.started("a", 4)
    progress.result("a", {"kimg": 6})
    watch.now += 10
    # 2 of the remaining 6 kimg took 10 s, so the last 4 take 20.
    assert progress.seconds_left() == pytest.approx(20)


def test_the_best_is_of_the_scores_on_most_samples(begin: Callable[..., Progress]) -> None:
    progress = begin(2)
    for key, samples, distance in (("a", 256, 1.0), ("a", 2048, 7.0), ("b", 256, 2.0), ("b", 2048, 8.0)):
        progress.result(key, {"kimg": 5, "distance": distance, "samples": samples})
    assert "best distance 7.00" in progress.line()


def test_the_best_is_of_the_last_scores_as_a_ranking_has_it(begin: Callable[..., Progress]) -> None:
    progress = begin(2)
    for kimg, distance, accuracy in ((5, 3.0, 0.75), (10, 7.0, 0.5)):
        progress.result("a", {"kimg": kimg, "distance": distance, "tag_accuracy": accuracy, "samples": 64})
    progress.result("b", {"kimg": 5, "distance": 9.0, "tag_accuracy": 0.25, "samples": 64})
    assert "best distance 7.00, best tag accuracy 50.0%" in progress.line()
    progress.ended("a", Outcome("failed", "diverged"))
    assert "best distance 9.00, best tag accuracy 25.0%" in progress.line()


def test_a_sweep_that_goes_on_counts_what_earlier_drivers_have_done(
    watch: Watch, begin: Callable[..., Progress]
) -> None:
    progress = begin(3)
    progress.go_on(2, {"a": {"samples": 64.0, "distance": 4.0}, "b": {"samples": 32.0, "distance": 1.0}, "c": {}})
    assert progress.line() == "2/5 trials done, 0 running, best distance 4.00"
    progress.started("c", 5)
    progress.result("c", {"kimg": 10, "distance": 3.0, "samples": 64})
    progress.ended("c", COMPLETE)
    watch.now += 10
    # Only this driver's 5 kimg were timed: 2 s each, two trials of 10 kimg to come.
    assert progress.seconds_left() == pytest.approx(40)
    assert progress.line() == "3/5 trials done, 0 running, best distance 3.00, about 40 s left"


def test_without_a_terminal_a_line_comes_only_now_and_then(watch: Watch, begin: Callable[..., Progress]) -> None:
    progress = begin(1)
    for second in range(61):
        watch.now = 1000.0 + second
        progress.result("a", {"kimg": second})
    assert progress.console.file.getvalue().count("\n") == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (7140, "119 min"), (7200, "2 h 00 min"),
     (11100, "3 h 05 min")],
)  # fmt: skip
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
