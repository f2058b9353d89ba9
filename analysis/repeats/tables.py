"""Confirmations and ablations as text, plain lines of full length."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis import schema
from analysis.formatting import printable, score
from analysis.repeats.results import CORRECTION
from analysis.repeats.seed_statistics import MOST_SEEDS, POWER, seeds_to_separate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.repeats.results import Ablation, AblationEffect, Confirmation, Confirmed
    from analysis.repeats.seed_statistics import Difference, Summary

_WIDE = 10_000
CLOSE = "≈"
"""Marks configurations that are not separable from the best."""
BELOW = "tags below floor"
"""Marks configurations whose tag accuracy is below the floor of the winner's rule."""
CONFIRMATION_HEADERS = ("configuration", "n", "mean ± sd", "95% interval", "P(best)", "minus the best", "")
ABLATION_HEADERS = ("variant", "n", "mean ± sd", "difference [95%]", "", "p", "")


def format_confirmation(confirmation: Confirmation, sweep: str) -> str:
    """Format the configurations of a confirmation, best first, with verdicts."""
    count = len(confirmation.seeds)
    seeds = f"{count} seed{'s' * (count != 1)} of {confirmation.budget} {confirmation.unit} each"
    head = f"confirmation of {sweep} by {confirmation.by}: {seeds}"
    table = _table(CONFIRMATION_HEADERS, confirmation_rows(confirmation))
    return "\n".join([head, table, *verdicts(confirmation).values(), *_seeds_needed(confirmation), ""])


def confirmation_rows(confirmation: Confirmation) -> list[list[str]]:
    """One row of ``CONFIRMATION_HEADERS`` per configuration, best first."""
    return [
        [
            entry.key + (" recipe" if entry.recipe else ""),
            str(entry.summary.n),
            spread(entry.summary, confirmation.by),
            interval(entry.summary.low, entry.summary.high, confirmation.by),
            "-" if entry.p_best is None else f"{entry.p_best:.0%}",
            difference_text(entry.difference, confirmation.by),
            _mark(entry, confirmation.best),
        ]
        for entry in confirmation.configurations
    ]


def verdicts(confirmation: Confirmation) -> dict[str, str]:
    """Return the conclusions and the open questions of a confirmation, one sentence each, by label."""
    lines: dict[str, str] = {}
    if confirmation.best is None:
        lines["confirmed"] = "no configuration came through all of its runs"
    elif confirmation.close:
        lines["not separable"] = f"not separable from the best: {', '.join(confirmation.close)} ({_how(confirmation)})"
    elif confirmation.rivals:
        others = "every other confirmed one"
        if not all(entry.follows_tags for entry in confirmation.configurations):
            others += " that follows its tags"
        lines["separable"] = f"{confirmation.best} is separable from {others} ({_how(confirmation)})"
    if below := [entry.key for entry in confirmation.configurations if not entry.follows_tags]:
        lines["tags"] = f"below the least tag accuracy, whatever the {confirmation.by}: {', '.join(below)}"
    if len(confirmation.seeds) == 1:
        lines["one seed"] = (
            "one seed shows no variation between seeds: intervals cover the sampling noise of the score only; "
            "give more --seeds"
        )
    for entry in confirmation.configurations:
        if entry.failed:
            lines[f"failed {entry.key}"] = (
                f"{entry.key} failed on {len(entry.failed)} of its seeds and is not compared: "
                f"{printable(entry.failed[0])}"
            )
        elif not entry.compared:
            lines[f"unfinished {entry.key}"] = f"{entry.key} has too few seeds yet and is not compared"
    if any(entry.unfinished for entry in confirmation.configurations):
        lines["unfinished"] = "runs have not ended: the same `gansweep confirm` goes on with them"
    if confirmation.left_out:
        lines["left out"] = f"{confirmation.left_out} runs at smaller budgets are left out"
    return lines


