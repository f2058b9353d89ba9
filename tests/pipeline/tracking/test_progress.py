"""The progress line and the time left, by hand arithmetic on a clock that the test turns."""

from __future__ import annotations

import io
import math
import random
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from pipeline.console import clock
from pipeline.tracking.progress import Progress
from pipeline.trial_status import TrialEnd

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


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


COMPLETE = TrialEnd("complete")


def test_the_first_line_has_no_estimate(watch: Watch, begin: Callable[..., Progress]) -> None:
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
    watch.now += 80
    assert progress.seconds_left() is None
    progress.result("b", {"kimg": 1, "distance": 7.0, "tag_accuracy": 0.125})
    assert progress.seconds_left() is None  # the first results of both, which the start or the scorer has delayed
    watch.now += 6
    progress.result("a", {"kimg": 6, "distance": 9.0, "tag_accuracy": 0.25})
    assert progress.seconds_left() is None  # 2 kimg, in which the other trial's have no part
    watch.now += 9
    progress.result("b", {"kimg": 4, "distance": 7.0, "tag_accuracy": 0.125})
    # 5 kimg, as many as before, in 15 s; to do: 4 and 6 of the running ones, 2 x 10 of those that wait: 30 kimg.
    assert progress.seconds_left() == pytest.approx(90)
    assert progress.line() == (
        "0/4 trials done, 2 running, best distance 7.00, best tag accuracy 25.0%, about 2 min left"
    )


def test_a_first_trial_that_ends_without_a_result_is_not_waited_for(
    watch: Watch, begin: Callable[..., Progress]
) -> None:
    progress = begin(3)
    progress.started("a")
    progress.started("b")
    progress.result("a", {"kimg": 2})
    progress.ended("b", TrialEnd("failed", "diverged"))
    progress.started("c")
    watch.now += 10
    progress.result("c", {"kimg": 5})
    # 5 kimg in 10 s; by the ended one, which did not train, no trial has anything to do.
    assert progress.seconds_left() == 0
    progress.ended("a", COMPLETE)
    # The mean of the ended is 1 kimg.
    assert progress.seconds_left() == 0
    progress.started("d")
    assert progress.seconds_left() == pytest.approx(2)


def test_after_ends_trials_are_expected_to_take_what_ended_ones_took(
    watch: Watch, begin: Callable[..., Progress]
) -> None:
    progress = begin(5)
    for key, kimg, how in (("a", 10, COMPLETE), ("b", 2, TrialEnd("stopped"))):
        progress.started(key)
        progress.result(key, {"kimg": kimg, "distance": 5.0})
        progress.ended(key, how)
    progress.started("c")
    watch.now += 20
    progress.result("c", {"kimg": 3, "distance": 6.0})
    assert progress.seconds_left() is None
    watch.now += 10
    progress.result("c", {"kimg": 8, "distance": 6.0})
    # 10 kimg in 30 s since the first result of a, which ran alone, as many as that had; the mean of the ended is 6
    # kimg; to do: nothing of c, 2 x 6 of those that wait: 12 kimg.
    assert progress.seconds_left() == pytest.approx(36)
    assert progress.line() == "2/5 trials done, 1 stopped, 1 running, best distance 5.00, about 36 s left"


def test_a_failed_trial_is_counted_and_printed(watch: Watch, begin: Callable[..., Progress]) -> None:
    progress = begin(2)
    progress.started("a")
    progress.ended("a", TrialEnd("failed", "crashed: [odd] text"))
    assert progress.line() == "1/2 trials done, 1 failed, 0 running"
    assert "trial a failed: crashed: [odd] text" in progress.console.file.getvalue()  # type: ignore[attr-defined]


def test_the_last_line_has_no_time_left(watch: Watch, begin: Callable[..., Progress]) -> None:
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
    progress.result("a", {"kimg": 5})
    progress.started("a", 4)
    watch.now += 10
    progress.result("a", {"kimg": 7})
    # 2 kimg took 10 s since the first result, which had 1, so the last 3 take 15.
    assert progress.seconds_left() == pytest.approx(15)


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
    progress.ended("a", TrialEnd("failed", "diverged"))
    assert "best distance 9.00, best tag accuracy 25.0%" in progress.line()


def test_a_resumed_sweep_counts_trials_of_earlier_drivers(watch: Watch, begin: Callable[..., Progress]) -> None:
    progress = begin(3)
    progress.resume(2, {"a": {"samples": 64.0, "distance": 4.0}, "b": {"samples": 32.0, "distance": 1.0}, "c": {}})
    assert progress.line() == "2/5 trials done, 0 running, best distance 4.00"
    progress.started("c", 5)
    progress.result("c", {"kimg": 6, "distance": 5.0, "samples": 64})
    watch.now += 8
    progress.result("c", {"kimg": 10, "distance": 3.0, "samples": 64})
    progress.ended("c", COMPLETE)
    # Only this driver's last 4 kimg were timed: 2 s each, two trials of 10 kimg to come.
    assert progress.seconds_left() == pytest.approx(40)
    assert progress.line() == "3/5 trials done, 0 running, best distance 3.00, about 40 s left"


