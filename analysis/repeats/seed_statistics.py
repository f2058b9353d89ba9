"""Statistics of a few runs on different seeds: means with intervals, paired differences, which configuration is best.

Seeds move the score of a GAN as much as models do (Lucic et al. 2018), so one run of each decides nothing; runs on
shared seeds are compared in pairs (Bouthillier et al. 2021). Numbers in, numbers out: nothing here knows MLflow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

LEVEL: Final = 0.95
"""Confidence level of intervals."""
EXACT: Final = 20
"""Maximum number of pairs for which all 2**n signs are tried."""
DRAWS: Final = 20_000
POWER: Final = 0.8
MOST_SEEDS: Final = 200
"""Largest number of seeds that an estimate names."""
_BATCH: Final = 1000
_JUDGED: Final = 10
"""Minimum number of values for a test of normality; with fewer, Student's t is used."""
_ODD: Final = 0.01
"""Significance level of the test of normality; below it, a bootstrap interval is used."""

Method = Literal["t", "bootstrap", "sampling", "none"]


@dataclass(frozen=True)
class Summary:
    """Statistics of a configuration over its seeds."""

    n: int
    mean: float
    sd: float
    """Standard deviation between seeds (n - 1 in the denominator); NaN for one seed."""
    low: float
    high: float
    """Interval of the mean; NaN if it cannot be computed."""
    method: Method
    """Method of the interval: Student's t, the bootstrap, or for one seed its sampling noise alone."""


@dataclass(frozen=True)
class Difference:
    """Paired difference of two configurations (second minus first) over the seeds that both have."""

    n: int
    mean: float
    low: float
    high: float
    """Interval of the mean difference by Student's t; NaN for fewer than two pairs."""
    p: float
    """Two-sided p-value by Student's t; below 0.05 if and only if the 95% interval excludes 0."""
    p_signs: float
    """Two-sided p-value by flipping signs: exact and free of assumptions, but never below ``2 / 2**n``."""


def summarise(values: ArrayLike, errors: ArrayLike | None = None) -> Summary:
    """Summarise the scores of one configuration.

    The interval is Student's t. Ten values or more that are clearly not normal (Shapiro-Wilk p below 0.01) get a
    bias-corrected and accelerated bootstrap interval (Efron 1987) instead. The interval of a single value covers only
    its sampling noise, not the variation between seeds.

    Args:
        values: ``(n,)``, one per seed; NaN ones are left out.
        errors: ``(n,)``, standard errors of the values over their sampling noise, NaN where unknown.
    """
    from scipy import stats

    kept = np.asarray(values, dtype=np.float64)
    noise = np.full(len(kept), math.nan) if errors is None else np.asarray(errors, dtype=np.float64)
    noise, kept = noise[np.isfinite(kept)], kept[np.isfinite(kept)]
    n = len(kept)
    if n == 0:
        return Summary(0, math.nan, math.nan, math.nan, math.nan, "none")
    mean = float(kept.mean())
    if n == 1:
        half = float(stats.norm.ppf((1 + LEVEL) / 2) * noise[0])
        return Summary(1, mean, math.nan, mean - half, mean + half, "sampling" if math.isfinite(half) else "none")
    sd = float(kept.std(ddof=1))
    if n >= _JUDGED and sd > 0 and stats.shapiro(kept).pvalue < _ODD:
        bootstrap = stats.bootstrap((kept,), np.mean, confidence_level=LEVEL, rng=np.random.default_rng(0))
        interval = bootstrap.confidence_interval
        return Summary(n, mean, sd, float(interval.low), float(interval.high), "bootstrap")
    low, high = _t_interval(kept)
    return Summary(n, mean, sd, low, high, "t")


