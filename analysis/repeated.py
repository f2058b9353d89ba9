"""Effects from runs that a user repeated on purpose: ablations in pairs, confirmed configurations side by side."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import schema
from analysis.adjusted import adjusted_effect, paired_effect, share_difference
from analysis.axes import Axis, dependents
from analysis.effect import ABLATION, CONFIRMATION, FAILED, Effect, Outcome, as_effect, is_ratio, named
from analysis.runs import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from analysis.runs import Sweep

MINIMUM_RUNS = 3
"""Pairs of an ablation, or runs of a confirmed configuration."""


def ablated(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare pairs of repeat runs that share their seed and differ in this dimension, and what depends on it, alone.

    ``None`` for too few.
    """
    found = [
        (one, other)
        for one, other in _pairs(sweep, {axis.name, *dependents(axis, axes)}, axis.name, values, against)
        if metric == FAILED or (one["kimg"] == other["kimg"] and one["samples"] == other["samples"])
        if _measured(one, metric) is not None and _measured(other, metric) is not None
    ]
    at = _largest([one["budget"] for one, _ in found])
    pairs = [(one, other) for one, other in found if one["budget"] == at]
    if at is None:
        return None
    if metric == FAILED:
        return _failing(sweep, axis, (values, against), pairs, ABLATION)
    differences = [
        float(_measured(one, metric) or 0.0) - float(_measured(other, metric) or 0.0) for one, other in pairs
    ]
    unit = "ratio" if is_ratio(metric) else "difference"
    first = pairs[0][0]
    outcome = Outcome(metric, unit, sweep.trials[:0], np.array(differences), first["kimg"], _whole(first["samples"]))
    sides = (named(values), named(against))
    return as_effect(outcome, axis.name, sides, paired_effect(differences), (len(differences),) * 2, ABLATION)


def confirmed(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare confirmed configurations that differ in this dimension, and what depends on it, alone.

    Their seeds are not the same, so each pair of configurations is compared by its means, over all of their runs. What
    diverged ended early: for ``failed`` runs belong together by the budget that they were given.
    """
    name, may_differ = f"{PARAMS}{axis.name}", {axis.name, *dependents(axis, axes)}
    runs = [run for run in _runs(sweep, CONFIRMATION, axis.name) if _measured(run, metric) is not None]
    same = ("of", "fingerprint", "budget") if metric == FAILED else ("of", "fingerprint", "kimg", "samples")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple(run[name] for name in same), []).append(run)
    beside: list[tuple[dict[str, Any], dict[str, Any]]] = []
    rows: list[tuple[float, bool, int]] = []
    place: tuple[Any, ...] = ()
    for pair, (one, other) in enumerate(itertools.permutations(groups, 2)):
        first, second = groups[one], groups[other]
        asked = first[0][name] in values and second[0][name] in against and one[1:] == other[1:]
        if asked and _differing(first[0], second[0]) <= may_differ and min(len(first), len(second)) >= MINIMUM_RUNS:
            place = one
            beside += itertools.product(first, second)
            rows += [(float(_measured(run, metric) or 0.0), run in first, pair) for run in (*first, *second)]
    if not rows:
        return None
    if metric == FAILED:
        at = max(run["budget"] for run, _ in beside)
        return _failing(sweep, axis, (values, against), [one for one in beside if one[0]["budget"] == at], CONFIRMATION)
    measured, left, pairs = (np.array(column) for column in zip(*rows, strict=True))
    blocks = (pairs[:, None] == np.unique(pairs)[1:]).astype(float)
    unit = "ratio" if is_ratio(metric) else "difference"
    outcome = Outcome(metric, unit, sweep.trials[:0], measured, place[2], _whole(place[3]))
    estimate = adjusted_effect(measured, left, blocks)
    arms = (int(left.sum()), int((~left).sum()))
    return as_effect(outcome, axis.name, (named(values), named(against)), estimate, arms, CONFIRMATION)


def _failing(
    sweep: Sweep,
    axis: Axis,
    sides: tuple[Collection[Any], Collection[Any]],
    pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]],
    evidence: str,
) -> Effect | None:
    """Compare the shares that failed of the runs in pairs, each run once.

    A mean of differences would be certain of three pairs that all differ by 1; shares have an interval there too.
    """
    runs = [{run["key"]: run["status"] == schema.FAILED for run in side} for side in zip(*pairs, strict=True)]
    hits, arms = [sum(side.values()) for side in runs], (len(runs[0]), len(runs[1]))
    failed = np.array([failed for side in runs for failed in side.values()], dtype=np.float64)
    outcome = Outcome(FAILED, "difference", sweep.trials[:0], failed, float(pairs[0][0]["budget"]))
    estimate = share_difference(hits[0], arms[0], hits[1], arms[1])
    return as_effect(outcome, axis.name, (named(sides[0]), named(sides[1])), estimate, arms, evidence)


def _largest(budgets: Sequence[int]) -> int | None:
    """The largest budget of at least ``MINIMUM_RUNS`` pairs."""
    return max((budget for budget in budgets if budgets.count(budget) >= MINIMUM_RUNS), default=None)


def _pairs(
    sweep: Sweep, may_differ: set[str], dimension: str, values: Collection[Any], against: Collection[Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Ablation runs of one configuration, seed and budget, with the values asked for and else alike as allowed."""
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
    """Repeat runs of a kind, missing values as ``None``; none where the dimension is not among their parameters."""
    repeats = sweep.repeats
    if f"{PARAMS}{dimension}" not in repeats:
        return []
    runs = repeats[repeats["kind"] == kind].astype(object)
    return [
        {str(name): value for name, value in run.items()} for run in runs.where(runs.notna(), None).to_dict("records")
    ]


def _differing(one: dict[Any, Any], other: dict[Any, Any]) -> set[str]:
    names = {name for name in one if name.startswith(PARAMS)} - {f"{PARAMS}seed"}
    return {name.removeprefix(PARAMS) for name in names if one[name] != other[name]}


def _measured(run: dict[str, Any], metric: str) -> float | None:
    """A run's score; for ``failed`` whether it did, ``None`` while that is open."""
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
