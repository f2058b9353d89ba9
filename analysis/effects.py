"""What each trick does to a score, other things being equal, with a 95% interval.

Two kinds of evidence. *Ablations* change one dimension of a configuration and train both on the same seeds: the mean
difference of the pairs needs no model and takes precedence. *Marginal* estimates come from the sweep's trials at one
point of training (``analysis.points``): a linear model of the score on all dimensions, its interval robust to unequal
scatter (``analysis.adjusted``). Adjusting matters: an adaptive search tries good values together, and unadjusted means
then show differences where there are none. What remains of its bias are interactions: the effect is that on the
configurations the search preferred, not on all. Trials chosen by a scheduler are avoided by choosing the point.

Distances enter by their logarithm, so that effects are ratios; other scores as they are. Of 20 dimensions that do
nothing, one is expected to look separable.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis import schema
from analysis.adjusted import Estimate, adjusted_effect, paired_effect, share_difference
from analysis.axes import Axis, axes_of, covariates, dependents
from analysis.curves import learning_curves
from analysis.points import common_point, points_of, require_one_fingerprint
from analysis.runs import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from analysis.points import Point
    from analysis.runs import Sweep

MINIMUM_TRIALS: Final = 12
MINIMUM_ARM: Final = 5
"""Trials of a choice, and of what it is compared with."""
MINIMUM_PAIRS: Final = 3
FAILED: Final = "failed"
"""Taken as a metric: whether a trial diverged or crashed."""
MARGINAL: Final = "marginal"
ABLATION: Final = "ablation"
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
    """In the estimate; of an ablation, the pairs."""
    arms: tuple[int, int]
    """Of them with ``value`` and with ``against``; for numbers twice all of them."""
    kimg: float | None
    """Where the trials are compared; for the share that failed the most they trained."""
    samples: int | None
    evidence: str

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


def outcome_at(sweep: Sweep, point: Point) -> Outcome:
    """Take the scores at a point of training as what is explained."""
    known = point.values[~is_ratio(point.score) | (point.values > 0)]
    trials = sweep.trials[sweep.trials["key"].isin(known.index)]
    values = known.loc[trials["key"]].to_numpy()
    ratio = is_ratio(point.score)
    return Outcome(
        point.score,
        "ratio" if ratio else "difference",
        trials,
        np.asarray(np.log(values) if ratio else values, dtype=np.float64),
        point.kimg,
        point.samples or None,
    )


def failures(sweep: Sweep) -> Outcome:
    """Take whether a trial failed as what is explained; trials that still run or were interrupted do not count."""
    trials = sweep.trials[sweep.trials["status"].isin([schema.COMPLETE, schema.STOPPED, schema.FAILED])]
    values = (trials["status"] == schema.FAILED).to_numpy().astype(np.float64)
    kimg = float(trials["kimg"].max()) if len(trials) else math.nan
    return Outcome(FAILED, "difference", trials, values, kimg if math.isfinite(kimg) else None)


def effects(sweep: Sweep, metric: str = schema.DISTANCE, curves: pd.DataFrame | None = None) -> list[Effect]:
    """Give every effect on a score, or on ``failed``, that the sweep can tell: each choice against the default's.

    Numbers give their slope. Where a choice was ablated, the pairs take the place of the marginal estimate. A choice
    with too few trials (5 a side, 12 in all) is left out.

    Args:
        sweep: with its ``space.json``.
        metric: a score, or ``failed``.
        curves: from ``learning_curves``, where they have been read already.

    Raises:
        AnalysisUsageError: no trial logged such a score.
        AnalysisError: trials were scored in several ways.
    """
    require_one_fingerprint(sweep)
    axes = axes_of(sweep)
    if metric == FAILED:
        outcome: Outcome | None = failures(sweep)
    else:
        curves = learning_curves(sweep, [metric]) if curves is None else curves
        point = common_point(points_of(curves, metric), MINIMUM_TRIALS)
        outcome = outcome_at(sweep, point) if point else None
    found: list[Effect | None] = []
    for axis in axes:
        if not axis.choices:
            found.append(slope(outcome, axis, axes) if outcome else None)
            continue
        for choice in axis.choices:
            if choice != axis.default:
                found.append(
                    ablated(sweep, axis, axes, [choice], [axis.default], metric)
                    or (contrast(outcome, axis, axes, [choice], [axis.default]) if outcome else None)
                )
    return [effect for effect in found if effect is not None]


def contrast(
    outcome: Outcome, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any]
) -> Effect | None:
    """Compare trials that have one of ``values`` with those that have one of ``against``; ``None`` for too few."""
    known = axis.active(outcome.trials)
    given = axis.values(outcome.trials)
    left = known & np.array([value in values for value in given], dtype=bool)
    right = known & np.array([value in against for value in given], dtype=bool)
    arms = (int(left.sum()), int(right.sum()))
    if min(arms) < MINIMUM_ARM or sum(arms) < MINIMUM_TRIALS:
        return None
    if outcome.metric == FAILED:
        hits = [int(outcome.values[marks].sum()) for marks in (left, right)]
        estimate: Estimate | None = share_difference(hits[0], arms[0], hits[1], arms[1])
    else:
        some = left | right
        others = covariates(outcome.trials[some], [other for other in axes if other.name != axis.name])
        estimate = adjusted_effect(outcome.values[some], left[some], others)
    return _effect(outcome, axis.name, (named(values), named(against)), estimate, arms, MARGINAL)


def slope(outcome: Outcome, axis: Axis, axes: Sequence[Axis]) -> Effect | None:
    """Follow a metric along a numeric dimension, per doubling or per unit; ``None`` for too few trials."""
    known = axis.active(outcome.trials)
    trials, values = outcome.trials[known], outcome.values[known]
    rare = min(values.sum(), len(values) - values.sum()) if outcome.metric == FAILED else MINIMUM_ARM
    if not axis.is_number or len(trials) < MINIMUM_TRIALS or rare < MINIMUM_ARM:
        return None
    others = covariates(trials, [other for other in axes if other.name != axis.name])
    estimate = adjusted_effect(values, axis.numbers(trials), others)
    step = PER_DOUBLING if axis.is_ratio else PER_UNIT
    return _effect(outcome, axis.name, (step, ""), estimate, (len(trials), len(trials)), MARGINAL)


def ablated(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare pairs of repeat runs that share their seed and differ in this dimension, and what depends on it, alone.

    ``None`` for too few.
    """
    differences, places = [], []
    for one, other in _pairs(sweep, {axis.name, *dependents(axis, axes)}, axis.name, values, against):
        first, second = _measured(one, metric), _measured(other, metric)
        equal = one["kimg"] == other["kimg"] and one["samples"] == other["samples"]
        if first is not None and second is not None and (equal or metric == FAILED):
            differences.append(first - second)
            places.append((one["kimg"], one["samples"]))
    if len(differences) < MINIMUM_PAIRS:
        return None
    unit = "ratio" if is_ratio(metric) else "difference"
    outcome = Outcome(metric, unit, sweep.trials[:0], np.array(differences), places[0][0], _whole(places[0][1]))
    sides = (named(values), named(against))
    return _effect(outcome, axis.name, sides, paired_effect(differences), (len(differences),) * 2, ABLATION)


