"""The time limit of a sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ray.tune import Stopper

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline(Stopper):
    """Stops all trials so many seconds after Tune first asks.

    Tune's own ``time_budget_s`` goes by the time of day: a clock that is set ends a sweep or lets it run on.

    Args:
        seconds: the limit; ``None`` for none.
        clock: seconds from any start.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._began: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is stopped by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether the time is over."""
        if self._began is None:
            self._began = self._clock()
        return self.seconds is not None and self._clock() - self._began >= self.seconds
