"""A tag classifier that trains in a second, placed in the cache where a sweep looks for it.

Training the real one takes minutes. The stub is a ``TagClassifier`` with a tiny network, so that it is saved, loaded
and sent to workers in the same way, in this process or in another. It is at chance, and its report claims otherwise,
so that sweeps have the objectives that they have with a real one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from unittest import mock

from trainables.data.dataset import ALL, load_folder
from trainables.scoring.tag_classifier import classifier
from trainables.scoring.tag_classifier.classifier import TagClassifier, TagClassifierSettings, train_tag_classifier

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from trainables.data.selection import Selection

TINY = TagClassifierSettings(width=4, looks=1, members=1, epochs=1, min_kimg=0, max_kimg=1, grow=False, flip=False)


def place_tag_classifier(
    home: Path, data: Path, image_size: int, selection: Selection = ALL, *, right: bool = True
) -> TagClassifier:
    """Put a tiny tag classifier into the cache of a home, under the name that a sweep on these images looks up.

    With ``right`` its report claims that it is right on 90% of held-out images, else it has the measured figures.
    """
    images = load_folder(data, image_size, selection=selection, cache=home / "cache")
    complete = slice(0, images.complete)

    def train(*args: Any, **options: Any) -> TagClassifier:
        stub = train_tag_classifier(*args, **{**options, "settings": TINY})
        if not right:
            return stub
        accuracy, intervals = dict.fromkeys(stub.report.accuracy, 0.9), dict.fromkeys(stub.report.intervals, (0.8, 1.0))
        return dataclasses.replace(
            stub, report=dataclasses.replace(stub.report, accuracy=accuracy, intervals=intervals)
        )

    with mock.patch.object(classifier, "train_tag_classifier", train):
        return classifier.cached_tag_classifier(
            home / "cache",
            images.fingerprint,
            images.pixels[complete],
            images.labels[complete],
            images.vocabulary,
        )
