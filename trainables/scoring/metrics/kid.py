"""The kernel distance (KID, Binkowski et al. 2018): the squared maximum mean discrepancy of a cubic polynomial kernel.

Unbiased at every number of images, so it compares scores of unequal numbers, where the Frechet distance does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.validation import check_feature_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 2020
BLOCK = 2048


def compute_kid(
    real: NDArray[np.floating],
    fake: NDArray[np.floating],
    subsets: int = SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = SEED,
) -> Estimate:
    """Mean over random subsets of the unbiased ``MMD^2`` with ``k(x, y) = (x.y / d + 1)^3``.

    Its standard error is over other generated images and other subsets; papers report the standard deviation between
    the subsets, which reflects their size rather than the uncertainty of the mean.

    The subsets are those that torch-fidelity draws from the same seed, so both values agree up to rounding. The time
    grows with the square of the larger set; a fixed random choice of 5,000 real images is enough.

    Args:
        real: ``(n, d)`` features, n at least 2.
        fake: ``(m, d)`` features, m at least 3.
        subsets: number of subsets, at least 1.
        subset_size: images per side in a subset, at least 2; capped at the size of the smaller set.
        seed: seed of the subsets.

    Raises:
        UsageError: too few images, ``subsets`` below 1 or ``subset_size`` below 2, or features of two lengths.
        UserError: features that are not finite.
    """
    return KidReference(real).distance(fake, subsets, subset_size, seed)


@dataclass(frozen=True, eq=False)
class KidReference:
    """Real features ``(n, d)`` to which kernel distances are measured, with what these distances share.

    The kernels between real images depend on the number of generated ones alone, and are computed once for each.
    """

    features: NDArray[np.floating]
    _shared: dict[tuple[int, ...], tuple[Array, Array, Array]] = field(default_factory=dict, repr=False)
    """Memberships of real and generated images in the subsets, and the subsets' sums over pairs of real images."""

    def distance(
        self, fake: NDArray[np.floating], subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = SEED
    ) -> Estimate:
        """Return ``compute_kid`` of these and the generated features."""
        if subsets < 1 or subset_size < 2:
            raise UsageError(f"{subsets} subsets of {subset_size} images; allowed is at least 1 of at least 2")
        real, fake = check_feature_pair(self.features, fake, least=3, least_real=2)
        size, drawn = min(subset_size, len(real), len(fake)), (len(fake), subsets, subset_size, seed)
        if drawn not in self._shared:
            of_real, of_fake = _draw(len(real), len(fake), subsets, size, seed)
            self._shared[drawn] = of_real, of_fake, _sums(real, real, of_real, of_real, diagonal=False)[0]
        of_real, of_fake, within_real = self._shared[drawn]
        within_fake, fake_to_fake = _sums(fake, fake, of_fake, of_fake, diagonal=False)
        between, fake_to_real = _sums(fake, real, of_fake, of_real)
        values = (within_real + within_fake) / (size * (size - 1)) - 2 * between / size**2
        without = _without(fake_to_fake, fake_to_real, len(real))
        return Estimate.jackknife(float(values.mean()), without, extra_error=float(values.std()) / np.sqrt(subsets))


def _draw(real: int, fake: int, subsets: int, size: int, seed: int) -> tuple[Array, Array]:
    """Membership ``(subsets, real)`` and ``(subsets, fake)``, 0 or 1, in torch-fidelity's order of draws."""
    random = np.random.RandomState(seed)
    of_real, of_fake = np.zeros((subsets, real)), np.zeros((subsets, fake))
    for row in range(subsets):
        of_real[row, random.choice(real, size, replace=False)] = 1.0
        of_fake[row, random.choice(fake, size, replace=False)] = 1.0
    return of_real, of_fake


def _sums(left: Array, right: Array, of_left: Array, of_right: Array, *, diagonal: bool = True) -> tuple[Array, Array]:
    """Sums of the kernel over each subset's pairs ``(subsets,)`` and over each left image's pairs ``(n,)``.

    A subset's sum is ``s^T K t`` with its memberships s and t, so the kernel is made once, some rows at a time.
    """
    over_subsets, over_rows = np.zeros(len(of_left)), np.empty(len(left))
    for start in range(0, len(left), BLOCK):
        rows = slice(start, min(start + BLOCK, len(left)))
        linear = left[rows] @ right.T
        linear /= left.shape[1]
        linear += 1.0
        kernel = linear * linear
        kernel *= linear
        if not diagonal:
            kernel[np.arange(len(kernel)), np.arange(rows.start, rows.stop)] = 0.0
        over_subsets += np.einsum("sn,sn->s", of_left[:, rows] @ kernel, of_right)
        over_rows[rows] = kernel.sum(axis=1)
    return over_subsets, over_rows


def _without(fake_to_fake: Array, fake_to_real: Array, real: int) -> Array:
    """Leave-one-out values ``(m,)`` of the part of ``MMD^2`` over all images that depends on generated images."""
    m = len(fake_to_fake)
    within = (fake_to_fake.sum() - 2 * fake_to_fake) / ((m - 1) * (m - 2))
    return np.asarray(within - 2 * (fake_to_real.sum() - fake_to_real) / (real * (m - 1)))
