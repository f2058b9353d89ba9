"""Effects from repeat runs: ablations in pairs, and confirmed configurations by their means."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import schema
from analysis.effects.curve_figures import BOUNDS
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
from analysis.effects.regression import contrast, paired_effect, share_difference
from analysis.mlflow_reader.run_table import costs
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from analysis.mlflow_reader.sweep import Sweep

_Run = dict[str, Any]
_Pair = tuple[_Run, _Run]

MINIMUM_RUNS = 3
"""Minimum number of seeds of an ablation, or of runs of a confirmed configuration."""


def ablation_effect(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare pairs of repeat runs with equal seeds that differ only in this dimension and those that depend on it.

    Each seed counts once, with the mean difference of its pairs: several values share the run that they are compared
    with. ``None`` if there are too few seeds.
    """
    pairs = _comparable_pairs(sweep, axis, axes, lambda one, other: one in values and other in against, metric)
    sides = (join_values(values), join_values(against))
    if pairs and metric == FAILED:
        return _failing(sweep, axis, sides, pairs, ABLATION)
    return _mean_of_seeds(sweep, axis, sides, metric, [(pair, _difference(pair, metric)) for pair in pairs])


def ablation_slope(sweep: Sweep, axis: Axis, axes: Sequence[Axis], metric: str) -> Effect | None:
    """Estimate the slope along a numeric dimension from the pairs of repeat runs that differ in it.

    Each seed counts once, with the mean slope of its pairs. Failures have no slope: those of the lowest value are
    compared with those of the others. ``None`` if there are too few seeds.
    """
    if not axis.is_number:
        return None
    name = f"{PARAMS}{axis.name}"
    if metric == FAILED:
        values = sorted({run[name] for run in _runs(sweep, ABLATION, axis.name) if run[name] is not None})
        return ablation_effect(sweep, axis, axes, values[1:], values[:1], metric)
    slopes = []
    for one, other in _comparable_pairs(
        sweep, axis, axes, lambda one, other: None not in (one, other) and one > other, metric
    ):
        steps = math.log2(one[name] / other[name]) if axis.is_ratio else one[name] - other[name]
        slopes.append(((one, other), _difference((one, other), metric) / steps))
    return _mean_of_seeds(sweep, axis, (PER_DOUBLING if axis.is_ratio else PER_UNIT, ""), metric, slopes)


def _mean_of_seeds(
    sweep: Sweep, axis: Axis, sides: tuple[str, str], metric: str, differences: Sequence[tuple[_Pair, float]]
) -> Effect | None:
    """Build the mean effect of differences between pairs that were measured alike, each seed counted once."""
    seeds: dict[Any, list[float]] = {}
    for (run, _), difference in differences:
        seeds.setdefault(run["seed"], []).append(difference)
    if not seeds:
        return None
    means, unit = [float(np.mean(each)) for each in seeds.values()], "ratio" if is_ratio(metric) else "difference"
    run = differences[0][0][0]
    response = Response(metric, unit, sweep.trials[:0], np.array(means), run["cost"], _whole(run["samples"]))
    return make_effect(response, axis.name, sides, paired_effect(means), (len(means),) * 2, ABLATION)


def _difference(pair: _Pair, metric: str) -> float:
    return float(_measured(pair[0], metric) or 0.0) - float(_measured(pair[1], metric) or 0.0)


def _comparable_pairs(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], compares: Callable[[Any, Any], bool], metric: str
) -> list[_Pair]:
    """Return pairs of ablation runs that were measured alike, of the largest budget with enough seeds.

    The runs of a pair have one seed and budget, two values that ``compares`` takes in this order, and differ in no
    dimension but this one and those that depend on it. Two runs that have only the same bound of a figure do not
    compare.
    """
    name, may_differ = f"{PARAMS}{axis.name}", {axis.name, *dependents(axis, axes)}
    groups: dict[tuple[Any, ...], list[_Run]] = {}
    for run in _runs(sweep, ABLATION, axis.name):
        if _measured(run, metric) is not None:
            end = () if metric == FAILED else (run["cost"], run["samples"])
            groups.setdefault((run["seed"], run["fingerprint"], run["budget"], *end), []).append(run)
    pairs = [
        (one, other)
        for group in groups.values()
        for one, other in itertools.permutations(group, 2)
        if compares(one[name], other[name]) and _differing(one, other) <= may_differ
        if not _equal_bounds((one, other), metric)
    ]
    seeds: dict[int, set[Any]] = {}
    for run, _ in pairs:
        seeds.setdefault(run["budget"], set()).add(run["seed"])
    budget = max((budget for budget, some in seeds.items() if len(some) >= MINIMUM_RUNS), default=None)
    return [pair for pair in pairs if pair[0]["budget"] == budget]


