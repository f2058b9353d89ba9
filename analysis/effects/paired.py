"""Effects from repeat runs: ablations in pairs, and confirmed configurations by their means."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import schema
from analysis.effects.dimensions import Axis, dependents
from analysis.effects.effect import ABLATION, CONFIRMATION, FAILED, Effect, Response, is_ratio, join_values, make_effect
from analysis.effects.regression import adjusted_effect, paired_effect, share_difference
from analysis.mlflow_reader.run_table import costs
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from analysis.mlflow_reader.sweep import Sweep

MINIMUM_RUNS = 3
"""Minimum number of pairs of an ablation, or of runs of a confirmed configuration."""


def ablation_effect(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare pairs of repeat runs with equal seeds that differ only in this dimension and those that depend on it.

    ``None`` if there are too few.
    """
    candidates = [
        (run, reference)
        for run, reference in _pairs(sweep, {axis.name, *dependents(axis, axes)}, axis.name, values, against)
        if metric == FAILED or (run["cost"] == reference["cost"] and run["samples"] == reference["samples"])
        if _measured(run, metric) is not None and _measured(reference, metric) is not None
    ]
    budget = _largest([run["budget"] for run, _ in candidates])
    pairs = [(run, reference) for run, reference in candidates if run["budget"] == budget]
    if budget is None:
        return None
    if metric == FAILED:
        return _failing(sweep, axis, (values, against), pairs, ABLATION)
    differences = [
        float(_measured(run, metric) or 0.0) - float(_measured(reference, metric) or 0.0) for run, reference in pairs
    ]
    unit = "ratio" if is_ratio(metric) else "difference"
    first = pairs[0][0]
    response = Response(metric, unit, sweep.trials[:0], np.array(differences), first["cost"], _whole(first["samples"]))
    sides = (join_values(values), join_values(against))
    return make_effect(response, axis.name, sides, paired_effect(differences), (len(differences),) * 2, ABLATION)


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
