"""A linear model of the tags: what can be said of a tag classifier within a second, before it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional as F

from trainables.scoring.tag_classifier.report import JOINT, wilson
from trainables.scoring.tag_classifier.splits import stratified_split
from trainables.scoring.tag_classifier.training import TagClassifierSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.data.tags import Vocabulary

SIDE: Final = 8
"""Pixels along each side of the images it sees."""
MOST: Final = 20_000
"""Images that it uses at most."""
RIDGE: Final = 1.0
"""Penalty of squared weights, for inputs in [-1, 1]."""


def linear_probe(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], vocabulary: Vocabulary, groups: NDArray[np.int64]
) -> dict[str, Any]:
    """Fit a ridge regression on small copies of the images, and measure it on held-out ones.

    Args:
        pixels: ``(n, s, s, c)``.
        labels: ``(n, groups)`` class indices, all known.
        vocabulary: tag groups and classes of the labels.
        groups: ``(n,)`` near-duplicate group of each image.

    Returns:
        ``accuracy`` on all tags together and its ``intervals``, as the report of a tag classifier has them.
    """
    places = np.random.default_rng(0).permutation(len(pixels))[:MOST]
    places.sort()
    labels, groups = labels[places], groups[places]
    train, held_out = stratified_split(labels, groups, TagClassifierSettings().holdout, 0)
    inputs = _small(pixels, places)
    known, unseen = inputs[train], inputs[held_out]
    gram = known.T @ known + RIDGE * torch.eye(known.shape[1])
    right = torch.ones(len(held_out), dtype=torch.bool)
    for column, size in zip(labels.T, vocabulary.sizes, strict=True):
        targets = F.one_hot(torch.from_numpy(column[train].copy()), size).float()
        scores = unseen @ torch.linalg.solve(gram, known.T @ targets)
        right &= scores.argmax(1) == torch.from_numpy(column[held_out].copy())
    hits = int(right.sum())
    return {"accuracy": {JOINT: hits / len(right)}, "intervals": {JOINT: wilson(hits, len(right))}}


def _small(pixels: NDArray[np.uint8], places: NDArray[np.int64]) -> torch.Tensor:
    """Return ``(k, 3 * SIDE * SIDE + 1)`` mean colours in [-1, 1] and a constant, of the images at ``places``."""
    rows = []
    for block in np.split(places, range(1024, len(places), 1024)):
        images = torch.from_numpy(np.asarray(pixels[block])).permute(0, 3, 1, 2).float()
        rows.append(F.adaptive_avg_pool2d(images.div(127.5).sub(1.0), SIDE).flatten(1))
    colours = torch.cat(rows)
    return torch.cat([colours, torch.ones(len(colours), 1)], 1)
