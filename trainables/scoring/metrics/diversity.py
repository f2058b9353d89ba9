"""Diversity of images with the same tags, which reveals a generator that draws one image per tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.validation import check_features, iter_distance_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Combination = tuple[int, ...]


def diversity_by_tags(
    features: NDArray[np.floating], tags: NDArray[np.int64] | None = None
) -> dict[Combination, float]:
    """Mean pairwise distance within each complete combination of tags with two or more images.

    Args:
        features: ``(n, d)``, n at least 2.
        tags: ``(n, groups)`` class indices; by default all images belong to one combination, ``()``.

    Raises:
        UsageError: fewer than 2 images, or tags of another number of images.
        UserError: features that are not finite.
    """
    exact = check_features(features)
    return {
        combination: float(_distance_sums(exact[rows]).sum() / (len(rows) * (len(rows) - 1)))
        for combination, rows in _combinations(len(exact), tags).items()
        if len(rows) > 1
    }


def diversity(
    real: dict[Combination, float], fake: NDArray[np.floating], tags: NDArray[np.int64] | None = None
) -> Estimate:
    """Mean distance between generated images of the same tags, divided by that of real images.

    The mean over images of their mean distance to the others of the same tags; 1 is as diverse as real images, 0 is one
    image per combination of tags. Combinations with a single generated image or fewer than two different real ones are
    left out; NaN if none is left.

    Args:
        real: from ``diversity_by_tags``, with tags if there are ``tags``.
        fake: ``(n, d)`` features, n at least 2.
        tags: ``(n, groups)`` requested class indices; by default all images belong to one combination.

    Raises:
        UsageError: fewer than 2 images, or tags of another number of images.
        UserError: features that are not finite.
    """
    exact = check_features(fake)
    shared = {
        combination: _distance_sums(exact[rows])
        for combination, rows in _combinations(len(exact), tags).items()
        if len(rows) > 1 and real.get(combination, 0.0) > 0.0  # identical real images have no ratio
    }
    return _weighted(shared, real)


def _combinations(count: int, tags: NDArray[np.int64] | None) -> dict[Combination, NDArray[np.intp]]:
    """Indices of the images of each combination."""
    if tags is None:
        return {(): np.arange(count)}
    if tags.ndim != 2 or len(tags) != count:
        raise UsageError(f"tags {tags.shape} and features of {count} images do not belong together")
    combinations, member = np.unique(tags, axis=0, return_inverse=True)
    places = np.split(np.argsort(member.ravel(), kind="stable"), np.cumsum(np.bincount(member.ravel()))[:-1])
    return {tuple(int(value) for value in row): rows for row, rows in zip(combinations, places, strict=True)}


def _distance_sums(features: Array) -> Array:
    """Each image's summed distance ``(n,)`` to the others."""
    sums = np.empty(len(features))
    for rows, block in iter_distance_blocks(features, features):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = 0.0
        sums[rows] = block.sum(axis=1)
    return sums


def _weighted(sums: dict[Combination, Array], unit: dict[Combination, float]) -> Estimate:
    """Mean distance over images, divided by the mean of ``unit`` over the same images.

    Args:
        sums: for each combination, the summed distance ``(n,)`` of each image to the others.
        unit: for each combination, the distance to divide by.
    """
    if not sums:
        return Estimate(np.nan, np.nan, 0)
    above = {combination: own.sum() / (len(own) - 1) for combination, own in sums.items()}
    below = {combination: len(own) * unit[combination] for combination, own in sums.items()}
    top, bottom = sum(above.values()), sum(below.values())
    tops, bottoms = [], []
    for combination, own in sums.items():
        n = len(own)
        # Without one of two images, the other one has no distance.
        rest = (own.sum() - 2 * own) / (n - 2) if n > 2 else np.zeros(n)
        tops.append(top - above[combination] + rest)
        bottoms.append(np.full(n, bottom - below[combination] + (n - 1) * unit[combination] * (n > 2)))
    without_top, without_bottom = np.concatenate(tops), np.concatenate(bottoms)
    if not without_bottom.all():  # a single pair of images: leaving one out leaves no distance
        return Estimate(float(top / bottom), np.nan, len(without_top), lowest=0.0)
    return Estimate.jackknife(float(top / bottom), without_top / without_bottom, lowest=0.0)
