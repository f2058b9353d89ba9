"""How long the training of a tag classifier will take on this machine."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.scoring.tag_classifier.classifier import DEFAULT_SETTINGS, limited_threads, read_resized
from trainables.scoring.tag_classifier.training import train_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.data.tags import Vocabulary
    from trainables.scoring.tag_classifier.training import TagClassifierSettings

WARM_UP, MEASURED = 2, 10
"""Steps that are not timed, since the first ones plan and allocate, and steps that are."""


def training_seconds(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    vocabulary: Vocabulary,
    settings: TagClassifierSettings = DEFAULT_SETTINGS,
) -> float:
    """Estimate the seconds that ``train_tag_classifier`` takes, from a few steps. One that learns soon takes fewer.

    Args:
        pixels: ``(n, s, s, 3)`` real images.
        labels: ``(n, groups)`` class indices or ``UNKNOWN``.
        vocabulary: tag groups and classes of the labels.
        settings: how to train.
    """
    count = max(1, round((1 - settings.holdout) * len(pixels)))
    batch = min(settings.batch_size, count)
    images = read_resized(pixels, np.arange(batch), min(pixels.shape[1], settings.largest_size))
    tags = torch.from_numpy(labels[:batch].copy())
    with torch.random.fork_rng(devices=[]), limited_threads():
        for steps in (WARM_UP, MEASURED):
            brief = dataclasses.replace(settings, epochs=steps, min_kimg=0.0, max_kimg=float(steps), solved_at=1.1)
            began = time.perf_counter()
            train_network(images, tags, vocabulary.sizes, brief, lambda share, text: None)
    return settings.members * settings.steps(count) * (time.perf_counter() - began) / MEASURED
