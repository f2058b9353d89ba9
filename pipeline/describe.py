"""Spaces and sweeps in words and in JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.rank import rank
from analysis.reasons import by_kind
from trainables.config import GanConfig
from trainables.data.tags import REPORT_PAIRS, REPORT_VOCABULARY
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from analysis.runs import Sweep
    from search_spaces.space import Space


def describe_space(space: Space) -> dict[str, Any]:
    """The contract of ``spaces NAME --json``: parameter counts are the recipe's, on the reports' vocabulary.

    CycleGAN's, which knows two domains only, are of both directions and of both discriminators.
    """
    from trainables.networks.blocks import count_parameters
    from trainables.systems.build import build_system

    config = GanConfig.from_params(space.recipe)
    pairs = REPORT_PAIRS if config.tags.encoding == "pairs" else ()
    sizes = (2,) if config.system == "cyclegan" else REPORT_VOCABULARY.sizes
    system = build_system(config, sizes, pairs=pairs)
    counts = {
        "generator": count_parameters(system.generator),
        "discriminator": count_parameters(system.discriminator),
    }
    return {**space.to_json(), "parameters": counts}


def format_space(described: dict[str, Any]) -> str:
    """What ``describe_space`` found, for people."""
    counts = described["parameters"]
    lines = [
        f"{described['name']}: {described['summary']}",
        f"recipe: {counts['generator']:,} parameters in G, {counts['discriminator']:,} in D",
        "",
    ]
    for dimension in described["dimensions"]:
        choices = dimension.get("choices")
        scale = ", log" if dimension["log"] else ""
        shape = ", ".join(map(str, choices)) if choices else f"{dimension['low']:g} to {dimension['high']:g}{scale}"
        when = "".join(
            f"  [when {name} is {' or '.join(map(str, values))}]" for name, values in dimension["when"].items()
        )
        lines.append(f"{dimension['name']} = {dimension['default']}  ({shape}){when}\n    {dimension['claim']}")
    return "\n".join(lines)


def sweep_status(sweep: Sweep, *, driven: bool = True) -> dict[str, Any]:
    """Counts by state and reason, slots in use, and the best so far of trials that have not failed.

    A confirmed best has its mean over fresh seeds as its value, and ``confirmed`` says so. ``driven`` says whether a
    driver is at work; without one, a run that is marked as running was interrupted. ``slot_use`` is the share of the
    slots' time that went into training and scoring, ``None`` before the first result.
    """
    trials, repeats = sweep.trials, sweep.repeats
    counts = _counts(trials, driven=driven)
    again = {
        str(kind): {name: count for name, count in _counts(runs, driven=driven).items() if count}
        for kind, runs in repeats.groupby("kind")
    }
    failed = trials.loc[trials["status"] == schema.FAILED, "reason"].dropna().tolist() if len(trials) else []
    kinds = by_kind(failed)
    best = {name: _best(sweep, name) for name in schema.OBJECTIVES if name in sweep.scores}
    slots, fuse = sweep.settings.get("concurrent"), str(sweep.settings.get("fuse"))
    if slots and fuse.isdecimal():  # trials in each of so many processes
        slots *= int(fuse)
    running = sum(one.get(schema.RUNNING, 0) for one in (counts, *again.values()))
    return {
        "sweep": sweep.name,
        "trials": {"asked": sweep.settings.get("trials"), **counts},
        "reasons": dict(Counter(failed).most_common()),
        "reason_kinds": {kind.name: {"count": kind.trials, "said": str(kind)} for kind in kinds},
        "workers": {"slots": slots, "running": running, "use": running / slots if slots else None},
        "slot_use": sweep.figures.get(schema.SLOT_USE),
        "repeats": again,
        "best": {name: about for name, about in best.items() if about},
    }


def status_before_tracking(settings: Path, tracking: str | None, *, driven: bool) -> dict[str, Any] | None:
    """The same of a sweep that MLflow does not know yet: its driver reads pictures and trains the judge, or ended so.

    ``None`` where the sweep is tracked elsewhere than at ``tracking``, and may have begun there.

    Raises:
        UserError: settings that cannot be read.
    """
    try:
        saved = json.loads(settings.read_text(encoding="utf-8"))
        asked, elsewhere = saved["settings"]["trials"], saved["started_with"].get("tracking") != tracking
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"cannot read {settings}: {first_line(error)}") from error
    if elsewhere:
        return None
    return {
        "sweep": settings.parent.name,
        "trials": {"asked": asked},
        "reasons": {},
        "reason_kinds": {},
        "workers": {"slots": None, "running": 0, "use": None},
        "slot_use": None,
        "repeats": {},
        "best": {},
        "preparing": driven,
    }


def _counts(runs: pd.DataFrame, *, driven: bool) -> dict[str, int]:
    """Runs by status; none for no runs."""
    if runs.empty:
        return {}
    status = runs["status"] if driven else runs["status"].replace(schema.RUNNING, schema.INTERRUPTED)
    return {name: int((status == name).sum()) for name in schema.STATUSES}


def _best(sweep: Sweep, name: str) -> dict[str, Any]:
    """Key and value of the best by a score; empty where there is none."""
    ranking = rank(sweep, name, allow_mixed=True)
    if ranking.best is None:
        return {}
    found = ranking.confirmation
    if found is not None and found.best == ranking.best:
        confirmed = {"seeds": len(found.seeds), "kimg": found.budget}
        return {"key": ranking.best, "value": found.configurations[0].summary.mean, "confirmed": confirmed}
    value = float(ranking.trials[f"scores.{name}"].iloc[0])
    return {"key": ranking.best, "value": value} if math.isfinite(value) else {}


def format_status(found: dict[str, Any]) -> str:
    """What ``sweep_status`` found, for people."""
    counts = ", ".join(f"{count} {name}" for name, count in found["trials"].items() if count and name != "asked")
    lines = [f"{found['sweep']}: {found['trials']['asked']} trials asked for; {counts or 'none begun'}"]
    if "preparing" in found:
        ended = f"its driver ended while it prepared; `gansweep resume {found['sweep']}` goes on"
        lines.append("  its driver prepares pictures, judge and reference" if found["preparing"] else f"  {ended}")
    workers = found["workers"]
    if workers["slots"]:
        lines.append(f"  {workers['running']} of {workers['slots']} slots in use")
    if found["slot_use"] is not None:
        lines.append(f"  {found['slot_use']:.1%} of all slot time so far was training and scoring")
    lines += [f"  {kind['count']} failed: {kind['said']}" for kind in found["reason_kinds"].values()]
    for kind, statuses in found["repeats"].items():
        lines.append(f"  {kind}: {', '.join(f'{count} {status}' for status, count in statuses.items())}")
    lines += [f"  best {name}: {about['value']:.4g} ({_whose(about)})" for name, about in found["best"].items()]
    return "\n".join(lines)


def _whose(best: dict[str, Any]) -> str:
    again = best.get("confirmed")
    if again is None:
        return str(best["key"])
    return f"{best['key']}, mean of {again['seeds']} fresh seed{'s' * (again['seeds'] != 1)} of {again['kimg']} kimg"
