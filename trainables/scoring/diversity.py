"""How different pictures of the same tags are: the alarm for a generator that draws one picture per tag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.feature_arrays import checked, distance_blocks
from trainables.scoring.intervals import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Combination = tuple[int, ...]


@dataclass(frozen=True)
class Diversity:
    """Mean distance between generated pictures of the same tags, and how it compares with real pictures.

    ``distance`` is averaged over pictures: each counts with its mean distance to the others of its tags.
    ``ratio`` is that of the same mean over the combinations with two or more real pictures too, to what it would be
    with the real pictures' distances: 1 is as diverse as the real pictures, 0 is one picture per combination.
    ``ratios`` gives it for each such combination. A combination with one generated picture has no distance:
    ``skipped`` of them are left out. Both estimates are NaN where no combination is left.
    """

    distance: Estimate
    ratio: Estimate
    ratios: dict[Combination, float]
    skipped: int


def spread_by_tags(features: NDArray[np.floating], tags: NDArray[np.int64] | None = None) -> dict[Combination, float]:
    """Mean distance between two pictures of each full combination of tags that two or more pictures have.

    Args:
        features: ``(n, d)``, n at least 2.
        tags: ``(n, groups)`` class indices; without them all pictures are one combination, ``()``.

    Raises:
        UsageError: fewer than 2 pictures, or tags of another number of pictures.
        UserError: features that are not finite.
    """
    exact = checked(features)
    return {
        combination: float(_distance_sums(exact[rows]).sum() / (len(rows) * (len(rows) - 1)))
        for combination, rows in _combinations(len(exact), tags).items()
        if len(rows) > 1
    }


def diversity(
    real: dict[Combination, float], fake: NDArray[np.floating], tags: NDArray[np.int64] | None = None
) -> Diversity:
    """Compare generated pictures with real ones.

    Args:
        real: from ``spread_by_tags``, with tags if there are ``tags``.
        fake: ``(n, d)`` features, n at least 2.
        tags: ``(n, groups)`` class indices that were asked for; without them all pictures are one combination.

    Raises:
        UsageError: fewer than 2 pictures, or tags of another number of pictures.
        UserError: features that are not finite.
    """
    exact = checked(fake)
    combinations = _combinations(len(exact), tags)
    sums = {combination: _distance_sums(exact[rows]) for combination, rows in combinations.items() if len(rows) > 1}
    # Where all real pictures are one and the same, no ratio exists.
    shared = {combination: own for combination, own in sums.items() if real.get(combination, 0.0) > 0.0}
    return Diversity(
        distance=_weighted(sums, dict.fromkeys(sums, 1.0)),
        ratio=_weighted(shared, real),
        ratios={
            combination: float(own.sum() / (len(own) * (len(own) - 1)) / real[combination])
            for combination, own in shared.items()
        },
        skipped=len(combinations) - len(sums),
    )


def _combinations(count: int, tags: NDArray[np.int64] | None) -> dict[Combination, NDArray[np.intp]]:
    """The places of each combination's pictures."""
    if tags is None:
        return {(): np.arange(count)}
    if tags.ndim != 2 or len(tags) != count:
        raise UsageError(f"tags {tags.shape} and features of {count} pictures do not belong together")
    found, member = np.unique(tags, axis=0, return_inverse=True)
    places = np.split(np.argsort(member.ravel(), kind="stable"), np.cumsum(np.bincount(member.ravel()))[:-1])
    return {tuple(int(value) for value in row): rows for row, rows in zip(found, places, strict=True)}


def _distance_sums(features: Array) -> Array:
    """Each picture's summed distance ``(n,)`` to the others."""
    sums = np.empty(len(features))
    for rows, block in distance_blocks(features, features):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = 0.0
        sums[rows] = block.sum(axis=1)
    return sums


def _weighted(sums: dict[Combination, Array], unit: dict[Combination, float]) -> Estimate:
    """Mean distance over pictures, in units of the mean of ``unit`` over the same pictures.

    Args:
        sums: of each combination, each picture's summed distance to the others.
        unit: of each combination, a distance.
    """
    if not sums:
        return Estimate(np.nan, np.nan, 0)
    above = {combination: own.sum() / (len(own) - 1) for combination, own in sums.items()}
    below = {combination: len(own) * unit[combination] for combination, own in sums.items()}
    top, bottom = sum(above.values()), sum(below.values())
    tops, bottoms = [], []
    for combination, own in sums.items():
        n = len(own)
        # Of two pictures, the one that stays has no distance any more.
        rest = (own.sum() - 2 * own) / (n - 2) if n > 2 else np.zeros(n)
        tops.append(top - above[combination] + rest)
        bottoms.append(np.full(n, bottom - below[combination] + (n - 1) * unit[combination] * (n > 2)))
    without_top, without_bottom = np.concatenate(tops), np.concatenate(bottoms)
    if not without_bottom.all():  # a single pair of pictures: nothing is left without one of them
        return Estimate(float(top / bottom), np.nan, len(without_top), lowest=0.0)
    return Estimate.left_out(float(top / bottom), without_top / without_bottom, lowest=0.0)
