"""Describe spaces and sweeps as text and as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.formatting import score as score_text
from analysis.ranking.failure_reasons import group_reasons
from analysis.ranking.ranking import rank
from analysis.repeats.confirmation import confirmation
from trainables.config import GanConfig
from trainables.data.tags import REPORT_PAIRS, REPORT_VOCABULARY
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from analysis.mlflow_reader.sweep import Sweep
    from analysis.ranking.ranking import Ranking
    from search_spaces.space import Space


def describe_space(space: Space) -> dict[str, Any]:
    """Return what ``spaces NAME --json`` prints; parameter counts are those of the baseline recipe.

    They are counted for the default vocabulary (two groups of 12 and 11 classes); CycleGAN's cover both generators and
    both discriminators.
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
    """Format the result of ``describe_space`` as text."""
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


def sweep_status(sweep: Sweep, *, driven: bool = True, min_tag_accuracy: float | None = None) -> dict[str, Any]:
    """Return counts by state and reason, worker slots in use, the winner and the best scores so far.

    Failed trials are left out. The value of a confirmed best is its mean over fresh seeds, and it has a key
    ``confirmed``. ``driven`` tells whether a driver is running; without one, runs that are marked as running count as
    interrupted. ``slot_use`` is the share of worker slot time spent on training and scoring, ``None`` before the first
    result. ``min_tag_accuracy`` is the floor of the winner's tag accuracy; default: that of the rule.
    """
    trials, repeats = sweep.trials, sweep.repeats
    counts = _counts(trials, driven=driven)
    again = {
        str(kind): {name: count for name, count in _counts(runs, driven=driven).items() if count}
        for kind, runs in repeats.groupby("kind")
    }
    failed = trials.loc[trials["status"] == schema.FAILED, "reason"].dropna().tolist() if len(trials) else []
    kinds = group_reasons(failed)
    ranking = rank(sweep, allow_mixed=True, min_tag_accuracy=min_tag_accuracy)
    best = {name: _score_of(ranking, name, ranking.best_by(name)) for name in schema.OBJECTIVES if name in sweep.scores}
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
        "winner": _winner(ranking),
        "run_deleted": sweep.is_deleted,
    }


def status_before_tracking(settings: Path, tracking: str | None, *, driven: bool) -> dict[str, Any] | None:
    """Return the status of a sweep that is not in MLflow yet: its driver is preparing it, or ended while preparing.

    ``None`` if the sweep is tracked elsewhere than at ``tracking``, where it may have started.

    Raises:
        UserError: the settings cannot be read.
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
        "winner": None,
        "preparing": driven,
    }


def _counts(runs: pd.DataFrame, *, driven: bool) -> dict[str, int]:
    """Count runs by status; empty without runs."""
    if runs.empty:
        return {}
    status = runs["status"] if driven else runs["status"].replace(schema.RUNNING, schema.INTERRUPTED)
    return {name: int((status == name).sum()) for name in schema.STATUSES}


def _score_of(ranking: Ranking, name: str, key: str | None) -> dict[str, Any]:
    """Return key and value of a trial by a score, the mean over fresh seeds if it was confirmed; empty without one."""
    if key is None:
        return {}
    found = None
    if ranking.confirmation is not None:
        found = ranking.confirmation if name == ranking.by else confirmation(ranking.sweep, name, allow_mixed=True)
    again = found.of(key) if found else None
    if found and again and again.compared:
        confirmed = {"seeds": len(found.seeds), "kimg": found.budget, "unit": found.unit}
        return {"key": key, "value": again.summary.mean, "confirmed": confirmed}
    value = float(ranking.trials.loc[ranking.trials["key"] == key, f"scores.{name}"].iloc[0])
    return {"key": key, "value": value} if math.isfinite(value) else {}


def _winner(ranking: Ranking) -> dict[str, Any] | None:
    """Return key, scores and rule of the winner."""
    if ranking.best is None:
        return None
    scores = {
        name: _score_of(ranking, name, ranking.best) for name in schema.OBJECTIVES if name in ranking.sweep.scores
    }
    return {
        "key": ranking.best,
        "scores": {name: about["value"] for name, about in scores.items() if about},
        "confirmed": scores.get(schema.DISTANCE, {}).get("confirmed"),
        "rule": ranking.rule.words if ranking.rule else None,
        "rule_numbers": ranking.rule.to_json() if ranking.rule else None,
    }


def format_status(found: dict[str, Any]) -> str:
    """Format the result of ``sweep_status`` as text."""
    counts = ", ".join(f"{count} {name}" for name, count in found["trials"].items() if count and name != "asked")
    lines = [f"{found['sweep']}: {found['trials']['asked']} trials requested; {counts or 'none started'}"]
    if "preparing" in found:
        ended = f"its driver ended while preparing; `gansweep resume {found['sweep']}` continues"
        lines.append(
            "  its driver is preparing images, tag classifier and reference features"
            if found["preparing"]
            else f"  {ended}"
        )
    if found.get("run_deleted"):
        lines.append(f"  its own MLflow run was deleted; `gansweep resume {found['sweep']}` restores it")
    workers = found["workers"]
    if workers["slots"]:
        lines.append(f"  {workers['running']} of {workers['slots']} worker slots in use")
    if found["slot_use"] is not None:
        lines.append(f"  {found['slot_use']:.1%} of worker slot time so far was spent on training and scoring")
    lines += [f"  {kind['count']} failed: {kind['said']}" for kind in found["reason_kinds"].values()]
    for kind, statuses in found["repeats"].items():
        lines.append(f"  {kind}: {', '.join(f'{count} {status}' for status, count in statuses.items())}")
    lines += _winner_lines(found["winner"])
    lines += [f"  best {name}: {about['value']:.4g} ({_trial_text(about)})" for name, about in found["best"].items()]
    return "\n".join(lines)


def _winner_lines(winner: dict[str, Any] | None) -> list[str]:
    if winner is None:
        return []
    scores = ", ".join(
        f"{name.replace('_', ' ')} {score_text(name, value)}" for name, value in winner["scores"].items()
    )
    lines = [f"  winner: {_trial_text(winner)}: {scores}"]
    if winner["rule"] is not None:
        lines.insert(0 if winner["rule_numbers"]["unmet"] else 1, f"  rule: {winner['rule']}")
    return lines


def _trial_text(best: dict[str, Any]) -> str:
    again = best.get("confirmed")
    if again is None:
        return str(best["key"])
    seeds = f"{again['seeds']} fresh seed{'s' * (again['seeds'] != 1)}"
    return f"{best['key']}, mean of {seeds} of {again['kimg']} {again['unit']}"
