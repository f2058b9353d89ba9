"""A comparison as a table and as a picture."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from analysis import schema
from analysis.cells import duration, number, percent
from analysis.cells import score as score_text
from pipeline.simulate.compare import Spread, best, best_so_far, share
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.simulate.compare import Comparison, Result

POINTS = 400
"""Along the axis of the picture."""
STYLES = ("-", "--", ":", "-.")
"""Lines of samplers; schedulers have colours."""


def format_comparison(found: Comparison, name: str) -> str:
    """What ``simulate`` prints."""
    plan, recording = found.plan, found.recording
    tags = found.tagged
    left_out = f", {recording.left_out} that had not ended left out" if recording.left_out else ""
    titles = ["sampler", "scheduler", "trials", "kimg", "wall", "slots", "distance", *(["tags"] if tags else []),
              "regret", "kimg to target", "of full", *(["of full, to front"] if tags else [])]  # fmt: skip
    table = Table(*titles, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(table.columns):
        column.justify = "left" if place < 2 else "right"
        column.no_wrap = True
    for result in found.results:
        table.add_row(*_row(found, result, tags=tags))
    file = io.StringIO()
    Console(file=file, width=1000).print(table)
    lines = [
        f"sweep {name}: {len(recording.curves)} recorded curves of {recording.settings.max_kimg} kimg{left_out}; "
        f"{plan.workers} workers, {plan.repeats} repeats, medians [quartiles]",
        f"each search may train for {plan.total_kimg(recording):,} kimg, {plan.trials} trials without stopping; "
        f"target: distance {_text(found.target)}, to which random search without stopping comes with it",
        "",
        *(line.rstrip() for line in file.getvalue().splitlines()),
        "",
        *_snapping(found),
    ]
    return "\n".join(lines)


def _row(found: Comparison, result: Result, *, tags: bool) -> list[str]:
    reached = found.kimg_to_target(result)
    workers, recorded = found.plan.workers, found.recording.best
    accuracy = result.each(lambda course: best(course, schema.TAG_ACCURACY)).median
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
        _spread(reached, lambda value: number(round(value))),
        _share(reached, found),
        *([_share(found.kimg_to_area(result), found)] if tags else []),
    ]


def _share(kimg: Spread, found: Comparison) -> str:
    return _spread(share(kimg, found.full_kimg), lambda value: f"{value:.0%}")


def _spread(values: Spread, text: Callable[[float], str]) -> str:
    median, low, high = (
        text(value) if math.isfinite(value) else "not" for value in (values.median, values.low, values.high)
    )
    return f"{median} [{low}-{high}]"


def _text(value: float) -> str:
    return score_text(schema.DISTANCE, value) if math.isfinite(value) else "none"


def _snapping(found: Comparison) -> list[str]:
    """How far proposals were from what was recorded, and what another choice among the nearest would change."""
    lines = []
    for result in found.results:
        if result.among is None or not result.snaps:
            continue
        quartiles = ", ".join(f"{value:.2f}" for value in np.quantile(result.snaps, (0.25, 0.5, 0.75, 1)))
        pairs = ((found, result), (found.among, result.among))
        shares = [share(by.kimg_to_target(one), by.full_kimg).median for by, one in pairs]
        texts = [f"{value:.0%}" if math.isfinite(value) else "not" for value in shares]
        lines.append(
            f"  {result.sampler}, {result.scheduler}: {quartiles}; target at {texts[0]} by the nearest, at {texts[1]} "
            "by one of the three nearest"
        )
    title = "distance (Gower, 0 to 1) from what was proposed to the recorded trial taken for it, quartiles and largest:"
    return [title, *lines] if lines else []


def plot_comparison(found: Comparison, name: str, path: Path) -> None:
    """Draw the best distance so far against all training: medians, and quartiles as bands.

    Raises:
        UserError: the file cannot be written.
    """
    from analysis.plots.style import COLOURS, QUIET, sheet

    most = max(course.used_kimg for result in found.results for course in result.courses)
    kimg = np.linspace(0.0, most, POINTS)
    title = f"{name} replayed on {found.plan.workers} workers: best distance of a complete trial"
    figure, (axes,) = sheet("training of all trials (kimg)", ["distance"], title, size=(8, 4.8))
    samplers, schedulers = ([*dict.fromkeys(names)] for names in zip(*_names(found), strict=True))
    top = 0.0
    for result in found.results:
        lines = np.array([best_so_far(course, kimg) for course in result.courses])
        # A repeat that has completed nothing yet is worse than any that has.
        low, median, high = (np.quantile(lines, part, axis=0, method="higher") for part in (0.25, 0.5, 0.75))
        colour = COLOURS[schedulers.index(result.scheduler) % len(COLOURS)]
        style = STYLES[samplers.index(result.sampler) % len(STYLES)]
        early = median[POINTS // 10 :]
        top = max(top, *early[np.isfinite(early)][:1])
        label = f"{result.sampler}, {result.scheduler}"
        axes.step(kimg, _drawable(median), where="post", color=colour, linestyle=style, label=label)
        axes.fill_between(kimg, _drawable(low), _drawable(high), step="post", color=colour, alpha=0.08, linewidth=0)
    if math.isfinite(found.target):
        axes.axhline(found.target, color=QUIET, linestyle=":", linewidth=1, label="target")
    if top:
        # The first trials are far above all that follows.
        axes.set_ylim(top=top + 0.25 * (top - axes.dataLim.y0))
    axes.legend(frameon=False, fontsize=9)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {path}: {error}; --plot names a .png file in a folder that is there") from error


def _names(found: Comparison) -> list[tuple[str, str]]:
    return [(result.sampler, result.scheduler) for result in found.results]


def _drawable(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)
