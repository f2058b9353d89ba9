"""When and where each trial ran, for the timeline of a sweep."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT, NODE_LETTERS = 30, 60
"""MLflow takes a few thousand letters in a tag."""


class Stretches:
    """Numbers the slots of a sweep, the lowest free one for each trial that starts, and notes starts and ends.

    Args:
        known: by key, what earlier drivers had written; text that is no such thing counts for none.
        clock: seconds since 1970.
    """

    def __init__(self, known: Mapping[str, str | None], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._of = {key: _parsed(text) for key, text in known.items() if text}
        self._open: dict[str, dict[str, Any]] = {}

    def start(self, key: str) -> None:
        """A trial has a slot."""
        if key in self._open:
            return
        taken = {one["slot"] for one in self._open.values()}
        slot = next(place for place in range(len(taken) + 1) if place not in taken)
        self._open[key] = {"node": "", "slot": slot, "start": round(self._clock(), 1), "end": None}
        self._of.setdefault(key, []).append(self._open[key])

    def seen(self, key: str, node: str) -> None:
        """The trial was heard of from a node."""
        if key in self._open and node:
            self._open[key]["node"] = node[:NODE_LETTERS]

    def end(self, key: str) -> None:
        """The trial has left its slot."""
        one = self._open.pop(key, None)
        if one is not None:
            one["end"] = round(self._clock(), 1)

    def to_json(self, key: str) -> str:
        """The last stretches of a trial, as the tag ``schema.STRETCHES`` holds them."""
        return json.dumps(self._of.get(key, [])[-KEPT:])


def _parsed(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
