"""The Frechet distance between two sets of feature vectors (Heusel et al. 2017), in float64.

Eigenvalues in float32 are off by up to 5 percent, so everything here is float64. With the square root of the real
covariance cached, a distance costs one symmetric eigenvalue problem of size min(images, features).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.data.tensors import as_tensor
from trainables.errors import UserError
from trainables.scoring.metrics.validation import BLOCK_ROWS, check_features, check_same_dimensions, require_features

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean ``(d,)`` and covariance ``(d, d)`` (divisor n - 1) of ``count`` feature vectors.

    ``precomputed_root`` is the covariance's symmetric square root, if it is known.

    Raises:
        UserError: NaN or infinite values.
    """

    mean: Array
    covariance: Array
    count: int
    precomputed_root: Array | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise UserError(
                f"statistics of {self.count} images hold NaN or infinite values; recompute them from finite features"
            )

    @classmethod
    def of(cls, features: NDArray[np.floating], rows: NDArray[np.int64] | None = None) -> FeatureStatistics:
        """Statistics of ``(n, d)`` finite features, or of the given rows of them, 2 or more."""
        count = len(features) if rows is None else len(rows)
        if count > BLOCK_ROWS:
            return cls._in_blocks(features, np.arange(count) if rows is None else rows)
        exact = check_features(features if rows is None else features[rows])
        mean = exact.mean(axis=0)
        centred = exact - mean
        return cls(mean, centred.T @ centred / (count - 1), count)

    @classmethod
    def _in_blocks(cls, features: NDArray[np.floating], rows: NDArray[np.int64]) -> FeatureStatistics:
        """Two passes over blocks of rows: in float64 all of them may not fit into memory."""
        require_features(features)
        blocks = [rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS)]
        mean = sum((features[block].sum(axis=0, dtype=np.float64) for block in blocks), np.zeros(1)) / len(rows)
        covariance = np.zeros((features.shape[1],) * 2)
        for block in blocks:
            centred = features[block] - mean
            covariance += centred.T @ centred
        return cls(mean, covariance / (len(rows) - 1), len(rows))

    @cached_property
    def root(self) -> Array:
        """Symmetric square root of the covariance; negative eigenvalues are rounding errors and are set to 0."""
        if self.precomputed_root is not None:
            return self.precomputed_root
        values, vectors = np.linalg.eigh(self.covariance)
        root: Array = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
        return root


def frechet_distance(real: FeatureStatistics, fake: FeatureStatistics) -> float:
    """``|m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))``, at least 0.

    ``S1 S2`` has the eigenvalues of the symmetric ``R S2 R`` with ``R`` the root of ``S1``, so singular covariances
    need no special case.
    """
    check_same_dimensions(len(real.mean), len(fake.mean))
    root = as_tensor(real.root)
    product = root @ as_tensor(fake.covariance) @ root
    return _distance(real, fake.mean, float(np.trace(fake.covariance)), product)


def frechet_distance_of_features(real: FeatureStatistics, fake: NDArray[np.floating]) -> float:
    """Frechet distance to ``(n, d)`` features, n at least 2; faster than ``frechet_distance`` for few images.

    With ``Y`` the centred features over ``(n - 1)^(1/2)``, ``R S2 R = (Y R)^T (Y R)`` has the eigenvalues of
    ``Y S1 Y^T`` and zeros. Up to d images that matrix is the smaller one and neither the covariance of ``fake`` nor
    the root of ``S1`` is needed.

    Raises:
        UsageError: fewer than 2 images, or features of another length.
        UserError: features that are not finite.
    """
    features = check_features(fake)
    check_same_dimensions(len(real.mean), features.shape[1])
    if len(features) > features.shape[1]:
        return frechet_distance(real, FeatureStatistics.of(features))
    mean = features.mean(axis=0)
    scaled = torch.from_numpy(features - mean).div_(np.sqrt(len(features) - 1))
    product = scaled @ as_tensor(real.covariance) @ scaled.T
    return _distance(real, mean, float(scaled.square().sum()), product)


def _distance(real: FeatureStatistics, mean: Array, spread: float, product: Tensor) -> float:
    """Distance from the fake mean and trace, and a symmetric matrix with the nonzero eigenvalues of ``S1 S2``."""
    # torch's eigvalsh takes half the time of numpy's, and a second thread pool would compete with torch's.
    overlap = float(torch.linalg.eigvalsh(product).clamp_(min=0.0).sqrt_().sum())
    difference = real.mean - mean
    return max(0.0, float(difference @ difference + np.trace(real.covariance)) + spread - 2.0 * overlap)