class Recount:
    """Reference: keeps all events, and computes every answer from all of them."""

    def __init__(self, trials: int, max_kimg: int) -> None:
        self.trials, self.max_kimg = trials, max_kimg
        self.starts: list[tuple[str, float]] = []
        self.results: list[tuple[str, dict[str, float]]] = []
        self.ends: list[tuple[str, str]] = []
        self.open: set[str] = set()
        self.events: list[tuple[float, set[str], str, float]] = []
        """Of each result or end: its time, the trials that run then, its trial, and the kimg of its result."""

    def base(self) -> tuple[float, float] | None:
        """Return when the last of the trials that ran at the first result reported or ended, and the kimg then."""
        first = next((place for place, event in enumerate(self.events) if event[3] >= 0), None)
        if first is None:
            return None
        heard = {key: place for place, (_, _, key, _) in reversed(list(enumerate(self.events))) if place >= first}
        if not self.events[first][1] <= heard.keys():
            return None
        last = max(heard[key] for key in self.events[first][1])
        starts = dict(reversed(self.starts))
        reached = {key: kimg for _, _, key, kimg in self.events[: last + 1] if kimg >= 0}
        return self.events[last][0], sum(kimg - starts[key] for key, kimg in reached.items())

    def line(self, now: float) -> str:
        first = dict(reversed(self.starts))
        reached = {**first, **{key: result["kimg"] for key, result in self.results}}
        counts = Counter(status for _, status in self.ends)
        parts = [f"{len(self.ends)}/{self.trials} trials done"]
        parts += [f"{counts[status]} {status}" for status in ("stopped", "failed") if counts[status]]
        parts.append(f"{len(self.open)} running")
        failed = {key for key, status in self.ends if status == "failed"}
        last = {key: result for key, result in self.results if key not in failed}
        most = [one for one in last.values() if one["samples"] == max(one["samples"] for one in last.values())]
        if most:
            parts.append(f"best distance {min(one['distance'] for one in most):.2f}")
            parts.append(f"best tag accuracy {max(one['tag_accuracy'] for one in most):.1%}")
        since, before = self.base() or (0.0, math.inf)
        done = sum(reached[key] - first[key] for key in reached) - before
        if done > 0 and done >= before and (self.open or len(self.ends) < self.trials):
            mean = sum(reached[key] for key, _ in self.ends) / len(self.ends) if self.ends else self.max_kimg
            to_do = sum(max(0.0, mean - reached[key]) for key in self.open)
            to_do += max(0, self.trials - len(self.ends) - len(self.open)) * mean
            parts.append(f"about {clock(to_do * (now - since) / done)} left")
        return ", ".join(parts)


@pytest.mark.parametrize("seed", range(10))
def test_the_counts_are_those_of_a_recount(seed: int, watch: Watch, begin: Callable[..., Progress]) -> None:
    draw = random.Random(seed)
    progress, recount = begin(40, max_kimg=64), Recount(40, 64)
    waiting = [f"t{number}" for number in range(40)]
    reached: dict[str, float] = {}
    while waiting or recount.open:
        watch.now += draw.randrange(1, 8)
        if waiting and (len(recount.open) < 3 or draw.random() < 0.2):
            key = waiting.pop()
            reached[key] = float(draw.choice((0, 0, 8)))
            recount.open.add(key)
            recount.starts.append((key, reached[key]))
            progress.started(key, reached[key])
        key = draw.choice(sorted(recount.open))
        happens = draw.random()
        if happens < 0.05:  # its worker died, and it goes on from before
            recount.starts.append((key, 0.0))
            progress.started(key, 0.0)
        elif happens < 0.8:
            reached[key] += draw.randrange(1, 9)
            result = {"kimg": reached[key], "distance": draw.randrange(90) + 0.5, "tag_accuracy": draw.random(),
                      "samples": 64.0 if reached[key] > 20 else 32.0}  # fmt: skip
            recount.results.append((key, result))
            recount.events.append((watch.now, set(recount.open), key, reached[key]))
            progress.result(key, result)
        else:
            status = draw.choice(("complete", "stopped", "failed"))
            recount.open.remove(key)
            recount.ends.append((key, status))
            recount.events.append((watch.now, set(recount.open), key, -1.0))
            progress.ended(key, TrialEnd(status, "for no reason" if status == "failed" else None))
        assert progress.line() == recount.line(watch.now)


def lines_run(progress: Progress, events: Callable[[], object]) -> int:
    """Lines of the counting code that are run, loops inside expressions with every turn."""
    files, count = (
        {sys.modules[name].__file__ for name in ("pipeline.tracking.progress", "pipeline.tracking.best_scores")},
        0,
    )

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event in ("line", "call") and frame.f_code.co_filename in files
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        events()
    finally:
        sys.settrace(before)
    return count


def test_the_cost_of_an_event_does_not_grow_with_the_trials(begin: Callable[..., Progress]) -> None:
    found = []
    for trials in (20, 2000):
        progress = begin(trials + 1)
        for number in range(trials):
            progress.started(str(number))
            progress.result(str(number), {"kimg": 10, "distance": 1.0 + number, "tag_accuracy": 0.5, "samples": 64})
            progress.ended(str(number), COMPLETE)

        def events(progress: Progress = progress) -> None:
            progress.started("x")
            progress.result("x", {"kimg": 5, "distance": 0.5, "tag_accuracy": 0.75, "samples": 64})
            assert "best distance 0.50" in progress.line()
            progress.ended("x", COMPLETE)
            progress.line()

        found.append(lines_run(progress, events))
    assert found[0] == found[1] > 0


def test_without_a_terminal_lines_are_printed_at_intervals(watch: Watch, begin: Callable[..., Progress]) -> None:
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


def test_what_runs_beside_the_trials_is_shown_while_they_run(watch: Watch) -> None:
    file = io.StringIO()
    progress = Progress(4, 10, 2, Console(file=file, width=200), beside=lambda: "tag classifier: 40%, 60 s left")
    watch.now += 1000
    progress.show()
    assert file.getvalue() == ""
    with progress:
        watch.now += 31
        progress.show()
        watch.now += 29
        progress.show()
        assert file.getvalue() == "0/4 trials done, 0 running, tag classifier: 40%, 60 s left\n"
        progress.beside = str
    watch.now += 1000
    progress.show()
    assert file.getvalue().splitlines()[1:] == ["0/4 trials done, 0 running"]
