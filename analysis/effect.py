"""An effect of a dimension on a metric, whatever the evidence: the values compared, the interval, what it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from analysis.adjusted import Estimate

MINIMUM_TRIALS: Final = 12
MINIMUM_ARM: Final = 5
"""Trials of a choice, and of what it is compared with."""
FAILED: Final = "failed"
"""Taken as a metric: whether a trial diverged or crashed."""
MARGINAL: Final = "marginal"
ABLATION: Final = "ablation"
CONFIRMATION: Final = "confirmation"
SAME_TRIALS: Final = "same trials"
PER_UNIT: Final = "per unit"
PER_DOUBLING: Final = "per doubling"


@dataclass(frozen=True)
class Effect:
    """By how much a metric differs between values of a dimension, or changes along it.

    ``ratio`` effects are on a distance: 0.9 means 10% smaller; their ``estimate``, ``low`` and ``high`` are ratios and
    1 is no effect. ``difference`` effects are on other scores and on the share that failed; 0 is no effect.
    """

    dimension: str
    value: str
    """The choice or choices, or ``per doubling`` or ``per unit`` of a number."""
    against: str
    """What it is compared with; empty for numbers."""
    metric: str
    unit: str
    estimate: float
    low: float
    high: float
    separable: bool
    """Whether the 95% interval excludes no effect."""
    trials: int
    """In the estimate; of an ablation, the pairs; of confirmations, the runs."""
    arms: tuple[int, int]
    """Of them with ``value`` and with ``against``; for numbers twice all of them."""
    kimg: float | None
    """Where the trials are compared; for the share that failed the most they trained."""
    samples: int | None
    evidence: str
    """``marginal``, ``ablation``, ``confirmation`` or ``same trials`` (each compared with itself)."""

    def to_json(self) -> dict[str, Any]:
        """Give the fields as JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"arms": list(self.arms)}


@dataclass(frozen=True)
class Outcome:
    """What is explained: one number per trial, the trials that have it, and where it was measured."""

    metric: str
    unit: str
    trials: pd.DataFrame
    values: NDArray[np.float64]
    """Logarithms where ``unit`` is ``ratio``."""
    kimg: float | None = None
    samples: int | None = None


def is_ratio(metric: str) -> bool:
    """Whether effects on a metric are given as ratios: a distance, which is above 0 and has no natural scale."""
    return schema.needs_equal_samples(metric)


def named(values: Collection[Any]) -> str:
    """Give choices as text."""
    return " or ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def measured(effect: Effect) -> str:
    """Give an effect with its interval: ``x0.9 (0.85 to 0.96)``, ``+0.12 (+0.02 to +0.22)``."""
    sign, number = ("x", ".3g") if effect.unit == "ratio" else ("", "+.3g")
    return f"{sign}{effect.estimate:{number}} ({effect.low:{number}} to {effect.high:{number}})"


def compared(effect: Effect) -> str:
    """Give what an effect compares: ``losses.labels soft against hard``."""
    return f"{effect.dimension} {effect.value}" + (f" against {effect.against}" if effect.against else "")


def rests_on(effect: Effect) -> str:
    """Give how many runs an effect rests on: ``24 trials``, ``3 pairs``."""
    return f"{effect.trials} pairs" if effect.evidence == ABLATION else f"{effect.trials} trials"


def as_effect(
    outcome: Outcome,
    dimension: str,
    sides: tuple[str, str],
    estimate: Estimate | None,
    arms: tuple[int, int],
    evidence: str,
) -> Effect | None:
    """Give an estimate its names and scale: logarithms become ratios."""
    if estimate is None:
        return None
    value, low, high = estimate.value, estimate.low, estimate.high
    if outcome.unit == "ratio":
        value, low, high = (math.exp(min(max(number, -700.0), 700.0)) for number in (value, low, high))
    return Effect(
        dimension=dimension,
        value=sides[0],
        against=sides[1],
        metric=outcome.metric,
        unit=outcome.unit,
        estimate=value,
        low=low,
        high=high,
        separable=estimate.separable,
        trials=sum(arms) if sides[1] and evidence in (MARGINAL, CONFIRMATION) else arms[0],
        arms=arms,
        kimg=outcome.kimg,
        samples=outcome.samples,
        evidence=evidence,
    )
