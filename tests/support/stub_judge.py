"""A judge that is trained in a second, placed where a sweep looks for the real one.

The real judge takes minutes. The stand-in is a genuine ``Judge`` with a tiny network, so that it is saved, loaded and
sent to workers like the real one, in this process or in another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

from trainables.data.dataset import ALL, load_folder
from trainables.scoring import tagger
from trainables.scoring.tagger import Judge, JudgeSettings, train_judge

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from trainables.data.selection import Selection

TINY = JudgeSettings(width=4, looks=1, members=1, epochs=1, min_kimg=0, max_kimg=1, grow=False, flip=False)


def place_judge(home: Path, data: Path, image_size: int, selection: Selection = ALL) -> Judge:
    """Put a tiny judge into the cache of a home, under the name that a sweep on these pictures asks for."""
    images = load_folder(data, image_size, selection=selection, cache=home / "cache")
    complete = slice(0, images.complete)

    def train(*given: Any, **options: Any) -> Judge:
        return train_judge(*given, **{**options, "settings": TINY})

    with mock.patch.object(tagger, "train_judge", train):
        return tagger.cached_judge(
            home / "cache",
            images.fingerprint,
            images.pixels[complete],
            images.labels[complete],
            images.vocabulary,
        )
