"""Compare the planned cost of a sweep with its actual cost."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from analysis.formatting import duration, number
from analysis.mlflow_reader.run_table import costs, epoch_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.mlflow_reader.sweep import Sweep

QUANTITIES: Final = ("trials", "kimg", "hours")

COST_NEUTRAL: Final = (
    "name",
    "data",
    "home",
    "tracking",
    "study",
    "storage",
    "address",
    "adopt",
    "checkpoint_seconds",
    "min_tag_accuracy",
)
"""Settings of a sweep that affect neither its trials nor their duration."""


def changed_options(plan: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """List the options of a sweep (from ``sweep.json``) that differ from the planned ones.

    Slots and GPUs may agree with either the requested or the resolved values.
    """
    placed, mine = plan.get("placed", {}), json.loads(json.dumps(dict(settings)))
    return [
        f"--{name.replace('_', '-')}"
        for name, value in json.loads(json.dumps(plan["settings"])).items()
        if name in mine and mine[name] not in (value, placed.get(name, value))
    ]


def actual_cost(sweep: Sweep) -> dict[str, float]:
    """Return the number of trials, their total training in kimg of the budget, and the hours in which any of them ran.

    The time between an interruption and the resumption does not count.
    """
    trials = sweep.trials
    trials = trials.assign(started=epoch_seconds(trials["started"]), ended=epoch_seconds(trials["ended"]))
    spans = [span for row in trials.to_dict("records") for span in _spans(row)]
    seconds, until = 0.0, -math.inf
    for start, end in sorted(spans):
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return {"trials": float(len(trials)), "kimg": float(costs(trials).fillna(0.0).sum()), "hours": seconds / 3600}


def relative_errors(plan: Mapping[str, Any], sweep: Sweep) -> dict[str, float | None]:
    """Return the relative error of the plan: 0.1 if it was a tenth too high; ``None`` without an actual value."""
    real = actual_cost(sweep)
    return {name: _error(plan, name, real[name]) for name in QUANTITIES}


def planned_lines(plan: Mapping[str, Any], real: Mapping[str, float]) -> list[str]:
    """Format one line per quantity: actual value, planned value, relative error."""
    return [f"{name} {text}" for name, text in planned_entries(plan, real)]


def planned_entries(plan: Mapping[str, Any], real: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return the same as names and texts; quantities that the plan lacks are left out."""
    entries = []
    for name in QUANTITIES:
        if not isinstance(plan.get(name), dict) or not {"median", "low", "high"} <= set(plan[name]):
            continue
        median, low, high = (_text(name, plan[name][part]) for part in ("median", "low", "high"))
        error = _error(plan, name, real[name])
        off = "" if error is None else f", {error:+.0%}"
        entries.append((name, f"{_text(name, real[name])}; planned {median} ({low} to {high}){off}"))
    return entries


def _error(plan: Mapping[str, Any], name: str, real: float) -> float | None:
    return float(plan[name]["median"]) / real - 1.0 if real else None


def _text(name: str, value: float) -> str:
    return duration(3600 * value) if name == "hours" else number(round(value))


def _spans(row: Mapping[Any, Any]) -> list[tuple[float, float]]:
    """Return the intervals in which a trial ran, from its timeline tag, else from its start to its end."""
    try:
        stretches = [(float(interval["start"]), float(interval["end"])) for interval in json.loads(row["stretches"])]
    except (TypeError, ValueError, KeyError):
        stretches = []
    spans = stretches or [(float(row["started"]), float(row["ended"]))]
    return [span for span in spans if all(map(math.isfinite, span))]