def confirmation_effect(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare confirmed configurations that differ only in this dimension and those that depend on it.

    Their seeds may differ, so pairs of configurations are compared by the means over all runs, at the largest budget.
    Every run counts once, in however many pairs its configuration is. For ``failed``, runs are matched by their budget
    instead of their cost, because diverged runs ended early.
    """
    pairs = _confirmed_pairs(sweep, axis, axes, values, against, metric)
    if not pairs:
        return None
    sides = (join_values(values), join_values(against))
    if metric == FAILED:
        run_pairs = [pair for one, other in pairs for pair in itertools.product(one, other)]
        return _failing(sweep, axis, sides, run_pairs, CONFIRMATION)
    groups = {id(group): group for pair in pairs for group in pair}
    weights = dict.fromkeys(groups, 0.0)
    for one, other in pairs:
        weights[id(one)] += 1 / len(pairs)
        weights[id(other)] -= 1 / len(pairs)
    measured = [np.array([float(_measured(run, metric) or 0.0) for run in group]) for group in groups.values()]
    outcomes, run = np.concatenate(measured), pairs[0][0][0]
    unit = "ratio" if is_ratio(metric) else "difference"
    response = Response(metric, unit, sweep.trials[:0], outcomes, run["cost"], _whole(run["samples"]))
    left = sum(map(len, {id(one): one for one, _ in pairs}.values()))
    # The weights sum to 0, so a common value cancels; equal values become exactly 0, and rounding is no difference.
    estimate = contrast([each - outcomes[0] for each in measured], list(weights.values()))
    return make_effect(response, axis.name, sides, estimate, (left, len(outcomes) - left), CONFIRMATION)


def _confirmed_pairs(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> list[tuple[list[_Run], list[_Run]]]:
    """Return pairs of confirmed configurations, each as its runs, that were measured alike at the largest budget."""
    name, may_differ = f"{PARAMS}{axis.name}", {axis.name, *dependents(axis, axes)}
    end = () if metric == FAILED else ("cost", "samples")
    groups: dict[tuple[Any, ...], list[_Run]] = {}
    for run in _runs(sweep, CONFIRMATION, axis.name):
        if _measured(run, metric) is not None:
            groups.setdefault(tuple(run[key] for key in ("of", "fingerprint", "budget", *end)), []).append(run)
    enough = {key: runs for key, runs in groups.items() if len(runs) >= MINIMUM_RUNS}
    pairs = [
        (first, second)
        for (one, first), (other, second) in itertools.permutations(enough.items(), 2)
        if one[1:] == other[1:] and first[0][name] in values and second[0][name] in against
        if _differing(first[0], second[0]) <= may_differ and not _equal_bounds((*first, *second), metric)
    ]
    budget = max((first[0]["budget"] for first, _ in pairs), default=None)
    return [pair for pair in pairs if pair[0][0]["budget"] == budget]


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
    sides: tuple[str, str],
    pairs: Sequence[_Pair],
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
    return make_effect(response, axis.name, sides, estimate, arms, evidence)


def _runs(sweep: Sweep, kind: str, dimension: str) -> list[dict[str, Any]]:
    """Return the distinct repeat runs of a kind, with ``None`` for missing values; empty if they lack the dimension.

    ``cost`` is what a run has used of its budget.
    """
    repeats = distinct_runs(sweep.repeats)
    if f"{PARAMS}{dimension}" not in repeats:
        return []
    runs = repeats.assign(cost=costs(repeats))[repeats["kind"] == kind].astype(object)
    return [
        {str(name): value for name, value in run.items()} for run in runs.where(runs.notna(), None).to_dict("records")
    ]


def distinct_runs(repeats: pd.DataFrame) -> pd.DataFrame:
    """Return repeats with one run per configuration, seed, budget and fingerprint: one that has ended if there is one.

    Ablations of the winner and of the recipe, and confirmations of configurations that a search proposed twice, train
    the same configuration on the same seed. That is one run, whatever trial it is of.
    """
    order = (schema.COMPLETE, schema.STOPPED, schema.FAILED, schema.INTERRUPTED, schema.RUNNING)
    best_first = repeats["status"].map({status: place for place, status in enumerate(order)}).argsort(kind="stable")
    params = [name for name in repeats if str(name).startswith(PARAMS) and name != f"{PARAMS}seed"]
    same = ["kind", "config_hash", *params, "seed", "budget", "fingerprint"]
    return repeats.iloc[best_first].drop_duplicates(same).sort_index()


def _differing(one: dict[Any, Any], other: dict[Any, Any]) -> set[str]:
    names = {name for name in one if name.startswith(PARAMS)} - {f"{PARAMS}seed"}
    return {name.removeprefix(PARAMS) for name in names if one[name] != other[name]}


def _equal_bounds(runs: Sequence[_Run], metric: str) -> bool:
    """Whether runs have nothing but the same bound of a figure, so that their difference was not measured."""
    bounds = {run.get(f"{BOUNDS}{metric}") or 0.0 for run in runs}
    return len(bounds) == 1 and bounds != {0.0}


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
