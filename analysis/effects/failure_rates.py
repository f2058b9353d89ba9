"""Failure rates: the share of trials that diverged or crashed, by value of each dimension."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.effects.dimensions import Axis, axes_of
from analysis.effects.effect import MINIMUM_ARM
from analysis.effects.marginal import failure_response
from analysis.effects.regression import share

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from analysis.mlflow_reader.sweep import Sweep

_SHUFFLES: Final = 999
_PARTS: Final = 3
"""Number of parts of a range, with equal numbers of trials."""


@dataclass(frozen=True)
class FailedShare:
    """Share of failed trials among those with one value, or with a value in one part of a range."""

    value: str
    trials: int
    failed: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Failing:
    """Failure rates by value of a dimension."""

    dimension: str
    values: list[FailedShare]
    p_value: float
    """p-value of the differences (permutation test of chi-square), times the number of dimensions (Bonferroni)."""

    @property
    def separable(self) -> bool:
        """Whether values differ in how often they fail."""
        return self.p_value < 0.05

    def to_json(self) -> dict[str, Any]:
        """Give the shares as JSON."""
        return {**asdict(self), "separable": self.separable}


def failing_by_value(sweep: Sweep, seed: int = 0) -> list[Failing]:
    """Compute the share of failed trials by value, sorted by p-value.

    Values with fewer than 5 trials are left out, and so are running, interrupted and mutated trials.
    """
    outcome = failure_response(sweep)
    rng = np.random.default_rng(seed)
    results = []
    axes = axes_of(sweep)
    for axis in axes:
        active = axis.active(outcome.trials)
        failed = outcome.values[active] > 0
        labels = _labels(axis, outcome.trials[active])
        frequent = {label for label in dict.fromkeys(labels) if labels.count(label) >= MINIMUM_ARM}
        selected = np.array([label in frequent for label in labels], dtype=bool)
        if len(frequent) > 1:
            names = np.array(labels)[selected]
            p_value = min(1.0, _p_value(names, failed[selected], rng) * len(axes))
            order = [label for label in _order(axis, labels) if label in frequent]
            results.append(Failing(axis.name, [_share(label, names, failed[selected]) for label in order], p_value))
    return sorted(results, key=lambda failing: failing.p_value)


def _share(label: str, names: NDArray[np.str_], failed: NDArray[np.bool_]) -> FailedShare:
    marks = names == label
    hits, of = int(failed[marks].sum()), int(marks.sum())
    return FailedShare(label, of, hits, *share(hits, of))


def _labels(axis: Axis, trials: pd.DataFrame) -> list[str]:
    if axis.choices:
        return [str(value) for value in axis.values(trials)]
    numbers = np.array(axis.values(trials), dtype=np.float64)
    if axis.whole and len(set(numbers)) <= 2 * _PARTS:
        return [f"{number:g}" for number in numbers]
    ends = np.quantile(numbers, np.linspace(0, 1, _PARTS + 1)) if len(numbers) else np.zeros(_PARTS + 1)
    part = np.clip(np.searchsorted(ends, numbers, side="right") - 1, 0, _PARTS - 1)
    return [f"{ends[i]:.3g} to {ends[i + 1]:.3g}" for i in part]


def _order(axis: Axis, labels: list[str]) -> list[str]:
    if axis.choices:
        return [str(choice) for choice in axis.choices]
    return sorted(set(labels), key=lambda label: float(label.split(" ")[0]))


def _p_value(names: NDArray[np.str_], failed: NDArray[np.bool_], rng: np.random.Generator) -> float:
    if not failed.any() or failed.all():
        return 1.0
    _, codes, counts = np.unique(names, return_inverse=True, return_counts=True)

    def spread(marks: NDArray[np.bool_]) -> float:
        """Compute chi-square up to a factor that is invariant under shuffling."""
        hits = np.bincount(codes, weights=marks)
        return float(np.sum((hits - counts * failed.mean()) ** 2 / counts))

    seen = spread(failed) - 1e-9
    as_large = sum(spread(rng.permutation(failed)) >= seen for _ in range(_SHUFFLES))
    return (1 + as_large) / (1 + _SHUFFLES)
