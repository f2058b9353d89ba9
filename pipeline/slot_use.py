"""How much of a sweep's slots went into training and scoring."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOG_EVERY = 60.0
"""Seconds between two values while a sweep runs."""


class SlotUse:
    """Share of slot-seconds spent in training and needed evaluation.

    It is ``busy / (slots * (last - first))``, summed over the drivers of a sweep above and below the line. ``busy`` is
    the sum, over all results, of the seconds that the trial trained since its last result and the seconds that it took
    to score it; ``first`` is when a driver's first trial has its slot, ``last`` when its last result has come. So all
    else counts as lost: starting workers, building networks, saving and loading checkpoints, proposals and tracking
    while a slot waits for them, training that was lost with a worker, and slots that are empty because no trial is
    left. What comes before the first slot (data, judge, starting Ray) and after the last result does not count at all.

    Args:
        slots: trials at once.
        known: metrics of the sweep's run, as earlier drivers left them.
        clock: seconds from any start.
    """

    def __init__(
        self, slots: int, known: Mapping[str, float] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.slots, self._clock = slots, clock
        self._offered_before = (known or {}).get(schema.SLOT_SECONDS, 0.0)
        self._busy = (known or {}).get(schema.BUSY_SECONDS, 0.0)
        self._first: float | None = None
        self._last = self._logged = 0.0

    def ready(self) -> None:
        """A trial has its slot."""
        if self._first is None:
            self._first = self._last = self._logged = self._clock()

    def result(self, result: Mapping[str, Any]) -> None:
        """A trial has reported; its seconds are those since its last report."""
        self._last = self._clock()
        for name in (schema.TRAIN_SECONDS, schema.SCORE_SECONDS):
            self._busy += max(0.0, float(result.get(name, 0.0)))

    def due(self) -> bool:
        """Whether the figures should be logged again while the sweep runs."""
        if self._clock() - self._logged < LOG_EVERY:
            return False
        self._logged = self._clock()
        return True

    def figures(self) -> dict[str, float]:
        """The share and what it is made of, under the names of ``schema``; empty before the first result."""
        first = self._last if self._first is None else self._first
        offered = self._offered_before + self.slots * (self._last - first)
        if offered <= 0:
            return {}
        return {
            schema.SLOT_USE: self._busy / offered,
            schema.SLOT_SECONDS: offered,
            schema.BUSY_SECONDS: self._busy,
        }
