"""Live progress of a sweep on stderr: trials by state, best so far on both objectives, time left."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console

from analysis import schema
from pipeline.leading import Leading

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.outcome import Outcome

EVERY_SECONDS = 30.0
"""Between two lines when stderr is no terminal."""


@dataclass
class Progress:
    """Counts trials and estimates the time left; a spinner on a terminal, else a line now and then.

    Counts are kept up to date, so that an event goes over the trials that run, and never over all.

    Args:
        trials: how many are to be run.
        max_kimg: budget of each.
        slots: how many run at once.
    """

    trials: int
    max_kimg: int
    slots: int
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    _earlier: int = 0
    _kimg: dict[str, float] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _ended: Counter[str] = field(default_factory=Counter)
    _leading: Leading = field(default_factory=Leading)
    _done_kimg: float = 0.0
    _ended_kimg: float = 0.0

    def go_on(self, earlier: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Count what earlier drivers have brought to its end, and the last scores that they have logged, by key."""
        self._earlier = earlier
        for key, last in scores.items():
            self._leading.put(key, last)

    def __enter__(self) -> Progress:
        self._began = self._printed = time.monotonic()
        self._status = self.console.status(self.line()) if self.console.is_terminal else None
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status:
            self._status.stop()
        self.console.print(self.line(), soft_wrap=True)

    def started(self, key: str, kimg: float = 0.0) -> None:
        """A trial has begun, or goes on from ``kimg``, which an earlier driver's time paid for."""
        self._running.add(key)
        self._kimg.setdefault(key, kimg)  # a trial whose worker died is started again
        self._show()

    def result(self, key: str, result: Mapping[str, Any]) -> None:
        """A trial has been scored."""
        kimg = float(result.get(schema.KIMG, 0))
        self._done_kimg += kimg - self._kimg.get(key, 0.0)
        self._kimg[key] = kimg
        if result.get("failure"):
            return
        scores = {name: float(result[name]) for name in (schema.SAMPLES, *schema.OBJECTIVES) if name in result}
        self._leading.put(key, scores)
        self._show()

    def note(self, key: str, text: str) -> None:
        """Something about a trial that the user should know."""
        self.console.print(f"trial {key}: {text}", markup=False, soft_wrap=True)

    def ended(self, key: str, how: Outcome) -> None:
        """A trial has ended."""
        self._running.discard(key)
        self._ended[how.status] += 1
        self._ended_kimg += self._kimg.get(key, 0.0)
        self._show()
        if how.status == schema.FAILED:
            self._leading.drop(key)
            self.console.print(f"trial {key} failed: {how.reason}", markup=False, soft_wrap=True)

    def seconds_left(self) -> float | None:
        """Estimated from the kimg per second so far and the mean kimg of a finished trial; ``None`` at first."""
        elapsed = time.monotonic() - self._began
        if self._done_kimg <= 0:
            return None
        ended = self._ended.total()
        # Before anything has ended nobody knows how many trials will be stopped early: assume none.
        expected = self._ended_kimg / ended if ended else float(self.max_kimg)
        running = sum(max(0.0, expected - self._kimg[key]) for key in self._running)
        waiting = max(0, self.trials - ended - len(self._running)) * expected
        return (running + waiting) * elapsed / self._done_kimg

    def line(self) -> str:
        """The state of the sweep in one line."""
        parts = [f"{self._earlier + self._ended.total()}/{self._earlier + self.trials} trials done"]
        parts += [f"{self._ended[s]} {s}" for s in (schema.STOPPED, schema.FAILED) if self._ended[s]]
        parts.append(f"{len(self._running)} running")
        distance, accuracy = (self._leading.best(name) for name in (schema.DISTANCE, schema.TAG_ACCURACY))
        if distance is not None:
            parts.append(f"best distance {distance:.2f}")
        if accuracy is not None:
            parts.append(f"best tag accuracy {accuracy:.1%}")
        left = self.seconds_left()
        if left is not None and (self._running or self._ended.total() < self.trials):
            parts.append(f"about {clock(left)} left")
        return ", ".join(parts)

    def _show(self) -> None:
        if self._status:
            self._status.update(self.line())
        elif time.monotonic() - self._printed > EVERY_SECONDS:
            self._printed = time.monotonic()
            self.console.print(self.line(), soft_wrap=True)


def clock(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
