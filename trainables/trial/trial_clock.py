"""Clock of trials that share a process: counts a trial's own work and its share of joint work."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stopwatch:
    """A trial's clock. It stops while other trials work, so that the seconds of all trials add up to the process's.

    Args:
        clock: seconds from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counted = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        """Return the seconds so far."""
        return self._counted + (0.0 if self._since is None else self._clock() - self._since)

    def process(self) -> float:
        """Return the process's own clock."""
        return self._clock()

    def add(self, seconds: float) -> None:
        """Count this trial's share of joint work."""
        self._counted += seconds

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the block's time for this trial only."""
        self._since = self._clock()
        try:
            yield
        finally:
            self._counted, self._since = self(), None
