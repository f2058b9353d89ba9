"""Standard error of a Frechet distance: the exact jackknife from one eigenproblem.

Against fresh draws of Gaussian, rectified and log-normal features (d = 64 and 256; n = d/2, 2d and 8d) the standard
error is 0.91 to 1.08 times the true spread, and 1.1 to 1.4 times where both sides are the same distribution. The
others tried: the influence function 0.97 to 1.3 and up to 1.6; half-samples without replacement 0.93 to 1.25 and up
to 1.8, at many eigenproblems; the bootstrap with replacement 1.0 to 1.9 and up to 4.4. A 95% interval held the mean of
fresh draws 91 to 100 times in 100 (94 to 100 where both sides are the same distribution), and 89 times in 100 of a
dozen log-normal images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.validation import check_features, check_same_dimensions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.scoring.metrics.frechet import FeatureStatistics

    Array = NDArray[np.float64]

LOG_RANGE = 44.0
"""Half width, in the logarithm, of the range of integration around the largest eigenvalue; the rest is below 1e-8."""
STEP = 0.8
"""Step of the trapezoidal rule; its error is exp(-2 pi^2 / STEP): 2e-11."""


def frechet_estimate(real: FeatureStatistics, fake: NDArray[np.floating]) -> Estimate:
    """The Frechet distance to ``(n, d)`` features, n at least 3, with its standard error.

    Its interval holds the mean distance over fresh samples of n images of the same generator: the reference is fixed,
    another training seed is not covered, and the part of the distance that comes from n being finite stays in.

    Raises:
        UsageError: fewer than 3 images, or features of another length.
        UserError: features that are not finite.
    """
    return Estimate.jackknife(*frechet_leave_one_out(real, fake), lowest=0.0)


def frechet_leave_one_out(real: FeatureStatistics, fake: NDArray[np.floating]) -> tuple[float, Array]:
    """The distance and the leave-one-out distances ``(n,)``; raises what ``frechet_estimate`` raises."""
    features = check_features(fake, least=3)
    check_same_dimensions(len(real.mean), features.shape[1])
    n = len(features)
    mean = features.mean(axis=0)
    centred = features - mean
    values, weights = _spectrum(real, centred)
    overlap, lost = np.sqrt(values).sum(), _overlap_losses(values, weights)
    squares = np.einsum("nd,nd->n", centred, centred)
    difference, trace = real.mean - mean, float(np.trace(real.covariance))
    value = difference @ difference + trace + squares.sum() / (n - 1) - 2 * overlap / np.sqrt(n - 1)
    # Without image i the mean moves by centred_i / (n - 1) and the squares lose those of centred_i * (n / (n - 1))^.5
    moved = difference @ difference + 2 * centred @ difference / (n - 1) + squares / (n - 1) ** 2
    spread = (squares.sum() - squares * n / (n - 1)) / (n - 2)
    without = moved + trace + spread - 2 * (overlap - lost) / np.sqrt(n - 2)
    return max(0.0, float(value)), without


def _spectrum(real: FeatureStatistics, centred: Array) -> tuple[Array, Array]:
    """Nonzero eigenvalues ``(k,)`` of ``centred S1 centred^T`` and the squares ``(n, k)`` of its eigenvectors."""
    n, dimensions = centred.shape
    if n <= dimensions:
        values, vectors = np.linalg.eigh(centred @ real.covariance @ centred.T)
        kept = _nonzero(values, n)
        return values[kept], vectors[:, kept] ** 2
    rooted = centred @ real.root
    values, vectors = np.linalg.eigh(rooted.T @ rooted)
    kept = _nonzero(values, n)
    return values[kept], (rooted @ vectors[:, kept]) ** 2 / values[kept]


def _nonzero(values: Array, size: int) -> NDArray[np.bool_]:
    return np.asarray(values > max(values[-1], 0.0) * size * np.finfo(np.float64).eps)


def _overlap_losses(values: Array, weights: Array) -> Array:
    """Decrease ``(n,)`` of the sum of the eigenvalues' square roots when each image is left out.

    Leaving image i out of the centred ``A`` removes one direction, with squares ``n / (n - 1) * weights[i]`` along
    the eigenvectors. As ``tr A^(1/2)`` is the integral of ``log det(1 + A / t) t^(-1/2) dt / (2 pi)`` over t > 0 and
    the determinant without a direction is ``det(A + t)`` times that direction's entry of ``(A + t)^-1``, the loss is
    the integral of ``-log`` of ``t`` times that entry.
    """
    n = len(weights)
    if not len(values):
        return np.zeros(n)
    squares = weights * (n / (n - 1))
    rest = np.clip(1.0 - squares.sum(axis=1, keepdims=True), 0.0, None)
    # t = exp(s). Above the largest eigenvalue the entry is near 1: there its distance from 1 is what must be exact.
    grid = np.log(values[-1]) + np.arange(-LOG_RANGE, LOG_RANGE + STEP, STEP)
    low, high = np.exp(grid[grid < np.log(values[-1])]), np.exp(grid[grid >= np.log(values[-1])])
    below = rest + squares @ (low / (values[:, None] + low))
    above = squares @ (values[:, None] / (values[:, None] + high))
    lost = -np.log(np.maximum(below, np.finfo(np.float64).tiny)) @ np.sqrt(low)
    lost -= np.log1p(-np.minimum(above, 1.0 - 1e-15)) @ np.sqrt(high)
    return np.asarray(lost * STEP / (2 * np.pi))
