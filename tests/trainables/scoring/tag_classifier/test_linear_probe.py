"""The linear model of the tags, on images whose tags are known to be easy or meaningless."""

from __future__ import annotations

import numpy as np

from tests.support.tiny import PAIR
from trainables.scoring.tag_classifier.linear_probe import linear_probe


def flat_images(labels: np.ndarray, levels: int) -> np.ndarray:
    """Return images ``(n, 16, 16, 3)`` whose red is the first tag and whose green the second, with some noise."""
    noise = np.random.default_rng(1).integers(0, 10, (len(labels), 16, 16, 3))
    colours = np.pad(labels, ((0, 0), (0, 1))) * (200 // levels)
    return (colours[:, None, None, :] + noise).astype(np.uint8)


def test_it_reads_tags_that_are_colours() -> None:
    sizes = PAIR.sizes
    labels = np.stack([np.random.default_rng(0).integers(0, 2, 400) * (size - 1) for size in sizes], 1)
    report = linear_probe(flat_images(labels, max(sizes)), labels, PAIR, np.arange(400))
    assert report["accuracy"] == {"both": 1.0}


def test_it_is_at_chance_where_tags_mean_nothing() -> None:
    sizes, rng = PAIR.sizes, np.random.default_rng(0)
    shown, labels = (np.stack([rng.integers(0, size, 400) for size in sizes], 1) for _ in range(2))
    report = linear_probe(flat_images(shown, max(sizes)), labels, PAIR, np.arange(400))
    commonest = max(np.unique(labels, axis=0, return_counts=True)[1]) / 400
    assert report["intervals"]["both"][0] <= commonest < report["intervals"]["both"][1]