def format_ablation(ablation: Ablation, skipped: Mapping[str, str]) -> str:
    """Format the variants of an ablation with their paired differences, and the skipped variants."""
    head = f"ablation of {ablation.of} by {ablation.by}: runs of {ablation.budget} {ablation.unit} each"
    lines = [head, _table(ABLATION_HEADERS, ablation_rows(ablation)), *ablation_notes(ablation)]
    lines += [f"skipped {name}: {printable(reason)}" for name, reason in skipped.items()]
    return "\n".join([*lines, ""])


def ablation_rows(ablation: Ablation) -> list[list[str]]:
    """One row of ``ABLATION_HEADERS`` per variant."""
    return [
        [
            effect.variant,
            str(effect.summary.n),
            spread(effect.summary, ablation.by),
            difference_text(effect.difference, ablation.by),
            f"minus the {effect.base}" if effect.base else "",
            "-" if effect.p is None or math.isnan(effect.p) else f"{effect.p:.3f}",
            verdict(effect, ablation.by),
        ]
        for effect in ablation.effects
    ]


def ablation_notes(ablation: Ablation) -> list[str]:
    """Explain the numbers of an ablation, and list variants with several changed values or failed runs."""
    lines = [
        'p: paired t on shared seeds, by Holm over all differences; "not separable" says that seeds may account for it'
    ]
    for effect in ablation.effects:
        if len(effect.change) > 1:
            values = ", ".join(f"{name} = {value}" for name, value in effect.change.items())
            lines.append(f"{effect.variant} sets {values}: what depends on it follows")
        if effect.failed:
            lines.append(f"{effect.variant} failed on {len(effect.failed)} seeds: {printable(effect.failed[0])}")
    return lines


def verdict(effect: AblationEffect, by: str) -> str:
    """Return ``better``, ``worse``, ``not separable`` or ``too few seeds``; empty for the base itself."""
    if effect.difference is None or effect.separable is None:
        return "" if not effect.base else "too few seeds"
    if not effect.separable:
        return "not separable"
    better = (effect.difference.mean > 0) == (schema.direction(by) == "maximize")
    return "better" if better else "worse"


def spread(summary: Summary, by: str) -> str:
    """Format mean and standard deviation as ``41.2 ± 1.3``; shares in percent."""
    if not summary.n:
        return "-"
    return score(by, summary.mean) + ("" if math.isnan(summary.sd) else f" ± {score(by, summary.sd)}")


def interval(low: float, high: float, by: str) -> str:
    """Format an interval as ``[39.6, 42.8]``."""
    return "-" if math.isnan(low) else f"[{score(by, low)}, {score(by, high)}]"


def difference_text(difference: Difference | None, by: str) -> str:
    """Format a difference and its interval as ``+2.1 [0.4, 3.8]``."""
    if difference is None or not difference.n:
        return "-"
    sign = "+" if difference.mean >= 0 else ""
    return f"{sign}{score(by, difference.mean)} {interval(difference.low, difference.high, by)}"


def _mark(configuration: Confirmed, best: str | None) -> str:
    if configuration.key == best:
        return "best"
    if not configuration.follows_tags:
        return BELOW
    return "" if configuration.separable is None else ("" if configuration.separable else CLOSE)


def _seeds_needed(confirmation: Confirmation) -> list[str]:
    """Say how many seeds would separate each configuration that is not separable from the best."""
    texts = []
    for entry in confirmation.configurations:
        if entry.key in confirmation.close and entry.difference is not None and entry.difference.n > 1:
            seeds = seeds_to_separate(entry.difference)
            texts.append(f"{f'more than {MOST_SEEDS}' if seeds is None else f'about {seeds}'} for {entry.key}")
    if not texts:
        return []
    return [
        f"seeds that would separate one from the best ({POWER:.0%} power for that pair alone, if the differences on "
        f"{len(confirmation.seeds)} seeds are typical): {', '.join(texts)}; `gansweep confirm --seeds` runs more"
    ]


def _how(confirmation: Confirmation) -> str:
    return f"paired t on {len(confirmation.seeds)} shared seeds, 95%, {CORRECTION}"


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column, header in enumerate(headers):
        table.add_column(header, justify="left" if column in (0, 4, 6) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    file = io.StringIO()
    Console(file=file, width=_WIDE, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
