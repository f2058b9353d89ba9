"""Scores with standard errors and intervals over other samples of generated images of the same size.

Standard errors come from the jackknife (leave-one-out scores, in closed form for nearly every score) and, for recall,
from random half-samples. The bootstrap is not used: an image drawn twice is not a second image, so the Frechet
distance grows, its spread is up to four times too large where n is near d, and recall and coverage shrink. The
jackknife's variance is not too small on average (Efron and Stein 1981), but a sample does not show tails that it did
not draw: where few heavy-tailed features dominate a score, intervals are too narrow.

An interval covers the mean score over new samples of the same generator and size, against the same reference and tag
classifier. It covers neither other training seeds nor other sample sizes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


_ROUNDING: Final = 1e-12
"""Standard errors up to this are rounding."""


@dataclass(frozen=True)
class Estimate:
    """A score of ``count`` generated images and its standard error over other samples of that size.

    With ``share`` the score is a proportion in [0, 1]; otherwise it is at least ``lowest``.
    """

    value: float
    standard_error: float
    count: int
    share: bool = False
    lowest: float = -math.inf

    @classmethod
    def jackknife(
        cls,
        value: float,
        leave_one_out: Array,
        *,
        share: bool = False,
        lowest: float = -math.inf,
        extra_error: float = 0.0,
        min_error: float = 0.0,
    ) -> Estimate:
        """Estimate the standard error by the jackknife.

        Args:
            value: the score of all n images.
            leave_one_out: ``(n,)``, the score without each image in turn.
            share: whether the score lies in [0, 1].
            lowest: lower bound of the score.
            extra_error: independent standard error from another source, such as a random choice of subsets.
            min_error: lower bound of the standard error.
        """
        n = len(leave_one_out)
        error = math.sqrt((n - 1) / n * float(((leave_one_out - leave_one_out.mean()) ** 2).sum()) + extra_error**2)
        return cls(value, max(error, min_error), n, share, lowest)

    @classmethod
    def from_half_samples(cls, value: float, halves: Array, count: int, *, min_error: float = 0.0) -> Estimate:
        """Estimate a proportion from ``(repeats,)`` ones of ``count // 2`` of ``count`` images without replacement."""
        kept = count // 2
        error = math.sqrt(kept / (count - kept)) * float(np.std(halves, ddof=1))
        return cls(value, max(error, min_error), count, share=True)

    @classmethod
    def from_hits(cls, hits: NDArray[np.bool_]) -> Estimate:
        """Proportion of true values among ``(n,)``, with its binomial standard error; NaN for n = 0."""
        if not len(hits):
            return cls(math.nan, math.nan, 0, share=True)
        value = float(np.mean(hits))
        return cls(value, math.sqrt(value * (1 - value) / len(hits)), len(hits), share=True)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval ``(low, high)`` of the mean score over other samples.

        Normal, and for proportions Wilson's (1927), which stays within [0, 1] and has a width at 0 and 1. A proportion
        with a standard error of 0 is treated as that of ``count`` independent images. NaN if the error is unknown.

        Raises:
            UsageError: a level outside (0, 1).
        """
        if not 0.0 < level < 1.0:
            raise UsageError(f"level {level} is out of range; allowed: above 0 and below 1, such as 0.95")
        if math.isnan(self.value) or math.isnan(self.standard_error):
            return math.nan, math.nan
        z = NormalDist().inv_cdf(0.5 + level / 2)
        if self.share:
            return self._wilson(z)
        return max(self.lowest, self.value - z * self.standard_error), self.value + z * self.standard_error

    def _wilson(self, z: float) -> tuple[float, float]:
        spread = self.value * (1 - self.value)
        # Number of independent images with the same standard error.
        moves = spread > 0 and self.standard_error > _ROUNDING
        trials = spread / self.standard_error**2 if moves else self.count
        middle = (self.value + z**2 / (2 * trials)) / (1 + z**2 / trials)
        half = z / (1 + z**2 / trials) * math.sqrt(spread / trials + z**2 / (4 * trials**2))
        # At 0 and 1 the bounds are exact except for rounding.
        return max(0.0, min(self.value, middle - half)), min(1.0, max(self.value, middle + half))
