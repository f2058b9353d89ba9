"""What a sweep's pictures were when it began, picture by picture, to say what has changed since."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from trainables.files import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainables.data.dataset import TaggedImages

PICTURES_FILE = "pictures.json"
"""Beside the sweep's settings: the vocabulary, and for each picture a checksum of its pixels and its tags."""
SHOWN = 3
"""Names of each kind of change that are shown."""


def write_pictures(folder: Path, images: TaggedImages) -> None:
    """Note what the pictures are."""
    write_json(folder / PICTURES_FILE, _noted(images))


def data_changes(folder: Path, images: TaggedImages) -> str:
    """What differs from what was noted, e.g. ``1 picture added (new), 2 altered (7, 9)``; ``""`` if nobody knows."""
    try:
        noted = json.loads((folder / PICTURES_FILE).read_text(encoding="utf-8"))
        before = {str(name): list(mark) for name, mark in dict(noted["pictures"]).items()}
        vocabulary = noted["vocabulary"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    now = _noted(images)["pictures"]
    kept = [name for name in now if name in before]
    kinds = {
        "added": [name for name in now if name not in before],
        "removed or unreadable": [name for name in before if name not in now],
        "altered": [name for name in kept if before[name][:1] != now[name][:1]],
        "with other tags": [name for name in kept if before[name][1:] != now[name][1:]],
    }
    found = [f"{_pictures(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    return ", ".join([*found, *(["another tag vocabulary"] if vocabulary != images.vocabulary.hash else [])])


def _noted(images: TaggedImages) -> dict[str, Any]:
    pictures = {
        name: [zlib.crc32(pixels.tobytes()), images.vocabulary.describe(labels)]
        for name, pixels, labels in zip(images.ids, images.pixels, images.labels.tolist(), strict=True)
    }
    return {"vocabulary": images.vocabulary.hash, "pictures": pictures}


def _pictures(names: Sequence[str]) -> str:
    return f"{len(names)} picture{'s' * (len(names) != 1)}"


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
