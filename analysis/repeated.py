"""Effects from runs that a user repeated on purpose: ablations in pairs, confirmed configurations side by side."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis import schema
from analysis.adjusted import adjusted_effect, paired_effect
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
    differences, places = [], []
    for one, other in _pairs(sweep, {axis.name, *dependents(axis, axes)}, axis.name, values, against):
        first, second = _measured(one, metric), _measured(other, metric)
        equal = one["kimg"] == other["kimg"] and one["samples"] == other["samples"]
        if first is not None and second is not None and (equal or metric == FAILED):
            differences.append(first - second)
            places.append((one["kimg"], one["samples"]))
    if len(differences) < MINIMUM_RUNS:
        return None
    unit = "ratio" if is_ratio(metric) else "difference"
    outcome = Outcome(metric, unit, sweep.trials[:0], np.array(differences), places[0][0], _whole(places[0][1]))
    sides = (named(values), named(against))
    return as_effect(outcome, axis.name, sides, paired_effect(differences), (len(differences),) * 2, ABLATION)


def confirmed(
    sweep: Sweep, axis: Axis, axes: Sequence[Axis], values: Collection[Any], against: Collection[Any], metric: str
) -> Effect | None:
    """Compare confirmed configurations that differ in this dimension, and what depends on it, alone.

    Their seeds are not the same, so each pair of configurations is compared by its means, over all of their runs.
    """
    name, may_differ = f"{PARAMS}{axis.name}", {axis.name, *dependents(axis, axes)}
    runs = [run for run in _runs(sweep, CONFIRMATION, axis.name) if _measured(run, metric) is not None]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["of"], run["fingerprint"], run["kimg"], run["samples"]), []).append(run)
    rows: list[tuple[float, bool, int]] = []
    place: tuple[Any, ...] = ()
    for pair, (one, other) in enumerate(itertools.permutations(groups, 2)):
        first, second = groups[one], groups[other]
        asked = first[0][name] in values and second[0][name] in against and one[1:] == other[1:]
        if asked and _differing(first[0], second[0]) <= may_differ and min(len(first), len(second)) >= MINIMUM_RUNS:
            place = one
            rows += [(float(_measured(run, metric) or 0.0), run in first, pair) for run in (*first, *second)]
    if not rows:
        return None
    measured, left, pairs = (np.array(column) for column in zip(*rows, strict=True))
    blocks = (pairs[:, None] == np.unique(pairs)[1:]).astype(float)
    unit = "ratio" if is_ratio(metric) else "difference"
    outcome = Outcome(metric, unit, sweep.trials[:0], measured, place[2], _whole(place[3]))
    estimate = adjusted_effect(measured, left, blocks)
    arms = (int(left.sum()), int((~left).sum()))
    return as_effect(outcome, axis.name, (named(values), named(against)), estimate, arms, CONFIRMATION)


def _pairs(
    sweep: Sweep, may_differ: set[str], dimension: str, values: Collection[Any], against: Collection[Any]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Ablation runs of one configuration and seed with the values asked for and no other difference than allowed."""
    name = f"{PARAMS}{dimension}"
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in _runs(sweep, ABLATION, dimension):
        groups.setdefault((run["of"], run["seed"], run["fingerprint"]), []).append(run)
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
