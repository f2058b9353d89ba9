"""How sure a score is: its standard error and interval over other generated pictures of the same number.

The errors come from the jackknife: the score is computed again without each picture in turn, which nearly every score
here does in closed form; recall, where that fails, from random halves of the pictures. Resampling with replacement is
of no use: a picture drawn twice is no second picture, so the Frechet distance grows, its spread is up to four times
too large where n is near d, and recall and coverage shrink. The jackknife's variance is never too small on average
(Efron and Stein 1981), but one sample cannot show tails that it did not draw: where few features of heavy tails make
up most of a score, intervals are too narrow.

An interval holds the mean score over fresh pictures of the same generator, as many as were scored, against the same
reference and judge. It does not hold what another training seed would give, which only other trainings show, nor what
a score would be with more pictures.
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
"""Standard errors up to this are none."""


@dataclass(frozen=True)
class Estimate:
    """A score from ``count`` generated pictures and its standard error over other such pictures.

    A ``share`` lies in [0, 1]; any other score lies at or above ``lowest``.
    """

    value: float
    standard_error: float
    count: int
    share: bool = False
    lowest: float = -math.inf

    @classmethod
    def left_out(
        cls,
        value: float,
        without: Array,
        *,
        share: bool = False,
        lowest: float = -math.inf,
        extra: float = 0.0,
        least: float = 0.0,
    ) -> Estimate:
        """The jackknife's.

        Args:
            value: the score of all n pictures.
            without: ``(n,)``, the score without each picture in turn.
            share: whether the score lies in [0, 1].
            lowest: the least value that the score can take.
            extra: standard error from another source, such as a random choice of subsets.
            least: standard error below which none is believed.
        """
        n = len(without)
        error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()) + extra**2)
        return cls(value, max(error, least), n, share, lowest)

    @classmethod
    def of_halves(
        cls,
        value: float,
        halves: Array,
        count: int,
        *,
        share: bool = False,
        lowest: float = -math.inf,
        least: float = 0.0,
    ) -> Estimate:
        """From the scores ``(repeats,)`` of random ``count // 2`` of the ``count`` pictures, drawn without return."""
        kept = count // 2
        error = math.sqrt(kept / (count - kept)) * float(np.std(halves, ddof=1))
        return cls(value, max(error, least), count, share, lowest)

    @classmethod
    def of_hits(cls, hits: NDArray[np.bool_]) -> Estimate:
        """The share of ``(n,)`` pictures that are right; NaN of no picture."""
        if not len(hits):
            return cls(math.nan, math.nan, 0, share=True)
        value = float(np.mean(hits))
        return cls(value, math.sqrt(value * (1 - value) / len(hits)), len(hits), share=True)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """``(low, high)`` that holds the mean score over other such pictures with probability ``level``.

        NaN where the error is unknown. Normal, and for shares Wilson's (1927), which keeps within [0, 1] and has a
        width where all pictures or none are right. A share without any error is as uncertain as that of ``count``
        independent pictures.

        Raises:
            UsageError: a level outside (0, 1).
        """
        if not 0.0 < level < 1.0:
            raise UsageError(f"level {level} is impossible; allowed is above 0 and below 1, such as 0.95")
        if math.isnan(self.value) or math.isnan(self.standard_error):
            return math.nan, math.nan
        z = NormalDist().inv_cdf(0.5 + level / 2)
        if self.share:
            return self._wilson(z)
        return max(self.lowest, self.value - z * self.standard_error), self.value + z * self.standard_error

    def _wilson(self, z: float) -> tuple[float, float]:
        spread = self.value * (1 - self.value)
        # The number of independent pictures whose share would be as uncertain.
        moves = spread > 0 and self.standard_error > _ROUNDING
        trials = spread / self.standard_error**2 if moves else self.count
        middle = (self.value + z**2 / (2 * trials)) / (1 + z**2 / trials)
        half = z / (1 + z**2 / trials) * math.sqrt(spread / trials + z**2 / (4 * trials**2))
        # The bounds at no and at all pictures are 0 and 1 but for rounding.
        return max(0.0, min(self.value, middle - half)), min(1.0, max(self.value, middle + half))
