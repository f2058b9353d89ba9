"""Effect of each dimension on a score, adjusted for all other dimensions, with a 95% interval.

Two kinds of evidence. *Ablations* change one dimension of a configuration and train both on the same seeds: the mean
difference of the pairs needs no model and takes precedence. *Marginal* estimates come from the sweep's trials at one
point of training (``analysis.effects.comparison_point``): a linear model of the score on all dimensions, its interval
robust to unequal scatter (``analysis.effects.regression``). Adjusting matters: an adaptive search combines good
values, so that unadjusted means show spurious differences. Interactions remain a source of bias: the effect is that on
the configurations that the search preferred, not on all. Selection by the scheduler is avoided by the choice of the
point.

Distances and other positive metrics enter by their logarithm, so that effects are ratios; other scores as they are. Of
20 dimensions that do nothing, one is expected to look separable.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import schema
from analysis.effects.comparison_point import common_point, points_of, require_one_fingerprint
from analysis.effects.dimensions import Axis, axes_of
from analysis.effects.effect import (
    FAILED,
    MARGINAL,
    MINIMUM_ARM,
    MINIMUM_TRIALS,
    PER_DOUBLING,
    PER_UNIT,
    Effect,
    Response,
    is_ratio,
    join_values,
    make_effect,
)
from analysis.effects.paired import ablation_effect
from analysis.effects.regression import EffectEstimate, adjusted_effect, share_difference
from analysis.mlflow_reader.learning_curves import learning_curves
from analysis.mlflow_reader.mutated import without_mutated
from analysis.mlflow_reader.run_table import costs

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from analysis.effects.comparison_point import ComparisonPoint
    from analysis.mlflow_reader.sweep import Sweep


def response_at(sweep: Sweep, point: ComparisonPoint) -> Response:
    """Use the scores at a training point as the response."""
    ratio = is_ratio(point.score)
    known = point.values[point.values > 0] if ratio else point.values
    trials = sweep.trials[sweep.trials["key"].isin(known.index)]
    values = known.loc[trials["key"]].to_numpy()
    return Response(
        point.score,
        "ratio" if ratio else "difference",
        trials,
        np.asarray(np.log(values) if ratio else values, dtype=np.float64),
        point.kimg,
        point.samples or None,
        axes_of(sweep),
    )


def failure_response(sweep: Sweep) -> Response:
    """Use whether a trial failed as the response.

    Running, interrupted and mutated trials are left out.
    """
    sweep = without_mutated(sweep)
    trials = sweep.trials[sweep.trials["status"].isin([schema.COMPLETE, schema.STOPPED, schema.FAILED])]
    values = (trials["status"] == schema.FAILED).to_numpy().astype(np.float64)
    kimg = float(costs(trials).max()) if len(trials) else math.nan
    known = kimg if math.isfinite(kimg) else None
    return Response(FAILED, "difference", trials, values, known, axes=axes_of(sweep))


def effects(sweep: Sweep, metric: str = schema.DISTANCE, curves: pd.DataFrame | None = None) -> list[Effect]:
    """Estimate all effects on a score or on ``failed``: each choice against the default, and the slope of each number.

    Ablation pairs, if there are any, replace the marginal estimate of a choice. A choice with too few trials
    (5 a side, 12 in all) is left out, as are mutated trials (``analysis.mlflow_reader.mutated``).

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
        response: Response | None = failure_response(sweep)
    else:
        curves = learning_curves(sweep, [metric]) if curves is None else curves
        included = curves[curves["key"].isin(sweep.trials["key"])]
        point = common_point(points_of(included, metric), MINIMUM_TRIALS)
        response = response_at(sweep, point) if point else None
    results: list[Effect | None] = []
    for axis in axes:
        if not axis.choices:
            results.append(slope(response, axis) if response else None)
            continue
        for choice in axis.choices:
            if choice != axis.default:
                results.append(
                    ablation_effect(sweep, axis, axes, [choice], [axis.default], metric)
                    or (contrast(response, axis, [choice], [axis.default]) if response else None)
                )
    return [effect for effect in results if effect is not None]


def effects_table(sweep: Sweep, metric: str = schema.DISTANCE) -> pd.DataFrame:
    """Return the effects on a metric as a table, one row per effect with the fields of ``Effect`` as columns.

    Raises:
        AnalysisUsageError: no trial logged such a score.
        AnalysisError: trials were scored in several ways.
    """
    import pandas as pd

    columns = [field.name for field in dataclasses.fields(Effect)]
    return pd.DataFrame([effect.to_json() for effect in effects(sweep, metric)], columns=columns)


def contrast(response: Response, axis: Axis, values: Collection[Any], against: Collection[Any]) -> Effect | None:
    """Compare trials that have one of ``values`` with those that have one of ``against``; ``None`` for too few."""
    encoding = response.encoding
    left, right = encoding.mark(axis, values), encoding.mark(axis, against)
    arms = (int(left.sum()), int(right.sum()))
    if min(arms) < MINIMUM_ARM or sum(arms) < MINIMUM_TRIALS:
        return None
    if response.metric == FAILED:
        hits = [int(response.values[marks].sum()) for marks in (left, right)]
        estimate: EffectEstimate | None = share_difference(hits[0], arms[0], hits[1], arms[1])
    else:
        some = left | right
        estimate = adjusted_effect(response.values[some], left[some], encoding.covariates(some, axis))
    return make_effect(response, axis.name, (join_values(values), join_values(against)), estimate, arms, MARGINAL)


def slope(response: Response, axis: Axis) -> Effect | None:
    """Follow a metric along a numeric dimension, per doubling or per unit; ``None`` for too few trials."""
    known = response.encoding.active[axis.name]
    trials, values = response.trials[known], response.values[known]
    rare = min(values.sum(), len(values) - values.sum()) if response.metric == FAILED else MINIMUM_ARM
    if not axis.is_number or len(trials) < MINIMUM_TRIALS or rare < MINIMUM_ARM:
        return None
    estimate = adjusted_effect(values, axis.numbers(trials), response.encoding.covariates(known, axis))
    step = PER_DOUBLING if axis.is_ratio else PER_UNIT
    return make_effect(response, axis.name, (step, ""), estimate, (len(trials), len(trials)), MARGINAL)
