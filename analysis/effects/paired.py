"""Effects from repeat runs: ablations in pairs, and confirmed configurations by their means."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import schema
from analysis.effects.dimensions import Axis, dependents
from analysis.effects.effect import (
    ABLATION,
    CONFIRMATION,
    FAILED,
    PER_DOUBLING,
    PER_UNIT,
    Effect,
    Response,
    is_ratio,
    join_values,
    make_effect,
)
from analysis.effects.regression import adjusted_effect, paired_effect, share_difference
from analysis.mlflow_reader.run_table import costs
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from analysis.mlflow_reader.sweep import Sweep

_Run = dict[str, Any]
_Pair = tuple[_Run, _Run]

MINIMUM_RUNS = 3
"""Minimum number of pairs of an ablation, or of runs of a confirmed configuration."""


def ablation_effect(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare pairs of repeat runs with equal seeds that differ only in this dimension and those that depend on it.

    ``None`` if there are too few.
    """
    pairs = _comparable_pairs(sweep, axis, axes, (values, against), metric)
    if not pairs:
        return None
    if metric == FAILED:
        return _failing(sweep, axis, (values, against), pairs, ABLATION)
    differences = [_difference(pair, metric) for pair in pairs]
    return _paired(sweep, axis, (join_values(values), join_values(against)), pairs[0][0], metric, differences)


def ablation_slope(sweep: Sweep, axis: Axis, axes: Sequence[Axis], metric: str) -> Effect | None:
    """Estimate the slope along a numeric dimension from the pairs of repeat runs that differ in it.

    Each seed counts once, with the mean slope of its pairs. Failures have no slope: those of the lowest value are
    compared with those of the others. ``None`` if there are too few pairs.
    """
    name = f"{PARAMS}{axis.name}"
    runs = _runs(sweep, ABLATION, axis.name) if axis.is_number else []
    values = sorted({run[name] for run in runs if run[name] is not None})
    if metric == FAILED:
        return ablation_effect(sweep, axis, axes, values[1:], values[:1], metric)
    pairs = [
        pair for pair in _comparable_pairs(sweep, axis, axes, (values, values), metric) if pair[0][name] > pair[1][name]
    ]
    slopes: dict[tuple[Any, Any], list[float]] = {}
    for one, other in pairs:
        steps = math.log2(one[name] / other[name]) if axis.is_ratio else one[name] - other[name]
        slopes.setdefault((one["of"], one["seed"]), []).append(_difference((one, other), metric) / steps)
    if len(slopes) < MINIMUM_RUNS:
        return None
    sides = (PER_DOUBLING if axis.is_ratio else PER_UNIT, "")
    return _paired(sweep, axis, sides, pairs[0][0], metric, [float(np.mean(each)) for each in slopes.values()])


def _paired(
    sweep: Sweep, axis: Axis, sides: tuple[str, str], run: _Run, metric: str, differences: Sequence[float]
) -> Effect | None:
    """Build the effect of differences between runs like ``run``."""
    unit = "ratio" if is_ratio(metric) else "difference"
    response = Response(metric, unit, sweep.trials[:0], np.array(differences), run["cost"], _whole(run["samples"]))
    return make_effect(response, axis.name, sides, paired_effect(differences), (len(differences),) * 2, ABLATION)


def _difference(pair: _Pair, metric: str) -> float:
    return float(_measured(pair[0], metric) or 0.0) - float(_measured(pair[1], metric) or 0.0)


def _comparable_pairs(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], sides: tuple[Collection[Any], Collection[Any]], metric: str
) -> list[_Pair]:
    """Return the pairs of ``_pairs`` that were measured alike, of the largest budget with enough of them."""
    candidates = [
        (run, reference)
        for run, reference in _pairs(sweep, {axis.name, *dependents(axis, axes)}, axis.name, *sides)
        if metric == FAILED or (run["cost"] == reference["cost"] and run["samples"] == reference["samples"])
        if _measured(run, metric) is not None and _measured(reference, metric) is not None
    ]
    budget = _largest([run["budget"] for run, _ in candidates])
    return [pair for pair in candidates if pair[0]["budget"] == budget]


