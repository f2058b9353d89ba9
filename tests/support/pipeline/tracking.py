"""A sweep to track."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.tracking.tracker import Tracker
    from search_spaces.space import Space

SETTINGS = {"space": "acgan", "name": "s", "trials": 3, "fix": ["a=1"], "concurrent": 2}
DATA = {"name": "faces", "fingerprint": "ab12", "pictures": 9, "complete": 7, "partial": 2}
FINGERPRINT = {"samples": 32, "extractor": "efficientnet"}


def settle(trackers: list[Tracker]) -> None:
    """Wait until all queued operations are sent."""
    assert all(tracker.sender.spool.shrinks(1, timeout=600) for tracker in trackers)


def config(space: Space, number: int = 0, **params: Any) -> dict[str, Any]:
    return {
        "key": f"k-{number:05d}",
        "number": number,
        "recipe": not params,
        "params": {**space.recipe, **params},
        "config_hash": "abc",
        "seed": 77,
        "folder": "/f",
    }
