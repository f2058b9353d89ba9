"""The time limit of a sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ray.tune import Stopper

if TYPE_CHECKING:
    from collections.abc import Callable


class TimeLimitStopper(Stopper):
    """Stops all trials a number of seconds after Tune's first call.

    Tune's ``time_budget_s`` uses the wall clock, so that setting the clock would end or prolong a sweep.

    Args:
        seconds: the limit; ``None`` for none.
        clock: returns monotonic seconds.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._started: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: no single trial is stopped."""
        return False

    def stop_all(self) -> bool:
        """Return whether the time limit has been reached."""
        if self._started is None:
            self._started = self._clock()
        return self.seconds is not None and self._clock() - self._started >= self.seconds
