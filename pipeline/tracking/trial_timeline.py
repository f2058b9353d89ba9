"""Record when and where each trial ran, for the timeline of a sweep."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT, NODE_CHARACTERS = 30, 60
"""Maximum number of intervals per trial: MLflow limits a tag to a few thousand characters."""


class TrialTimeline:
    """Assigns each starting trial the lowest free slot, and records starts and ends.

    Args:
        known: JSON written by earlier drivers, by key; invalid text is ignored.
        clock: seconds since 1970.
    """

    def __init__(self, known: Mapping[str, str | None], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._of = {key: _parse(text) for key, text in known.items() if text}
        self._open: dict[str, dict[str, Any]] = {}

    def start(self, key: str) -> None:
        """Record that a trial occupies a slot."""
        if key in self._open:
            return
        occupied = {interval["slot"] for interval in self._open.values()}
        slot = next(index for index in range(len(occupied) + 1) if index not in occupied)
        self._open[key] = {"node": "", "slot": slot, "start": round(self._clock(), 1), "end": None}
        self._of.setdefault(key, []).append(self._open[key])

    def seen(self, key: str, node: str) -> None:
        """Record the node that reported a trial."""
        if key in self._open and node:
            self._open[key]["node"] = node[:NODE_CHARACTERS]

    def end(self, key: str) -> None:
        """Record that a trial left its slot."""
        interval = self._open.pop(key, None)
        if interval is not None:
            interval["end"] = round(self._clock(), 1)

    def to_json(self, key: str) -> str:
        """Return the last intervals of a trial as JSON for the tag ``schema.STRETCHES``."""
        return json.dumps(self._of.get(key, [])[-KEPT:])


def _parse(text: str) -> list[dict[str, Any]]:
    try:
        intervals = json.loads(text)
    except ValueError:
        return []
    return [interval for interval in intervals if isinstance(interval, dict)] if isinstance(intervals, list) else []
