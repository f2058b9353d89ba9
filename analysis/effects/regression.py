"""The effect of one variable on another, adjusted for the rest: least squares with a robust interval.

Ordinary least squares by partialling out (Frisch, Waugh and Lovell). The standard error is HC3 (MacKinnon and White
1985): trials of some choices scatter more than others. Its degrees of freedom follow the number of trials on which the
estimate rests (after Satterthwaite), which is small when one choice was rarely tried, as an adaptive search leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

LEVEL: Final = 0.95
_TRIALS_PER_COLUMN: Final = 5
_DISTINCT: Final = 0.05
"""Share of a variable's variance that the other variables must leave unexplained for its effect to be identifiable."""


@dataclass(frozen=True)
class EffectEstimate:
    """An estimate with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def separable(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def adjusted_effect(outcome: ArrayLike, variable: ArrayLike, others: ArrayLike) -> EffectEstimate | None:
    """Estimate by how much the outcome changes per unit of a variable, other things being equal.

    Of ``others`` as many columns are adjusted for as the trials allow (one for five), those that go most with the
    outcome first. In a random search leaving some out costs precision alone; in an adaptive one it may bias.

    Args:
        outcome: ``(n,)``.
        variable: ``(n,)``.
        others: ``(n, p)``; p may be 0, and columns may depend on each other.

    Returns:
        ``None`` where the others explain the variable, or too few trials remain.
    """
    y, d = np.asarray(outcome, dtype=np.float64), np.asarray(variable, dtype=np.float64)
    basis = _basis(_strongest(np.asarray(others, dtype=np.float64), y))
    d_rest, y_rest = d - basis @ (basis.T @ d), y - basis @ (basis.T @ y)
    left = float(d_rest @ d_rest)
    freedom = len(y) - basis.shape[1] - 1
    if freedom < 2 or np.ptp(d) == 0 or left <= _DISTINCT * float(((d - d.mean()) ** 2).sum()):
        return None
    value = float(d_rest @ y_rest) / left
    weights = d_rest**2 / left
    leverage = np.minimum((basis**2).sum(axis=1) + weights, 0.99)
    residual = y_rest - value * d_rest
    error = float(np.sqrt(np.sum(weights * (residual / (1 - leverage)) ** 2) / left))
    rests_on = float(1 / np.sum(weights**2))
    half = error * t_quantile(max(1.0, min(freedom, rests_on - 1)))
    return EffectEstimate(value, value - half, value + half)


def paired_effect(differences: ArrayLike) -> EffectEstimate | None:
    """Estimate the mean of differences between pairs; ``None`` for fewer than two."""
    d = np.asarray(differences, dtype=np.float64)
    if len(d) < 2:
        return None
    half = float(d.std(ddof=1)) / np.sqrt(len(d)) * t_quantile(len(d) - 1)
    return EffectEstimate(float(d.mean()), float(d.mean() - half), float(d.mean() + half))


def contrast(groups: Sequence[ArrayLike], weights: Sequence[float]) -> EffectEstimate:
    """Estimate a weighted sum of the means of independent groups, whose variances may differ.

    Args:
        groups: of at least two values each.
        weights: one per group.

    Returns:
        The estimate with the interval of Welch (1947), which is a point if no group scatters.
    """
    values = [np.asarray(group, dtype=np.float64) for group in groups]
    parts = np.array([w**2 * v.var(ddof=1) / len(v) for v, w in zip(values, weights, strict=True)])
    value = float(sum(w * v.mean() for v, w in zip(values, weights, strict=True)))
    if not parts.any():
        return EffectEstimate(value, value, value)
    freedom = parts.sum() ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, values, strict=True))
    half = float(np.sqrt(parts.sum())) * t_quantile(freedom)
    return EffectEstimate(value, value - half, value + half)


def share_difference(hits: int, of: int, other_hits: int, of_others: int) -> EffectEstimate:
    """Estimate the difference of two shares (Newcombe 1998, method 10), which holds near 0 and 1 as well."""
    p, low, high = share(hits, of)
    q, other_low, other_high = share(other_hits, of_others)
    return EffectEstimate(
        p - q,
        p - q - float(np.hypot(p - low, other_high - q)),
        p - q + float(np.hypot(high - p, q - other_low)),
    )


def share(hits: int, of: int) -> tuple[float, float, float]:
    """Give a share with its 95% interval (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, of).proportion_ci(LEVEL, method="wilson")
    return hits / of, float(interval.low), float(interval.high)


def t_quantile(freedom: float) -> float:
    """How many standard errors a 95% interval reaches to either side."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _strongest(others: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    most = len(y) // _TRIALS_PER_COLUMN
    if others.shape[1] <= most:
        return others
    centred = others - others.mean(axis=0)
    size = np.maximum(np.sqrt((centred**2).sum(axis=0)), 1e-12)
    strength = np.abs(centred.T @ (y - y.mean())) / size
    return others[:, np.sort(np.argsort(-strength, kind="stable")[:most])]


def _basis(others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns that span a constant and the others."""
    from scipy.linalg import qr

    full = np.column_stack([np.ones(len(others)), others - others.mean(axis=0)])
    full /= np.maximum(np.linalg.norm(full, axis=0), 1e-12)
    # With pivoting, columns that depend on others come last, with nothing left of their length.
    columns, triangle, _ = qr(full, mode="economic", pivoting=True, check_finite=False)
    basis: NDArray[np.float64] = columns[:, np.abs(np.diag(triangle)) > 1e-8]
    return basis
