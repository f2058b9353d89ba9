"""Scores from nearest neighbours: precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al.
2020), and whether generated images are copies of training images.

All but density depend on the number of images on each side. Compare only equal numbers, and use as many real images as
generated ones, as the papers do; for copies use all training images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.validation import (
    BLOCK_NUMBERS,
    check_feature_pair,
    check_features,
    check_same_dimensions,
    iter_distance_blocks,
    require_features,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NEAREST_PRECISION: Final = 3
"""k of precision and recall, as in the paper."""
NEAREST_DENSITY: Final = 5
"""k of density and coverage, as in the paper."""
COPY_QUANTILE: Final = 0.01
HALF_SAMPLES: Final = 60
"""Number of random half-samples for the standard error of recall. The jackknife overestimates it by 1.2 to 1.6, because
the distance to a third neighbour is not a smooth function of the images; half-samples give 0.9 to 1.1 times it."""
NEIGHBOUR_CANDIDATES: Final = 48
"""Neighbours among which a half-sample's third one is looked up; fewer than 3 of them are in it once in 10^11."""


@dataclass(frozen=True)
class Manifold:
    """Features ``(n, d)`` and the ascending distances ``(n, 5)`` of each to its nearest others."""

    features: Array
    distances: Array

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Manifold:
        """Build it from ``(n, d)`` finite features, n at least 6."""
        exact = check_features(features, least=NEAREST_DENSITY + 1)
        return cls(exact, _nearest_neighbours(exact, NEAREST_DENSITY)[0])


