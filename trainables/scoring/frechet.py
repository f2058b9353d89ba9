"""The Frechet distance between two sets of feature vectors (Heusel et al. 2017), in float64.

Symmetric eigenvalues in float32 are wrong by up to 5 percent, so everything here is float64; with the real side's
square root kept, one distance costs one symmetric eigenvalue problem, of the smaller of the number of pictures and the
number of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.errors import UserError
from trainables.pictures import as_tensor
from trainables.scoring.feature_arrays import checked, same_dimensions

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean ``(d,)`` and covariance ``(d, d)`` (divisor n - 1) of ``count`` feature vectors.

    ``known_root`` is the covariance's symmetric square root where it was computed before.

    Raises:
        UserError: a number that is not finite.
    """

    mean: Array
    covariance: Array
    count: int
    known_root: Array | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise UserError(
                f"statistics of {self.count} pictures hold NaN or infinite numbers; make them anew from finite features"
            )

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> FeatureStatistics:
        """Statistics of ``(n, d)`` finite features, n at least 2."""
        exact = checked(features)
        mean = exact.mean(axis=0)
        centred = exact - mean
        return cls(mean, centred.T @ centred / (len(exact) - 1), len(exact))

    @cached_property
    def root(self) -> Array:
        """Symmetric square root of the covariance; negative eigenvalues are rounding and count as 0."""
        if self.known_root is not None:
            return self.known_root
        values, vectors = np.linalg.eigh(self.covariance)
        root: Array = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
        return root


def frechet_distance(real: FeatureStatistics, fake: FeatureStatistics) -> float:
    """``|m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2))``, at least 0.

    ``S1 S2`` has the eigenvalues of the symmetric ``R S2 R`` with ``R`` the root of ``S1``, so singular covariances
    need no special case.
    """
    same_dimensions(len(real.mean), len(fake.mean))
    root = as_tensor(real.root)
    product = root @ as_tensor(fake.covariance) @ root
    return _distance(real, fake.mean, float(np.trace(fake.covariance)), product)


def frechet_distance_of_features(real: FeatureStatistics, fake: NDArray[np.floating]) -> float:
    """The distance to ``(n, d)`` features, n at least 2: the same number, sooner.

    With ``Y`` the centred features over ``(n - 1)^(1/2)``, ``R S2 R = (Y R)^T (Y R)`` has the eigenvalues of
    ``Y S1 Y^T`` and zeros. Up to d pictures that matrix is the smaller one and neither the covariance of ``fake`` nor
    the root of ``S1`` is needed.

    Raises:
        UsageError: fewer than 2 pictures, or features of another length.
        UserError: features that are not finite.
    """
    features = checked(fake)
    same_dimensions(len(real.mean), features.shape[1])
    if len(features) > features.shape[1]:
        return frechet_distance(real, FeatureStatistics.of(features))
    mean = features.mean(axis=0)
    scaled = torch.from_numpy(features - mean).div_(np.sqrt(len(features) - 1))
    product = scaled @ as_tensor(real.covariance) @ scaled.T
    return _distance(real, mean, float(scaled.square().sum()), product)


def _distance(real: FeatureStatistics, mean: Array, spread: float, product: Tensor) -> float:
    """From the other side's mean and trace and a symmetric matrix with the nonzero eigenvalues of ``S1 S2``."""
    # torch's eigenvalues take half the time of numpy's, and two pools of threads would get into each other's way.
    overlap = float(torch.linalg.eigvalsh(product).clamp_(min=0.0).sqrt_().sum())
    difference = real.mean - mean
    return max(0.0, float(difference @ difference + np.trace(real.covariance)) + spread - 2.0 * overlap)
