"""The Frechet distance between two sets of feature vectors (Heusel et al. 2017), in float64.

Symmetric eigenvalues in float32 are wrong by up to 5 percent, so everything here is float64; with the real side's
square root kept, one distance costs one symmetric eigenvalue problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureStatistics:
    """Mean ``(d,)`` and covariance ``(d, d)`` (divisor n - 1) of ``count`` feature vectors.

    ``known_root`` is the covariance's symmetric square root where it was computed before.
    """

    mean: Array
    covariance: Array
    count: int
    known_root: Array | None = None

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> FeatureStatistics:
        """Statistics of ``(n, d)`` features, n at least 2."""
        if features.ndim != 2 or len(features) < 2:
            raise UsageError(f"features of shape {features.shape}; at least 2 pictures are needed")
        exact = features.astype(np.float64)
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
    if real.mean.shape != fake.mean.shape:
        raise UsageError(f"features of {len(real.mean)} and {len(fake.mean)} dimensions cannot be compared")
    values = np.linalg.eigvalsh(real.root @ fake.covariance @ real.root)
    overlap = np.sqrt(np.clip(values, 0.0, None)).sum()
    difference = real.mean - fake.mean
    traces = np.trace(real.covariance) + np.trace(fake.covariance)
    return max(0.0, float(difference @ difference + traces - 2.0 * overlap))
