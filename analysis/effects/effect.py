"""An effect of a dimension on a metric, whatever the evidence: values compared, interval, sample size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.effects.dimensions import Encoding

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from analysis.effects.dimensions import Axis
    from analysis.effects.regression import EffectEstimate

MINIMUM_TRIALS: Final = 12
MINIMUM_ARM: Final = 5
"""Trials of a choice, and of what it is compared with."""
FAILED: Final = "failed"
"""Taken as a metric: whether a trial diverged or crashed."""
MARGINAL: Final = "marginal"
ABLATION: Final = "ablation"
CONFIRMATION: Final = "confirmation"
SAME_TRIALS: Final = "same trials"
_POSITIVE: Final = (schema.GRID_ENERGY, "loss_oscillation", "kimg_to_")
"""Beside distances: metrics whose noise is proportional to them, or how their names begin."""
_NO_WIDTH: Final = 1e-9
PER_UNIT: Final = "per unit"
PER_DOUBLING: Final = "per doubling"


@dataclass(frozen=True)
class Effect:
    """Difference of a metric between values of a dimension, or its slope along one.

    ``ratio`` effects are on a distance, a time or an energy: 0.9 means 10% smaller; their ``estimate``, ``low`` and
    ``high`` are ratios and 1 is no effect. ``difference`` effects are on other scores and on the share that failed; 0
    is no effect.
    """

    dimension: str
    value: str
    """The choice or choices, or ``per doubling`` or ``per unit`` of a number."""
    against: str
    """The choices that ``value`` is compared with; empty for numbers."""
    metric: str
    unit: str
    estimate: float
    low: float
    high: float
    separable: bool
    """Whether the 95% interval excludes no effect."""
    trials: int
    """Sample size: trials, pairs of an ablation, or runs of a confirmation."""
    arms: tuple[int, int]
    """Sample sizes of ``value`` and ``against``; for numbers both are the total."""
    kimg: float | None
    """Training at which trials are compared; for ``failed``, the longest training."""
    samples: int | None
    evidence: str
    """``marginal``, ``ablation``, ``confirmation`` or ``same trials`` (each compared with itself)."""

    @property
    def smallest_separable(self) -> float:
        """Smallest effect that this sample would have told from none: half the width of the 95% interval.

        For n pairs it is t(n - 1) s / sqrt(n), s the standard deviation of their differences; as a ratio above 1 where
        effects are ratios. Infinite where all differences are equal, as if both sides lay at the end of a scale: no
        variance says nothing about what would have been seen.
        """
        none = 1.0 if self.unit == "ratio" else 0.0
        if self.unit == "ratio":
            smallest = math.sqrt(self.high / self.low) if self.low > 0 else math.inf
        else:
            smallest = (self.high - self.low) / 2
        return smallest if smallest - none > _NO_WIDTH else math.inf

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        smallest = self.smallest_separable
        more = {"arms": list(self.arms), "smallest_separable": smallest if math.isfinite(smallest) else None}
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | more


@dataclass(frozen=True)
class Response:
    """The response variable of a regression: one number per trial."""

    metric: str
    unit: str
    trials: pd.DataFrame
    values: NDArray[np.float64]
    """Logarithms where ``unit`` is ``ratio``."""
    kimg: float | None = None
    samples: int | None = None
    axes: Sequence[Axis] = ()
    """Dimensions to adjust effects for."""

    @cached_property
    def encoding(self) -> Encoding:
        """The dimensions of the trials as arrays, shared by all effects on this response."""
        return Encoding(self.trials, self.axes)


def is_ratio(metric: str) -> bool:
    """Whether effects on a metric are ratios: distances, times and energies are positive and have no natural scale."""
    return schema.is_distance(metric) or metric.startswith(_POSITIVE)


def join_values(values: Collection[Any]) -> str:
    """Join choices into text."""
    return " or ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def interval_text(effect: Effect) -> str:
    """Format an effect and its interval: ``x0.9 (0.85 to 0.96)``, ``+0.12 (+0.02 to +0.22)``."""
    sign, number = ("x", ".3g") if effect.unit == "ratio" else ("", "+.3g")
    return f"{sign}{effect.estimate:{number}} ({effect.low:{number}} to {effect.high:{number}})"


def comparison_text(effect: Effect) -> str:
    """Format the values that an effect compares: ``losses.labels soft against hard``."""
    return f"{effect.dimension} {effect.value}" + (f" against {effect.against}" if effect.against else "")


def sample_size_text(effect: Effect) -> str:
    """Format an effect's sample size: ``24 trials``, ``3 pairs``."""
    return f"{effect.trials} pairs" if effect.evidence == ABLATION else f"{effect.trials} trials"


def smallest_text(effect: Effect) -> str:
    """Format the smallest effect that would have been separable: ``x1.08 or x0.926``, ``0.05``."""
    smallest = effect.smallest_separable
    return f"x{smallest:.3g} or x{1 / smallest:.3g}" if effect.unit == "ratio" else f"{smallest:.3g}"


def make_effect(
    response: Response,
    dimension: str,
    sides: tuple[str, str],
    estimate: EffectEstimate | None,
    arms: tuple[int, int],
    evidence: str,
) -> Effect | None:
    """Build an ``Effect`` from an estimate; logarithms become ratios."""
    if estimate is None:
        return None
    value, low, high = estimate.value, estimate.low, estimate.high
    if response.unit == "ratio":
        value, low, high = (math.exp(min(max(number, -700.0), 700.0)) for number in (value, low, high))
    return Effect(
        dimension=dimension,
        value=sides[0],
        against=sides[1],
        metric=response.metric,
        unit=response.unit,
        estimate=value,
        low=low,
        high=high,
        separable=estimate.separable,
        trials=sum(arms) if sides[1] and evidence in (MARGINAL, CONFIRMATION) else arms[0],
        arms=arms,
        kimg=response.kimg,
        samples=response.samples,
        evidence=evidence,
    )
