"""Format a comparison as a table."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis import schema
from analysis.formatting import duration, number, percent
from analysis.formatting import score as score_text
from pipeline.simulate.compare import best, kimg_to, share, warnings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.simulate.compare import Comparison, Result, Spread


def format_comparison(comparison: Comparison, name: str) -> str:
    """Return what ``simulate`` prints."""
    plan, recording = comparison.plan, comparison.recording
    tags = comparison.tagged
    left_out = f", {recording.left_out} that had not ended left out" if recording.left_out else ""
    unit = schema.budget_unit({"budget": recording.settings.budget})
    titles = ["sampler", "scheduler", "trials", "kimg", "wall", "slots", "distance", *(["tags"] if tags else []),
              "regret", "reached", "kimg to target", "of full", *(["of full, to front"] if tags else [])]  # fmt: skip
    table = Table(*titles, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(table.columns):
        column.justify = "left" if place < 2 else "right"
        column.no_wrap = True
    for result in comparison.results:
        table.add_row(*map(Text, _row(comparison, result, tags=tags)))  # rich would take [from 9] for markup
    file = io.StringIO()
    Console(file=file, width=1000).print(table)
    lines = [
        f"sweep {name}: {len(recording.curves)} recorded curves of {recording.settings.max_kimg} {unit}{left_out}; "
        f"{plan.workers} workers, {plan.repeats} repeats, medians [quartiles]",
        f"training budget of each search: {plan.total_kimg(recording):,} {unit}, {plan.trials} trials without "
        f"stopping; target: distance {_text(comparison.target)}, reached by random search without stopping",
        "",
        *(line.rstrip() for line in file.getvalue().splitlines()),
        "reached: searches that reached the target; -: fewer than half of them did",
        "",
        *_snapping(comparison),
        *(f"warning: {text}" for text in warnings(comparison)),
    ]
    return "\n".join(lines)


def _row(comparison: Comparison, result: Result, *, tags: bool) -> list[str]:
    reached = comparison.kimg_to_target(result)
    workers, recorded = comparison.plan.workers, comparison.recording.best
    accuracy = result.each(lambda course: best(course, schema.TAG_ACCURACY)).median
    reaching = sum(math.isfinite(kimg_to(course, comparison.target)) for course in result.courses)
    return [
        result.sampler,
        result.scheduler,
        number(result.each(lambda course: len(course.ended)).median),
        number(result.each(lambda course: course.used_kimg).median),
        duration(result.each(lambda course: course.seconds).median),
        percent(result.each(lambda course: course.slot_use(workers)).median),
        _text(result.each(best).median),
        *([score_text(schema.TAG_ACCURACY, accuracy) if math.isfinite(accuracy) else "none"] if tags else []),
        _text(result.each(lambda course: best(course) - recorded).median),
        f"{reaching} of {len(result.courses)}",
        _spread(reached, lambda value: number(round(value))),
        _share(reached, comparison),
        *([_share(comparison.kimg_to_area(result), comparison)] if tags else []),
    ]


def _share(kimg: Spread, comparison: Comparison) -> str:
    return _spread(share(kimg, comparison.full_kimg), lambda value: f"{value:.0%}")


def _spread(values: Spread, text: Callable[[float], str]) -> str:
    """Format a median and quartiles; an infinite quartile is left open, since those searches ended before."""
    if not math.isfinite(values.median):
        return "-"
    if not math.isfinite(values.high):
        return f"{text(values.median)} [from {text(values.low)}]"
    return f"{text(values.median)} [{text(values.low)} to {text(values.high)}]"


def _text(value: float) -> str:
    return score_text(schema.DISTANCE, value) if math.isfinite(value) else "none"


def _snapping(comparison: Comparison) -> list[str]:
    """Return lines on the distance of suggestions from recorded trials, and the effect of another choice."""
    lines = []
    for result in comparison.results:
        if result.among is None or not result.snaps:
            continue
        quartiles = ", ".join(f"{value:.2f}" for value in np.quantile(result.snaps, (0.25, 0.5, 0.75, 1)))
        pairs = ((comparison, result), (comparison.among, result.among))
        shares = [share(by.kimg_to_target(one), by.full_kimg).median for by, one in pairs]
        nearest, drawn = (f"{value:.0%}" if math.isfinite(value) else "never" for value in shares)
        lines.append(
            f"  {result.sampler}, {result.scheduler}: {quartiles}; target at {nearest} with the nearest, at {drawn} "
            "with one of the three nearest"
        )
    title = "Gower distance (0 to 1) from the suggestion to the recorded trial that replaces it, quartiles and maximum:"
    return [title, *lines] if lines else []
