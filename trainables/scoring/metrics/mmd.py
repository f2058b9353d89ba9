"""The maximum mean discrepancy of CMMD (Jayasumana et al. 2024), in any feature space.

CMMD is this score of CLIP's features. It assumes no normal distribution, as the Frechet distance does, and uses the
biased (minimum-variance) estimate, so only scores of equally many images compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.validation import check_feature_pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float32]

SIGMA = 10.0
"""Width of the Gaussian kernel."""
SCALE = 1000.0
"""Factor that makes the score readable, as in the paper."""
BLOCK = 2048


def compute_mmd(real: NDArray[np.floating], fake: NDArray[np.floating]) -> Estimate:
    """Squared discrepancy of L2-normalised features, times 1000, with its standard error over other generated images.

    Args:
        real: ``(n, d)`` features, n at least 2.
        fake: ``(m, d)`` features, m at least 3.

    Raises:
        UsageError: too few images, or features of two lengths.
        UserError: features that are not finite.
    """
    real, fake = check_feature_pair(real, fake, least=3, least_real=2)
    real, fake = _normalise(real), _normalise(fake)
    n, m = len(real), len(fake)
    within, between = _row_sums(fake, fake), _row_sums(fake, real)
    of_real = float(_row_sums(real, real).sum()) / n**2
    value = of_real + within.sum() / m**2 - 2 * between.sum() / (n * m)
    # Without an image, its row and its column are missing; on the diagonal the kernel is 1.
    rest = (within.sum() - 2 * within + 1) / (m - 1) ** 2 - 2 * (between.sum() - between) / (n * (m - 1))
    return Estimate.jackknife(SCALE * float(value), SCALE * (of_real + rest), lowest=0.0)


def _normalise(features: NDArray[np.floating]) -> Features:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, np.finfo(np.float64).tiny), np.float32)


def _row_sums(left: Features, right: Features) -> NDArray[np.float64]:
    """Sums ``(n,)`` of the kernel of each left image with all right ones."""
    sums = np.empty(len(left))
    squares = [np.einsum("nd,nd->n", one, one, dtype=np.float64) for one in (left, right)]
    for start in range(0, len(left), BLOCK):
        rows = slice(start, start + BLOCK)
        # Products in float32 are off by 1e-7, and the kernel by 1e-9.
        distances = squares[0][rows, None] + squares[1] - 2.0 * (left[rows] @ right.T).astype(np.float64)
        sums[rows] = np.exp(distances / (-2 * SIGMA**2)).sum(axis=1)
    return sums
