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

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import schema
from analysis.adjusted import Estimate, adjusted_effect, share_difference
from analysis.axes import Axis, axes_of, covariates
from analysis.curves import learning_curves
from analysis.effect import (
    FAILED,
    MARGINAL,
    MINIMUM_ARM,
    MINIMUM_TRIALS,
    PER_DOUBLING,
    PER_UNIT,
    Effect,
    Outcome,
    as_effect,
    is_ratio,
    named,
)
from analysis.mutated import without_mutated
from analysis.points import common_point, points_of, require_one_fingerprint
from analysis.repeated import ablated

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

    from analysis.points import Point
    from analysis.runs import Sweep


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
    """Take whether a trial failed as what is explained.

    Trials that still run or were interrupted do not count, nor mutated ones.
    """
    sweep = without_mutated(sweep)
    trials = sweep.trials[sweep.trials["status"].isin([schema.COMPLETE, schema.STOPPED, schema.FAILED])]
    values = (trials["status"] == schema.FAILED).to_numpy().astype(np.float64)
    kimg = float(trials["kimg"].max()) if len(trials) else math.nan
    return Outcome(FAILED, "difference", trials, values, kimg if math.isfinite(kimg) else None)


def effects(sweep: Sweep, metric: str = schema.DISTANCE, curves: pd.DataFrame | None = None) -> list[Effect]:
    """Give every effect on a score, or on ``failed``, that the sweep can tell: each choice against the default's.

    Numbers give their slope. Where a choice was ablated, the pairs take the place of the marginal estimate. A choice
    with too few trials (5 a side, 12 in all) is left out, as are mutated trials (``analysis.mutated``).

    Args:
        sweep: with its ``space.json``.
        metric: a score, or ``failed``.
        curves: from ``learning_curves``, where they have been read already.

    Raises:
        AnalysisUsageError: no trial logged such a score.
        AnalysisError: trials were scored in several ways.
    """
    require_one_fingerprint(sweep)
    sweep = without_mutated(sweep)
    axes = axes_of(sweep)
    if metric == FAILED:
        outcome: Outcome | None = failures(sweep)
    else:
        curves = learning_curves(sweep, [metric]) if curves is None else curves
        known = curves[curves["key"].isin(sweep.trials["key"])]
        point = common_point(points_of(known, metric), MINIMUM_TRIALS)
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
        others = covariates(outcome.trials[some], axes, axis)
        estimate = adjusted_effect(outcome.values[some], left[some], others)
    return as_effect(outcome, axis.name, (named(values), named(against)), estimate, arms, MARGINAL)


def slope(outcome: Outcome, axis: Axis, axes: Sequence[Axis]) -> Effect | None:
    """Follow a metric along a numeric dimension, per doubling or per unit; ``None`` for too few trials."""
    known = axis.active(outcome.trials)
    trials, values = outcome.trials[known], outcome.values[known]
    rare = min(values.sum(), len(values) - values.sum()) if outcome.metric == FAILED else MINIMUM_ARM
    if not axis.is_number or len(trials) < MINIMUM_TRIALS or rare < MINIMUM_ARM:
        return None
    others = covariates(trials, axes, axis)
    estimate = adjusted_effect(values, axis.numbers(trials), others)
    step = PER_DOUBLING if axis.is_ratio else PER_UNIT
    return as_effect(outcome, axis.name, (step, ""), estimate, (len(trials), len(trials)), MARGINAL)