def paired_difference(first: ArrayLike, second: ArrayLike) -> Difference:
    """Compare two configurations on the seeds that both have.

    Args:
        first: ``(n,)``, one per seed; NaN where the seed is missing.
        second: ``(n,)``, on the same seeds.
    """
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    differences = differences[np.isfinite(differences)]
    n = len(differences)
    if n == 0:
        return Difference(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    mean, signs = float(differences.mean()), sign_flip_p(differences)
    if n == 1:
        return Difference(1, mean, math.nan, math.nan, math.nan, signs)
    low, high = _t_interval(differences)
    return Difference(n, mean, low, high, _t_p(differences), signs)


def seeds_to_separate(difference: Difference) -> int | None:
    """Estimate how many shared seeds separate two configurations with a probability (power) of ``POWER``.

    The true mean and standard deviation of the paired differences are taken to be the observed ones; few seeds know
    both poorly. Of a single pair, without correction for others, by the noncentral t distribution (Cohen 1988).

    Returns:
        A number of seeds from 2 to ``MOST_SEEDS``; ``None`` if it is larger, or there are fewer than two pairs.
    """
    from scipy import stats

    half = (difference.high - difference.low) / 2
    if difference.n < 2 or not half > 0:
        return None
    sd = half * math.sqrt(difference.n) / float(stats.t.ppf((1 + LEVEL) / 2, difference.n - 1))
    for n in range(2, MOST_SEEDS + 1):
        shift, bound = abs(difference.mean) / sd * math.sqrt(n), float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
        if stats.nct.sf(bound, n - 1, shift) >= POWER:
            return n
    return None


def sign_flip_p(differences: ArrayLike, seed: int = 0) -> float:
    """Compute the sign-flip p-value: the probability of a mean difference at least as far from 0 under random signs.

    All ``2**n`` signs are tried for up to ``EXACT`` pairs; beyond that ``DRAWS`` random ones, the observed signs
    counted with them (Phipson and Smyth 2010).
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    # Sums that are equal but for rounding count as equal.
    reached = abs(values.sum()) - 1e-9 * np.abs(values).sum()
    if n <= EXACT:
        # The first sign may stay: flipping all of them changes no absolute sum.
        sums = np.array([values[:1].sum()])
        for value in values[1:]:
            sums = np.concatenate([sums + value, sums - value])
        return float((np.abs(sums) >= reached).mean())
    random = np.random.default_rng(seed)
    hits = 0
    for _ in range(DRAWS // _BATCH):
        signs = random.choice([-1.0, 1.0], (_BATCH, n))
        hits += int((np.abs(signs @ values) >= reached).sum())
    return (hits + 1) / (DRAWS + 1)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for their number (Holm 1979): below 0.05 with at most 5% risk of any false one among them.

    NaN (no test) stays NaN and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, math.nan)
    tests = np.flatnonzero(np.isfinite(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return adjusted


def separable_from(best: str, scores: Mapping[str, Sequence[float]]) -> dict[str, tuple[Difference, float, bool]]:
    """Test for every other configuration whether it is separable from the best one.

    The best was selected among all of them, so the correction counts every pair of configurations, not only those with
    the best: the risk of separating any two equal ones is at most ``1 - LEVEL``, whichever is best.

    Args:
        best: a key of ``scores``.
        scores: by configuration, one value per seed, on the same seeds; NaN if it is missing.

    Returns:
        By other configuration: its difference from the best, Holm's p over all pairs, and whether it is separable.
    """
    pairs = list(combinations(scores, 2))
    differences = {pair: paired_difference(scores[pair[0]], scores[pair[1]]) for pair in pairs}
    adjusted = dict(zip(pairs, holm([differences[pair].p for pair in pairs]), strict=True))
    comparisons = {}
    for other in scores:
        if other != best:
            p = float(adjusted[(best, other) if (best, other) in differences else (other, best)])
            comparisons[other] = (paired_difference(scores[best], scores[other]), p, p < 1 - LEVEL)
    return comparisons


def probability_of_best(
    scores: ArrayLike, errors: ArrayLike | None = None, *, maximize: bool = False, seed: int = 0
) -> NDArray[np.float64]:
    """Estimate the probability of each configuration to have the best true mean.

    It is the share of draws in which its mean is the best. Means are drawn around the observed ones from a Student's t
    with n - 1 degrees of freedom and the covariance of the configurations over their shared seeds, one scale per draw:
    the posterior of normal scores under a flat prior (Box and Tiao 1973). Each difference of two then has the t of
    ``paired_difference``, and for two configurations the probability is 1 minus the one-sided p. Resampling the seeds
    instead would be overconfident with few seeds: two have only three resamples. Each value also gets its own sampling
    noise if that is known; the spread between seeds includes some of it already, so the probabilities err towards
    equal ones. With one seed there is only the sampling noise.

    Args:
        scores: ``(k, n)``: k configurations on the same n seeds, all finite.
        errors: ``(k, n)``, standard errors over the sampling noise, NaN where unknown.
        maximize: whether more is better.
        seed: of the draws.

    Returns:
        ``(k,)``, with sum 1; equal means share.
    """
    table = np.asarray(scores, dtype=np.float64)
    noise = np.zeros_like(table) if errors is None else np.nan_to_num(np.asarray(errors, dtype=np.float64), nan=0.0)
    k, n = table.shape
    means = table.mean(axis=1)
    deviations = (table - means[:, None]) / math.sqrt(n * max(n - 1, 1))  # their products sum to the means' covariance
    error = np.sqrt((noise**2).sum(axis=1)) / n
    random = np.random.default_rng(seed)
    wins = np.zeros(k)
    for _ in range(DRAWS // _BATCH):
        drawn = means + random.standard_normal((_BATCH, k)) * error
        if n > 1:
            scale = np.sqrt((n - 1) / random.chisquare(n - 1, (_BATCH, 1)))
            drawn += scale * (random.standard_normal((_BATCH, n)) @ deviations.T)
        first = drawn.max(axis=1, keepdims=True) if maximize else drawn.min(axis=1, keepdims=True)
        tied = np.isclose(drawn, first, rtol=1e-12, atol=0.0)
        wins += (tied / tied.sum(axis=1, keepdims=True)).sum(axis=0)
    shares: NDArray[np.float64] = wins / wins.sum()
    return shares


def _t_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    from scipy import stats

    n, mean = len(values), float(values.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return mean - half, mean + half


def _t_p(values: NDArray[np.float64]) -> float:
    from scipy import stats

    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, len(values) - 1))
