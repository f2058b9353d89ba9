"""What an export's network is tried on, the same everywhere: no data are needed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.bundle import Bundle


def example_inputs(bundle: Bundle, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Inputs of ``count`` rows: noise of seed 0 with the data's commonest tag combinations in turn.

    Where the generator translates, made-up pictures with those and every class of each target group in turn.
    """
    order = np.argsort(-bundle.counts, kind="stable")
    labels = bundle.combinations[np.resize(order, count)]
    if not bundle.config.translates:
        return bundle.noise(range(count), seed=0), labels
    for place in bundle.target_places:
        labels[:, place] = np.arange(count) % bundle.vocabulary.sizes[place]
    return made_up_pictures(count, bundle.config.image_size), labels


def made_up_pictures(count: int, size: int) -> NDArray[np.float32]:
    """Pictures ``(count, 3, size, size)`` of soft waves of colour in [-1, 1]."""
    random = np.random.default_rng(0)
    across = np.linspace(0.0, 1.0, size)
    pictures = np.empty((count, 3, size, size), dtype=np.float32)
    for channel in pictures.reshape(-1, size, size):
        (down, right), phase = random.uniform(-2, 2, 2), random.uniform(0, 2 * np.pi)
        channel[:] = np.cos(2 * np.pi * (down * across[:, None] + right * across) + phase)
    return pictures
