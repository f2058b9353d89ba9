"""Confirmations and ablations as text, plain lines of full length."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis import schema
from analysis.cells import printable, score
from analysis.confirmation import CORRECTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.confirmation import Ablation, Confirmation, Confirmed, Effect
    from analysis.seeds import Difference, Summary

_WIDE = 10_000
CLOSE = "≈"
"""Marks what cannot be told from the best."""
CONFIRMATION_HEADERS = ("configuration", "n", "mean ± sd", "95% interval", "P(best)", "minus the best", "")
ABLATION_HEADERS = ("variant", "n", "mean ± sd", "difference [95%]", "", "p", "")


def format_confirmation(found: Confirmation, sweep: str) -> str:
    """The configurations of a confirmation, best first, and what may be said of them."""
    seeds = len(found.seeds)
    head = f"confirmation of {sweep} by {found.by}: {seeds} seed{'s' * (seeds != 1)} of {found.budget} kimg each"
    return "\n".join([head, _table(CONFIRMATION_HEADERS, confirmation_rows(found)), *verdicts(found).values(), ""])


def confirmation_rows(found: Confirmation) -> list[list[str]]:
    """One row of ``CONFIRMATION_HEADERS`` per configuration, best first."""
    return [
        [
            one.key + (" recipe" if one.recipe else ""),
            str(one.summary.n),
            spread(one.summary, found.by),
            interval(one.summary.low, one.summary.high, found.by),
            "-" if one.p_best is None else f"{one.p_best:.0%}",
            difference_text(one.difference, found.by),
            _mark(one, found.best),
        ]
        for one in found.configurations
    ]


def verdicts(found: Confirmation) -> dict[str, str]:
    """What the confirmation says and leaves open, one sentence each, by label."""
    lines: dict[str, str] = {}
    if found.best is None:
        lines["confirmed"] = "no configuration came through all of its runs"
    elif found.close:
        lines["not separable"] = f"not separable from the best: {', '.join(found.close)} ({_how(found)})"
    elif len([one for one in found.configurations if one.compared]) > 1:
        lines["separable"] = f"{found.best} is separable from every other confirmed one ({_how(found)})"
    if len(found.seeds) == 1:
        lines["one seed"] = (
            "one seed says nothing of other seeds: intervals hold the sampling noise of the score alone; "
            "give more --seeds"
        )
    for one in found.configurations:
        if one.failed:
            lines[f"failed {one.key}"] = (
                f"{one.key} failed on {len(one.failed)} of its seeds and is not compared: {printable(one.failed[0])}"
            )
        elif not one.compared:
            lines[f"unfinished {one.key}"] = f"{one.key} has too few seeds yet and is not compared"
    if any(one.unfinished for one in found.configurations):
        lines["unfinished"] = "runs have not ended: the same `gansweep confirm` goes on with them"
    if found.left_out:
        lines["left out"] = f"{found.left_out} runs at smaller budgets are left out"
    return lines


def format_ablation(found: Ablation, skipped: Mapping[str, str]) -> str:
    """The variants of an ablation with their paired differences, and what could not be tried."""
    head = f"ablation of {found.of} by {found.by}: runs of {found.budget} kimg each"
    lines = [head, _table(ABLATION_HEADERS, ablation_rows(found)), *ablation_notes(found)]
    lines += [f"skipped {name}: {printable(reason)}" for name, reason in skipped.items()]
    return "\n".join([*lines, ""])


def ablation_rows(found: Ablation) -> list[list[str]]:
    """One row of ``ABLATION_HEADERS`` per variant."""
    return [
        [
            effect.variant,
            str(effect.summary.n),
            spread(effect.summary, found.by),
            difference_text(effect.difference, found.by),
            f"minus the {effect.base}" if effect.base else "",
            "-" if effect.p is None or math.isnan(effect.p) else f"{effect.p:.3f}",
            verdict(effect, found.by),
        ]
        for effect in found.effects
    ]


def ablation_notes(found: Ablation) -> list[str]:
    """What the numbers of an ablation are, and what else changed or failed in a variant."""
    lines = [
        'p: paired t on shared seeds, by Holm over all differences; "not separable" says that seeds may account for it'
    ]
    for effect in found.effects:
        if len(effect.change) > 1:
            also = ", ".join(f"{name} = {value}" for name, value in effect.change.items())
            lines.append(f"{effect.variant} sets {also}: what depends on it follows")
        if effect.failed:
            lines.append(f"{effect.variant} failed on {len(effect.failed)} seeds: {printable(effect.failed[0])}")
    return lines


def verdict(effect: Effect, by: str) -> str:
    """What a difference says, in words."""
    if effect.difference is None or effect.separable is None:
        return "" if not effect.base else "too few seeds"
    if not effect.separable:
        return "not separable"
    better = (effect.difference.mean > 0) == (schema.direction(by) == "maximize")
    return "better" if better else "worse"


def spread(summary: Summary, by: str) -> str:
    """``41.2 ± 1.3``, in percent for shares."""
    if not summary.n:
        return "-"
    return score(by, summary.mean) + ("" if math.isnan(summary.sd) else f" ± {score(by, summary.sd)}")


def interval(low: float, high: float, by: str) -> str:
    """``[39.6, 42.8]``."""
    return "-" if math.isnan(low) else f"[{score(by, low)}, {score(by, high)}]"


def difference_text(difference: Difference | None, by: str) -> str:
    """``+2.1 [0.4, 3.8]``."""
    if difference is None or not difference.n:
        return "-"
    sign = "+" if difference.mean >= 0 else ""
    return f"{sign}{score(by, difference.mean)} {interval(difference.low, difference.high, by)}"


def _mark(one: Confirmed, best: str | None) -> str:
    if one.key == best:
        return "best"
    return "" if one.separable is None else ("" if one.separable else CLOSE)


def _how(found: Confirmation) -> str:
    return f"paired t on {len(found.seeds)} shared seeds, 95%, {CORRECTION}"


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for place, header in enumerate(headers):
        table.add_column(header, justify="left" if place in (0, 4, 6) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    file = io.StringIO()
    Console(file=file, width=_WIDE, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
