"""Live progress of a sweep on stderr: trials by state, best so far on both objectives, time left."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis import schema
from pipeline.console import clock
from pipeline.tracking.best_scores import BestScores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.status import Status

    from pipeline.trial_status import TrialEnd

EVERY_SECONDS = 30.0
"""Seconds between two lines if stderr is not a terminal."""


@dataclass
class Progress:
    """Counts trials and estimates the time left; a spinner on a terminal, else a line now and then.

    Counts are incremental: an event costs time in the number of running trials, not of all trials.

    Args:
        trials: number of trials to run.
        max_kimg: budget of each trial.
        slots: number of trials that run at once.
    """

    trials: int
    max_kimg: int
    slots: int
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    beside: Callable[[], str] = str
    """Returns the progress of what runs beside the trials, or an empty string."""
    _earlier: int = 0
    _kimg: dict[str, float] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _ended: Counter[str] = field(default_factory=Counter)
    _best_scores: BestScores = field(default_factory=BestScores)
    _status: Status | None = None
    _printed: float = math.inf
    """When the last line was printed; outside the ``with`` block nothing is."""
    _done_kimg: float = 0.0
    _ended_kimg: float = 0.0
    _first: set[str] | None = None
    """Trials that ran at the first result and have not reported since; ``None`` before it."""
    _timed_since: tuple[float, float] | None = None
    """Time and kimg done when they had: until then trials may wait for the scorer."""

    def resume(self, earlier: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Set the number of trials that earlier drivers finished, and the last scores they logged, by key."""
        self._earlier = earlier
        for key, last in scores.items():
            self._best_scores.put(key, last)

    def __enter__(self) -> Progress:
        self._printed = time.monotonic()
        self._status = self.console.status(self.line()) if self.console.is_terminal else None
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status:
            self._status.stop()
        self._status, self._printed = None, math.inf
        self.console.print(self.line(), soft_wrap=True)

    def started(self, key: str, kimg: float = 0.0) -> None:
        """Record that a trial started, or continues from ``kimg`` of an earlier driver."""
        self._running.add(key)
        self._kimg.setdefault(key, kimg)  # a trial whose worker died starts again
        self.show()

    def result(self, key: str, result: Mapping[str, Any]) -> None:
        """Record an evaluation."""
        kimg = float(schema.cost({schema.KIMG: 0, **result}))
        self._done_kimg += kimg - self._kimg.get(key, 0.0)
        self._kimg[key] = kimg
        self._first = set(self._running) if self._first is None else self._first
        self._leave_first(key)
        if result.get("failure"):
            return
        scores = {name: float(result[name]) for name in (schema.SAMPLES, *schema.OBJECTIVES) if name in result}
        self._best_scores.put(key, scores)
        self.show()

    def note(self, key: str, text: str) -> None:
        """Print a message about a trial."""
        self.console.print(f"trial {key}: {text}", markup=False, soft_wrap=True)

    def ended(self, key: str, how: TrialEnd) -> None:
        """Record the end of a trial."""
        self._running.discard(key)
        self._leave_first(key)
        self._ended[how.status] += 1
        self._ended_kimg += self._kimg.get(key, 0.0)
        self.show()
        if how.status == schema.INTERRUPTED and how.reason:
            self.console.print(f"trial {key} is interrupted: {how.reason}", markup=False, soft_wrap=True)
        if how.status == schema.FAILED:
            self._best_scores.drop(key)
            self.console.print(f"trial {key} failed: {how.reason}", markup=False, soft_wrap=True)

    def seconds_left(self) -> float | None:
        """Estimated from the kimg per second since the first trials have reported, which may have waited for the
        scorer, and the mean kimg of a finished trial; ``None`` until as many kimg are done again.
        """
        since, before = self._timed_since or (0.0, self._done_kimg)
        done = self._done_kimg - before
        if done <= 0 or done < before:
            return None
        ended = self._ended.total()
        # The share of early-stopped trials is unknown before the first end: assume none.
        expected = self._ended_kimg / ended if ended else float(self.max_kimg)
        running = sum(max(0.0, expected - self._kimg[key]) for key in self._running)
        waiting = max(0, self.trials - ended - len(self._running)) * expected
        return (running + waiting) * (time.monotonic() - since) / done

    def _leave_first(self, key: str) -> None:
        if self._first is not None and self._timed_since is None:
            self._first.discard(key)
            if not self._first:
                self._timed_since = time.monotonic(), self._done_kimg

    def line(self) -> str:
        """Format the state of the sweep as one line."""
        parts = [f"{self._earlier + self._ended.total()}/{self._earlier + self.trials} trials done"]
        parts += [f"{self._ended[s]} {s}" for s in (schema.STOPPED, schema.FAILED) if self._ended[s]]
        parts.append(f"{len(self._running)} running")
        distance, accuracy = (self._best_scores.best(name) for name in (schema.DISTANCE, schema.TAG_ACCURACY))
        if distance is not None:
            parts.append(f"best distance {distance:.2f}")
        if accuracy is not None:
            parts.append(f"best tag accuracy {accuracy:.1%}")
        left = self.seconds_left()
        if left is not None and (self._running or self._ended.total() < self.trials):
            parts.append(f"about {clock(left)} left")
        if beside := self.beside():
            parts.append(beside)
        return ", ".join(parts)

    def show(self) -> None:
        """Show the line: at once on a terminal, else if the last one is at least ``EVERY_SECONDS`` ago."""
        if self._status:
            self._status.update(self.line())
        elif time.monotonic() - self._printed > EVERY_SECONDS:
            self._printed = time.monotonic()
            self.console.print(self.line(), soft_wrap=True)
