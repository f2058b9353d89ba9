"""Scores from nearest neighbours: precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al.
2020), and whether generated pictures are copies of training pictures.

All but density depend on how many pictures each side has. Compare at equal numbers only, and take as many real
pictures as generated ones, as the papers do; for copies take all training pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.feature_arrays import checked, checked_pair, distance_blocks
from trainables.scoring.intervals import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NEAREST_PRECISION: Final = 3
"""k of precision and recall, the paper's."""
NEAREST_DENSITY: Final = 5
"""k of density and coverage, the paper's."""
COPY_QUANTILE: Final = 0.01
HALVES: Final = 60
"""Random halves of the generated pictures behind the error of recall. The jackknife is 1.2 to 1.6 times too large
there, as the distance to a third neighbour is no smooth function of the pictures; halves give 0.9 to 1.1."""
LISTED: Final = 48
"""Nearest others among which the third one of a random half is looked for: fewer than 3 are once in 10^11."""


@dataclass(frozen=True)
class Manifold:
    """Features ``(n, d)`` and the ascending distances ``(n, 5)`` of each to its nearest others."""

    features: Array
    distances: Array

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Manifold:
        """Of ``(n, d)`` finite features, n at least 6."""
        exact = checked(features, least=NEAREST_DENSITY + 1)
        return cls(exact, _nearest_others(exact, NEAREST_DENSITY)[0])


