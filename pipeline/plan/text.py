"""The text of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.formatting import duration, number
from analysis.plan_accuracy import planned_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 2**30


def format_plan(plan: Mapping[str, Any]) -> str:
    """Format a plan for the terminal."""
    memory, measured = plan["memory_per_trial"], plan["measured"]
    where = "a GPU" if measured["device"] == "cuda" else "memory"
    lines = [
        f"plan of {plan['sweep']}, over {plan['space']}, on {plan['slots']} slots (medians, 90% of simulated sweeps)",
        f"  trials  {_range(plan['trials'], number)}",
        f"  kimg    {_range(plan['kimg'], lambda value: number(round(value)))}; "
        f"{number(plan['without_stopping']['kimg'])} without stopping{_unit(plan)}",
        f"  time    {_range(plan['hours'], lambda hours: duration(3600 * hours))}",
        *_tag_classifier(plan.get("tag_classifier_seconds")),
        f"  a trial of the whole budget takes {_range(plan['trial_hours'], lambda hours: duration(3600 * hours))}, "
        f"the recipe {duration(3600 * plan['recipe_hours'])}",
        f"  {where} per trial: the recipe {memory['recipe'] / GIB:.2f} GiB, the largest configuration "
        f"{memory['largest'] / GIB:.2f} GiB",
        f"measured here: {len(measured['configurations'])} configurations, {measured['at_once']} at once, a few "
        f"updates and a scoring each; seconds of the others by their operations, +-{plan['error_of_seconds']:.0%}",
        "not included: decoding the images and measuring the reference, the savings from trials that diverge or "
        "fail early, and that a search which improves stops fewer trials",
    ]
    if "actual" in plan:
        lines += [f"so far: {text}" for text in planned_lines(plan, plan["actual"])]
    if "not_compared" in plan:
        lines.append(f"not compared with the sweep, which has another {', '.join(plan['not_compared'])}")
    return "\n".join(lines)


def _unit(plan: Mapping[str, Any]) -> str:
    unit = schema.budget_unit(plan["settings"])
    return "" if unit == "kimg" else f" ({unit}, at equal {schema.budget_equals(plan['settings'])})"


def _tag_classifier(seconds: float | None) -> list[str]:
    if not seconds:
        return []
    return [f"  including the tag classifier of new images, {duration(seconds)} beside the first trials"]


def _range(values: Mapping[str, float], text: Any) -> str:
    median, low, high = (text(values[name]) for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low} to {high})"