def confirmation_effect(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare confirmed configurations that differ only in this dimension and those that depend on it.

    Their seeds may differ, so each pair of configurations is compared by the means over all runs. For ``failed``, runs
    are matched by their budget instead of their cost, because diverged runs ended early.
    """
    name, may_differ = f"{PARAMS}{axis.name}", {axis.name, *dependents(axis, axes)}
    runs = [run for run in _runs(sweep, CONFIRMATION, axis.name) if _measured(run, metric) is not None]
    same = ("of", "fingerprint", "budget") if metric == FAILED else ("of", "fingerprint", "cost", "samples")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple(run[name] for name in same), []).append(run)
    run_pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    rows: list[tuple[float, bool, int]] = []
    group: tuple[Any, ...] = ()
    for pair, (one, other) in enumerate(itertools.permutations(groups, 2)):
        first, second = groups[one], groups[other]
        compared = first[0][name] in values and second[0][name] in against and one[1:] == other[1:]
        if compared and _differing(first[0], second[0]) <= may_differ and min(len(first), len(second)) >= MINIMUM_RUNS:
            group = one
            run_pairs += itertools.product(first, second)
            rows += [(float(_measured(run, metric) or 0.0), run in first, pair) for run in (*first, *second)]
    if not rows:
        return None
    if metric == FAILED:
        budget = max(run["budget"] for run, _ in run_pairs)
        return _failing(
            sweep, axis, (values, against), [one for one in run_pairs if one[0]["budget"] == budget], CONFIRMATION
        )
    measured, left, pairs = (np.array(column) for column in zip(*rows, strict=True))
    blocks = (pairs[:, None] == np.unique(pairs)[1:]).astype(float)
    unit = "ratio" if is_ratio(metric) else "difference"
    response = Response(metric, unit, sweep.trials[:0], measured, group[2], _whole(group[3]))
    estimate = adjusted_effect(measured, left, blocks)
    arms = (int(left.sum()), int((~left).sum()))
    return make_effect(response, axis.name, (join_values(values), join_values(against)), estimate, arms, CONFIRMATION)


def at_early_point(sweep: Sweep, curves: pd.DataFrame, metric: str) -> Sweep:
    """Return the sweep with a metric of its repeats as it was early: their scores at the end are replaced.

    The point is the earliest at which half of the scored repeats of a budget have it, at half of the budget or before.

    Args:
        sweep: with its repeats.
        curves: evaluations of the repeats, from ``learning_curves``.
        metric: a column of it.
    """
    repeats = sweep.repeats.copy()
    known = curves.dropna(subset=[metric]).merge(repeats[["key", "budget"]], on="key")
    early = known[2 * known["kimg"] <= known["budget"].astype(float)]
    rows = []
    for budget, group in early.groupby("budget"):
        counts = group.groupby("kimg")["key"].nunique()
        enough = counts.index[2 * counts >= known.loc[known["budget"] == budget, "key"].nunique()]
        rows.append(group[group["kimg"] == min(enough, default=math.nan)])
    values = pd.concat(rows).drop_duplicates("key").set_index("key") if rows else early.set_index("key")
    column = f"{SCORES}{metric}" if f"{SCORES}{metric}" in repeats else f"{METRICS}{metric}"
    repeats[column] = repeats["key"].map(values[metric])
    repeats[schema.SAMPLES] = repeats["key"].map(values[schema.SAMPLES])
    for cost in ("kimg", f"{METRICS}{schema.COST_KIMG}"):
        if cost in repeats:
            repeats[cost] = repeats["key"].map(values["kimg"]).astype(float)
    return dataclasses.replace(sweep, repeats=repeats)


def _failing(
    sweep: Sweep,
    axis: Axis,
    sides: tuple[Collection[Any], Collection[Any]],
    pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    evidence: str,
) -> Effect | None:
    """Compare the shares of failed runs among pairs, counting each run once.

    The mean difference of three pairs that all differ by 1 would have no uncertainty; shares have an interval there.
    """
    runs = [{run["key"]: run["status"] == schema.FAILED for run in side} for side in zip(*pairs, strict=True)]
    hits, arms = [sum(side.values()) for side in runs], (len(runs[0]), len(runs[1]))
    failed = np.array([failed for side in runs for failed in side.values()], dtype=np.float64)
    response = Response(FAILED, "difference", sweep.trials[:0], failed, float(pairs[0][0]["budget"]))
    estimate = share_difference(hits[0], arms[0], hits[1], arms[1])
    return make_effect(response, axis.name, (join_values(sides[0]), join_values(sides[1])), estimate, arms, evidence)


def _largest(budgets: Sequence[int]) -> int | None:
    """Return the largest budget with at least ``MINIMUM_RUNS`` pairs."""
    return max((budget for budget in budgets if budgets.count(budget) >= MINIMUM_RUNS), default=None)


def _pairs(
    sweep: Sweep, may_differ: set[str], dimension: str, values: Collection[Any], against: Collection[Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return pairs of ablation runs of one trial, seed and budget with these values that differ as allowed."""
    name = f"{PARAMS}{dimension}"
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in _runs(sweep, ABLATION, dimension):
        groups.setdefault((run["of"], run["seed"], run["fingerprint"], run["budget"]), []).append(run)
    return [
        (one, other)
        for group in groups.values()
        for one, other in itertools.permutations(group, 2)
        if one[name] in values and other[name] in against and _differing(one, other) <= may_differ
    ]


def _runs(sweep: Sweep, kind: str, dimension: str) -> list[dict[str, Any]]:
    """Return the repeat runs of a kind, with ``None`` for missing values; empty if they lack the dimension.

    ``cost`` is what a run has used of its budget.
    """
    repeats = sweep.repeats
    if f"{PARAMS}{dimension}" not in repeats:
        return []
    runs = repeats.assign(cost=costs(repeats))[repeats["kind"] == kind].astype(object)
    return [
        {str(name): value for name, value in run.items()} for run in runs.where(runs.notna(), None).to_dict("records")
    ]


def _differing(one: dict[Any, Any], other: dict[Any, Any]) -> set[str]:
    names = {name for name in one if name.startswith(PARAMS)} - {f"{PARAMS}seed"}
    return {name.removeprefix(PARAMS) for name in names if one[name] != other[name]}


def _measured(run: dict[str, Any], metric: str) -> float | None:
    """Return a run's score; for ``failed``, whether it failed, or ``None`` if it has not ended."""
    if metric == FAILED:
        ended = run["status"] in (schema.COMPLETE, schema.STOPPED, schema.FAILED)
        return float(run["status"] == schema.FAILED) if ended else None
    value = run.get(f"{SCORES}{metric}", run.get(f"{METRICS}{metric}"))
    if run["status"] != schema.COMPLETE or value is None or not math.isfinite(value):
        return None
    if is_ratio(metric):
        return math.log(value) if value > 0 else None
    return float(value)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