def _nearest_others(features: Array, count: int) -> tuple[Array, NDArray[np.intp]]:
    """Ascending distances ``(n, count)`` to the nearest other rows, and their places."""
    distances, places = [], []
    for rows, block in distance_blocks(features, features):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = np.inf
        near = np.argpartition(block, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(block, near, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        distances.append(np.take_along_axis(found, order, axis=1))
        places.append(np.take_along_axis(near, order, axis=1))
    return np.concatenate(distances), np.concatenate(places)


@dataclass(frozen=True)
class ManifoldScores:
    """``precision``: share of generated pictures within reach of a real one. ``recall``: the reverse.

    ``density``: in how many real pictures' reach a generated one is, over k; may pass 1. ``coverage``: share of real
    pictures with a generated one in reach. A picture's reach is the distance to its k-th nearest other of its side.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


def manifold_scores(real: Manifold, fake: NDArray[np.floating]) -> ManifoldScores:
    """Precision, recall, density and coverage of ``(m, d)`` generated features, m at least 8.

    Raises:
        UsageError: too few pictures or features of another length.
        UserError: features that are not finite.
    """
    _, exact = checked_pair(real.features, fake, least=2 * NEAREST_PRECISION + 2)
    narrow, wide = real.distances[:, NEAREST_PRECISION - 1], real.distances[:, NEAREST_DENSITY - 1]
    n, targets = len(exact), len(real.features)
    reaches = _reaches(exact)
    recalled = np.zeros((len(reaches), targets), dtype=np.bool_)
    hits, reached = np.zeros(n, dtype=np.bool_), np.zeros(n)
    covering, only = np.zeros(targets, dtype=np.int64), np.zeros(targets, dtype=np.int64)
    for rows, block in distance_blocks(exact, real.features):
        hits[rows] = (block <= narrow).any(axis=1)
        within = block < wide
        reached[rows] = within.sum(axis=1) / NEAREST_DENSITY
        covering += within.sum(axis=0)
        # The place of the one covering picture where there is one: the sum of the places of all.
        only += np.arange(rows.start, rows.stop) @ within
        for seen, reach in zip(recalled, reaches[:, rows], strict=True):
            seen |= (block <= reach[:, None]).any(axis=0)
    coverage, shares = float((covering > 0).mean()), recalled.mean(axis=1)
    lost = np.bincount(only[covering == 1], minlength=n) / targets
    # Where every real picture in reach is in that of several, leaving one out changes nothing, and yet other pictures
    # would reach others: the error is that of one real picture in reach of a single generated one, or more.
    least = (n - 1) / n / targets
    return ManifoldScores(
        precision=Estimate.of_hits(hits),
        recall=Estimate.of_halves(float(shares[0]), shares[1:], n, share=True, least=least),
        density=Estimate.left_out(float(reached.mean()), (reached.sum() - reached) / (n - 1), lowest=0.0),
        coverage=Estimate.left_out(coverage, coverage - lost, share=True, least=least),
    )


def _reaches(fake: Array) -> Array:
    """Distance of each picture to its third nearest other: among all, then among random halves ``(1 + HALVES, n)``.

    A picture that is not in a half has no reach there: -1.
    """
    n = len(fake)
    distances, places = _nearest_others(fake, min(n - 1, LISTED))
    reaches = np.full((1 + HALVES, n), -1.0)
    reaches[0] = distances[:, NEAREST_PRECISION - 1]
    random = np.random.default_rng(0)
    for reach in reaches[1:]:
        kept = np.zeros(n, dtype=np.bool_)
        kept[random.permutation(n)[: n // 2]] = True
        third = (np.cumsum(kept[places[kept]], axis=1) == NEAREST_PRECISION).argmax(axis=1)
        reach[kept] = distances[kept, third]
    return reaches


@dataclass(frozen=True)
class Copies:
    """How near generated pictures are to training pictures.

    ``share`` of the generated pictures lie no farther from a training picture than ``threshold``, within which
    1% of the training pictures have another one. Fresh pictures of the training distribution give 0.01, a generator
    that repeats its training pictures far more, one of poor pictures 0. ``distances`` and ``nearest`` ``(m,)`` are
    each generated picture's distance to its nearest training picture and that one's place; ``order`` sorts the
    generated pictures, the nearest to a training picture first.
    """

    share: Estimate
    threshold: float
    distances: Array
    nearest: NDArray[np.int64]
    order: NDArray[np.int64]


def nearest_distances(real: NDArray[np.floating], groups: NDArray[np.int64] | None = None) -> Array:
    """Distance ``(n,)`` of each real picture to its nearest other one.

    Args:
        real: ``(n, d)`` features, n at least 2.
        groups: ``(n,)`` near-duplicate group numbers; pictures of one group are not each other's neighbours, so that
            copies among the real pictures do not excuse copies among the generated ones.

    Raises:
        UsageError: fewer than 2 pictures, groups of another shape, or one group only.
        UserError: features that are not finite.
    """
    exact = checked(real)
    if groups is None:
        groups = np.arange(len(exact))
    if groups.shape != (len(exact),) or (groups == groups[0]).all():
        raise UsageError(
            f"groups {groups.shape} of {len(exact)} pictures; one number a picture and 2 groups are needed"
        )
    nearest = np.empty(len(exact), dtype=np.int64)
    for rows, block in distance_blocks(exact, exact):
        block[groups[rows, None] == groups] = np.inf
        nearest[rows] = block.argmin(axis=1)
    return np.asarray(np.linalg.norm(exact - exact[nearest], axis=1))


def copies(real: NDArray[np.floating], between_real: Array, fake: NDArray[np.floating]) -> Copies:
    """Look for training pictures among generated ones.

    Args:
        real: ``(n, d)`` features of the training pictures, n at least 2.
        between_real: ``(n,)`` from ``nearest_distances``.
        fake: ``(m, d)`` features, m at least 1.

    Raises:
        UsageError: too few pictures, features of two lengths, or distances that are not of these real pictures.
        UserError: features that are not finite.
    """
    known, made = checked_pair(real, fake, least=1, least_real=2)
    if between_real.shape != (len(known),):
        raise UsageError(f"nearest distances {between_real.shape} are not those of {len(known)} real pictures")
    nearest = np.empty(len(made), dtype=np.int64)
    for rows, block in distance_blocks(made, known):
        nearest[rows] = block.argmin(axis=1)
    # Once more from the differences: a copy's distance is all rounding in the blocks.
    distances = np.linalg.norm(made - known[nearest], axis=1)
    threshold = float(np.quantile(between_real, COPY_QUANTILE))
    return Copies(
        Estimate.of_hits(distances <= threshold), threshold, distances, nearest, np.argsort(distances, kind="stable")
    )
