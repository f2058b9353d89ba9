"""Checksums of a sweep's images at its start, to report which have changed since."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any

from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainables.data.dataset import TaggedImages

PICTURES_FILE = "pictures.json"
"""Beside the sweep's settings: the vocabulary, and for each image a checksum of its pixels and its tags."""
SHOWN = 3
"""Most names shown for each kind of change."""


def write_images(folder: Path, images: TaggedImages) -> None:
    """Write the checksums of the images."""
    write_json(folder / PICTURES_FILE, _checksums(images))


def data_changes(folder: Path, images: TaggedImages) -> str:
    """Compare images with those of the start, e.g. ``1 image added (new), 2 altered (7, 9)``; ``""`` if unknown."""
    try:
        saved = json.loads((folder / PICTURES_FILE).read_text(encoding="utf-8"))
        before = {str(name): list(mark) for name, mark in dict(saved["pictures"]).items()}
        vocabulary = saved["vocabulary"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    now = _checksums(images)["pictures"]
    kept = [name for name in now if name in before]
    kinds = {
        "added": [name for name in now if name not in before],
        "removed or unreadable": [name for name in before if name not in now],
        "altered": [name for name in kept if before[name][:1] != now[name][:1]],
        "with other tags": [name for name in kept if before[name][1:] != now[name][1:]],
    }
    changes = [f"{_images(names)} {kind} ({_some(names)})" for kind, names in kinds.items() if names]
    return ", ".join([*changes, *(["another tag vocabulary"] if vocabulary != images.vocabulary.hash else [])])


def _checksums(images: TaggedImages) -> dict[str, Any]:
    marks = {
        name: [zlib.crc32(pixels.tobytes()), images.vocabulary.describe(labels)]
        for name, pixels, labels in zip(images.ids, images.pixels, images.labels.tolist(), strict=True)
    }
    return {"vocabulary": images.vocabulary.hash, "pictures": marks}


def _images(names: Sequence[str]) -> str:
    return f"{len(names)} image{'s' * (len(names) != 1)}"


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