def named(values: Collection[Any]) -> str:
    """Give choices as text."""
    return " or ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _effect(
    outcome: Outcome,
    dimension: str,
    sides: tuple[str, str],
    estimate: Estimate | None,
    arms: tuple[int, int],
    evidence: str,
) -> Effect | None:
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
        trials=sum(arms) if sides[1] and evidence == MARGINAL else arms[0],
        arms=arms,
        kimg=outcome.kimg,
        samples=outcome.samples,
        evidence=evidence,
    )


# Repeat runs -------------------------------------------------------------------------------------------------
def _pairs(
    sweep: Sweep, may_differ: set[str], dimension: str, values: Collection[Any], against: Collection[Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Ablation runs of one configuration and seed with the values asked for and no other difference than allowed."""
    repeats = getattr(sweep, "repeats", None)
    if repeats is None or not len(repeats) or f"{PARAMS}{dimension}" not in repeats:
        return []
    runs = repeats[repeats["kind"] == ABLATION].astype(object)
    runs = runs.where(runs.notna(), None)
    name = f"{PARAMS}{dimension}"
    return [
        (one, other)
        for _, group in runs.groupby(["of", "seed", "fingerprint"])
        for one, other in itertools.permutations(group.to_dict("records"), 2)
        if one[name] in values and other[name] in against and _differing(one, other) <= may_differ
    ]


def _differing(one: dict[Any, Any], other: dict[Any, Any]) -> set[str]:
    names = {name for name in one if name.startswith(PARAMS)} - {f"{PARAMS}seed"}
    return {name.removeprefix(PARAMS) for name in names if one[name] != other[name]}


def _measured(run: dict[str, Any], metric: str) -> float | None:
    if metric == FAILED:
        return float(run["status"] == schema.FAILED)
    value = run.get(f"{SCORES}{metric}", run.get(f"{METRICS}{metric}"))
    if run["status"] != schema.COMPLETE or value is None or not math.isfinite(value):
        return None
    if is_ratio(metric):
        return math.log(value) if value > 0 else None
    return float(value)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
