"""Deterministic example inputs of an export's network; they need no data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.bundle.bundle import Bundle


def example_inputs(bundle: Bundle, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return inputs of ``count`` rows: noise of seed 0, and the most common tag combinations in turn.

    For a translating generator: synthetic images, and every class of each target group in turn.
    """
    order = np.argsort(-bundle.counts, kind="stable")
    labels = bundle.combinations[np.resize(order, count)]
    if not bundle.config.translates:
        return bundle.noise(range(count), seed=0), labels
    for place in bundle.target_places:
        labels[:, place] = np.arange(count) % bundle.vocabulary.sizes[place]
    return synthetic_images(count, bundle.config.image_size, bundle.config.channels), labels


def synthetic_images(count: int, size: int, channels: int = 3) -> NDArray[np.float32]:
    """Return images ``(count, channels, size, size)`` of smooth colour waves in [-1, 1]."""
    random = np.random.default_rng(0)
    across = np.linspace(0.0, 1.0, size)
    images = np.empty((count, channels, size, size), dtype=np.float32)
    for channel in images.reshape(-1, size, size):
        (down, right), phase = random.uniform(-2, 2, 2), random.uniform(0, 2 * np.pi)
        channel[:] = np.cos(2 * np.pi * (down * across[:, None] + right * across) + phase)
    return images
