"""Time of trials that share a process: each one's own work, and its share of what is done for several at once."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stopwatch:
    """A trial's clock: stands still while others work, so that the seconds of all trials add up to the process's.

    Args:
        clock: seconds from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        """Seconds so far."""
        return self._counted + (0.0 if self._since is None else self._clock() - self._since)

    def process(self) -> float:
        """Seconds in which anything was done, by any of them."""
        return self._clock()

    def add(self, seconds: float) -> None:
        """Count a share of what was done for several."""
        self._counted += seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """What is done within is this trial's alone."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._counted, self._since = self(), None