def _nearest_neighbours(features: Array, count: int) -> tuple[Array, NDArray[np.intp]]:
    """Ascending distances ``(n, count)`` to the nearest other rows, and their indices."""
    distances, places = [], []
    for rows, block in iter_distance_blocks(features, features):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = np.inf
        near = np.argpartition(block, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(block, near, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        distances.append(np.take_along_axis(found, order, axis=1))
        places.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(distances), np.concatenate(places)


@dataclass(frozen=True)
class ManifoldScores:
    """PRDC. An image's radius is the distance to its k-th nearest neighbour on its own side.

    ``precision``: share of generated images within the radius of a real one. ``recall``: the reverse. ``density``:
    number of real images within whose radius a generated one lies, divided by k; may exceed 1. ``coverage``: share of
    real images with a generated one within their radius.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def manifold_scores(real: Manifold, fake: NDArray[np.floating]) -> ManifoldScores:
    """Precision, recall, density and coverage of ``(m, d)`` generated features, m at least 8.

    Raises:
        UsageError: too few images or features of another length.
        UserError: features that are not finite.
    """
    _, exact = check_feature_pair(real.features, fake, least=2 * NEAREST_PRECISION + 2)
    narrow, wide = real.distances[:, NEAREST_PRECISION - 1], real.distances[:, NEAREST_DENSITY - 1]
    n, targets = len(exact), len(real.features)
    reaches = _neighbour_radii(exact)
    recalled = np.zeros((len(reaches), targets), dtype=np.bool_)
    hits, reached = np.zeros(n, dtype=np.bool_), np.zeros(n)
    covering, only = np.zeros(targets, dtype=np.int64), np.zeros(targets, dtype=np.int64)
    for rows, block in iter_distance_blocks(exact, real.features):
        hits[rows] = (block <= narrow).any(axis=1)
        within = block < wide
        reached[rows] = within.sum(axis=1) / NEAREST_DENSITY
        covering += within.sum(axis=0)
        # Sum of the indices of the covering images: the index itself where there is exactly one.
        only += np.arange(rows.start, rows.stop) @ within
        for seen, reach in zip(recalled, reaches[:, rows], strict=True):
            seen |= (block <= reach[:, None]).any(axis=0)
    coverage, shares = float((covering > 0).mean()), recalled.mean(axis=1)
    lost = np.bincount(only[covering == 1], minlength=n) / targets
    # Where several generated images cover every covered real image, leaving one out changes nothing, although other
    # samples would cover others: assume at least the error of one real image that is covered once.
    min_error = (n - 1) / n / targets
    return ManifoldScores(
        precision=Estimate.from_hits(hits),
        recall=Estimate.from_half_samples(float(shares[0]), shares[1:], n, min_error=min_error),
        density=Estimate.jackknife(float(reached.mean()), (reached.sum() - reached) / (n - 1), lowest=0.0),
        coverage=Estimate.jackknife(coverage, coverage - lost, share=True, min_error=min_error),
    )


def _neighbour_radii(fake: Array) -> Array:
    """Distance of each image to its third neighbour: in all images, then in half-samples ``(1 + HALF_SAMPLES, n)``.

    The value is -1 for an image that is not in the half-sample.
    """
    n = len(fake)
    distances, places = _nearest_neighbours(fake, min(n - 1, NEIGHBOUR_CANDIDATES))
    reaches = np.full((1 + HALF_SAMPLES, n), -1.0)
    reaches[0] = distances[:, NEAREST_PRECISION - 1]
    random = np.random.default_rng(0)
    for reach in reaches[1:]:
        kept = np.zeros(n, dtype=np.bool_)
        kept[random.permutation(n)[: n // 2]] = True
        third = (np.cumsum(kept[places[kept]], axis=1) == NEAREST_PRECISION).argmax(axis=1)
        reach[kept] = distances[kept, third]
    return reaches


def nearest_distances(real: NDArray[np.floating], groups: NDArray[np.int64] | None = None) -> Array:
    """Distance ``(n,)`` of each real image to its nearest other one.

    Args:
        real: ``(n, d)`` features, n at least 2.
        groups: ``(n,)`` near-duplicate group numbers; images of one group do not count as each other's neighbours,
            so that duplicates among the real images do not lower the threshold.

    Raises:
        UsageError: fewer than 2 images, groups of another shape, or one group only.
        UserError: features that are not finite.
    """
    exact = check_features(real)
    if groups is None:
        groups = np.arange(len(exact))
    if groups.shape != (len(exact),) or (groups == groups[0]).all():
        raise UsageError(
            f"groups {groups.shape} of {len(exact)} images; one number per image and at least 2 groups are needed"
        )
    nearest = np.empty(len(exact), dtype=np.int64)
    for rows, block in iter_distance_blocks(exact, exact):
        block[groups[rows, None] == groups] = np.inf
        nearest[rows] = block.argmin(axis=1)
    return np.asarray(np.linalg.norm(exact - exact[nearest], axis=1))


def copied_share(real: NDArray[np.floating], between_real: Array, fake: NDArray[np.floating]) -> Estimate:
    """Share of generated images that are as close to a training image as 1% of the training images are to another.

    New images of the training distribution give 0.01, a generator that repeats training images far more, one of poor
    images 0.

    Args:
        real: ``(n, d)`` features of the training images, n at least 2.
        between_real: ``(n,)`` from ``nearest_distances``.
        fake: ``(m, d)`` features, m at least 1.

    Raises:
        UsageError: too few images, features of two lengths, or distances of another number of real images.
        UserError: features that are not finite.
    """
    require_features(real, 2)
    require_features(fake, 1)
    check_same_dimensions(real.shape[1], fake.shape[1])
    if between_real.shape != (len(real),):
        raise UsageError(f"nearest distances {between_real.shape} are not those of {len(real)} real images")
    nearest = _nearest_of(real, fake)
    # Computed from the differences: in products, a copy's distance is only rounding error.
    distances = np.linalg.norm(fake.astype(np.float64) - real[nearest], axis=1)
    return Estimate.from_hits(distances <= np.quantile(between_real, COPY_QUANTILE))


def _nearest_of(real: NDArray[np.floating], fake: NDArray[np.floating]) -> NDArray[np.int64]:
    """Index ``(m,)`` of the real row nearest to each generated one, in float32.

    That takes a tenth of the time of distances in float64, and another row is found only where both are as near.
    """
    centre = real.mean(axis=0, dtype=np.float64)
    centred = [rows - centre for rows in (real, fake)]
    # Scaled, so that no square is out of range.
    scale = float(np.abs(centred[0]).max()) or 1.0
    known, made = ((rows / scale).astype(np.float32) for rows in centred)
    squares = np.einsum("nd,nd->n", known, known)
    step = max(1, BLOCK_NUMBERS // len(known))
    blocks = (made[start : start + step] for start in range(0, len(made), step))
    return np.concatenate([(squares - 2.0 * (block @ known.T)).argmin(axis=1) for block in blocks])
