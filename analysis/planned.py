"""What a sweep was planned to cost, against what it did."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from analysis.cells import duration, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.runs import Sweep

QUANTITIES: Final = ("trials", "kimg", "hours")

COSTLESS: Final = ("name", "data", "home", "tracking", "study", "storage", "address", "adopt", "checkpoint_seconds")
"""Settings of a sweep that change neither its trials nor how long they take."""


def differing(plan: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Options of a sweep, as ``sweep.json`` has them, that are others than what was planned.

    Slots and GPUs agree with what was asked for or with what that came to.
    """
    placed, mine = plan.get("placed", {}), json.loads(json.dumps(dict(settings)))
    return [
        f"--{name.replace('_', '-')}"
        for name, value in json.loads(json.dumps(plan["settings"])).items()
        if name in mine and mine[name] not in (value, placed.get(name, value))
    ]


def actual(sweep: Sweep) -> dict[str, float]:
    """Trials, the training of all of them in kimg, and the hours in which any of them ran.

    The time between an interruption and going on does not count.
    """
    trials = sweep.trials
    spans = [span for row in trials.to_dict("records") for span in _spans(row)]
    seconds, until = 0.0, -math.inf
    for start, end in sorted(spans):
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return {"trials": float(len(trials)), "kimg": float(trials["kimg"].fillna(0.0).sum()), "hours": seconds / 3600}


def errors(plan: Mapping[str, Any], sweep: Sweep) -> dict[str, float | None]:
    """How far the plan was off: 0.1 where a tenth too much was planned; ``None`` where there is nothing yet."""
    real = actual(sweep)
    return {name: _error(plan, name, real[name]) for name in QUANTITIES}


def planned_lines(plan: Mapping[str, Any], real: Mapping[str, float]) -> list[str]:
    """One line per quantity: what it was, what was planned, how far off that was."""
    return [f"{name} {text}" for name, text in planned_entries(plan, real)]


def planned_entries(plan: Mapping[str, Any], real: Mapping[str, float]) -> list[tuple[str, str]]:
    """The same as names and texts; none of a plan that lacks them."""
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
    """When a trial ran, by its stretches, else from its start to its end."""
    try:
        stretches = [(float(one["start"]), float(one["end"])) for one in json.loads(row["stretches"])]
    except (TypeError, ValueError, KeyError):
        stretches = []
    spans = stretches or [(float(row["started"]), float(row["ended"]))]
    return [span for span in spans if all(map(math.isfinite, span))]
