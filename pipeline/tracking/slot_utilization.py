"""Measure the share of a sweep's slot time spent in training and scoring."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOG_EVERY = 60.0
"""Seconds between two logged values while a sweep runs."""


class SlotUtilization:
    """Share of slot-seconds spent in training and needed evaluation.

    It is ``busy / (slots * (last - first))``, with numerator and denominator summed over the drivers of a sweep.
    ``busy`` is the sum over all results of the seconds of training since the previous result and of scoring; ``first``
    is when a driver's first trial gets its slot, ``last`` when its last result arrives. Everything else counts as
    lost: starting workers, building networks, saving and loading checkpoints, suggestions and tracking while a slot
    waits for them, training that was lost with a worker, and slots that are empty because no trial is left. Time
    before the first slot (data, tag classifier, starting Ray) and after the last result is not counted.

    Args:
        slots: number of trials that run at once.
        known: metrics of the sweep's run, as logged by earlier drivers.
        clock: returns seconds since any fixed time.
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
        """Record that a trial got its slot."""
        if self._first is None:
            self._first = self._last = self._logged = self._clock()

    def result(self, result: Mapping[str, Any]) -> None:
        """Record a result, with the seconds of training and scoring since the previous one."""
        self._last = self._clock()
        for name in (schema.TRAIN_SECONDS, schema.SCORE_SECONDS):
            self._busy += max(0.0, float(result.get(name, 0.0)))

    def due(self) -> bool:
        """Return whether the metrics are due to be logged again."""
        if self._clock() - self._logged < LOG_EVERY:
            return False
        self._logged = self._clock()
        return True

    def figures(self) -> dict[str, float]:
        """Return the share and its components by the names of ``schema``; empty before the first result."""
        first = self._last if self._first is None else self._first
        offered = self._offered_before + self.slots * (self._last - first)
        if offered <= 0:
            return {}
        return {
            schema.SLOT_USE: self._busy / offered,
            schema.SLOT_SECONDS: offered,
            schema.BUSY_SECONDS: self._busy,
        }
