"""Spaces and sweeps in words and in JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.rank import rank
from analysis.reasons import by_kind
from trainables.config import GanConfig
from trainables.data.tags import REPORT_PAIRS, REPORT_VOCABULARY

if TYPE_CHECKING:
    from analysis.runs import Sweep
    from search_spaces.space import Space


def describe_space(space: Space) -> dict[str, Any]:
    """The contract of ``spaces NAME --json``: parameter counts are the recipe's, on the reports' vocabulary."""
    from trainables.networks.blocks import count_parameters
    from trainables.systems.conditional import ConditionalGan

    config = GanConfig.from_params(space.recipe)
    pairs = REPORT_PAIRS if config.tags.encoding == "pairs" else ()
    system = ConditionalGan(config, REPORT_VOCABULARY.sizes, pairs)
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

    ``driven`` says whether a driver is at work; without one, a trial that is marked as running was interrupted.
    """
    trials = sweep.trials
    if len(trials) and not driven:
        trials = trials.assign(status=trials["status"].replace(schema.RUNNING, schema.INTERRUPTED))
    counts = {name: int((trials["status"] == name).sum()) for name in schema.STATUSES} if len(trials) else {}
    failed = trials.loc[trials["status"] == schema.FAILED, "reason"].dropna().tolist() if len(trials) else []
    kinds = by_kind(failed)
    best = {}
    for name in [name for name in schema.OBJECTIVES if name in sweep.scores]:
        ranking = rank(sweep, name, allow_mixed=True)
        if ranking.best is not None:
            found = ranking.trials.iloc[0]
            best[name] = {"key": ranking.best, "value": float(found[f"scores.{name}"])}
    slots, running = sweep.settings.get("concurrent"), counts.get(schema.RUNNING, 0)
    return {
        "sweep": sweep.name,
        "trials": {"asked": sweep.settings.get("trials"), **counts},
        "reasons": dict(Counter(failed).most_common()),
        "reason_kinds": {kind.name: {"count": kind.trials, "said": str(kind)} for kind in kinds},
        "workers": {"slots": slots, "running": running, "use": running / slots if slots else None},
        "best": best,
    }


def format_status(found: dict[str, Any]) -> str:
    """What ``sweep_status`` found, for people."""
    counts = ", ".join(f"{count} {name}" for name, count in found["trials"].items() if count and name != "asked")
    lines = [f"{found['sweep']}: {found['trials']['asked']} trials asked for; {counts or 'none begun'}"]
    workers = found["workers"]
    if workers["slots"]:
        lines.append(f"  {workers['running']} of {workers['slots']} slots in use")
    lines += [f"  {kind['count']} failed: {kind['said']}" for kind in found["reason_kinds"].values()]
    lines += [f"  best {name}: {about['value']:.4g} ({about['key']})" for name, about in found["best"].items()]
    return "\n".join(lines)
