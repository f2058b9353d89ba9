"""Plot a comparison: a panel for each sampler and scheduler, beside the baseline."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from analysis import schema
from analysis.plots.style import ACCENT, QUIET
from pipeline.simulate.compare import best_so_far
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from pipeline.simulate.compare import Comparison, Result

POINTS = 400
"""Number of plotted points."""


def plot_comparison(comparison: Comparison, name: str, path: Path) -> None:
    """Plot the best distance so far against total training: medians, and quartiles as bands.

    Samplers are rows and schedulers columns, so that equal curves do not hide each other. The baseline is gray in
    every panel.

    Raises:
        UserError: the file cannot be written.
    """
    most = max(course.used_kimg for result in comparison.results for course in result.courses)
    kimg = np.linspace(0.0, 1.05 * most, POINTS)  # beyond the last trial, which may be a search's first complete one
    samplers = list(dict.fromkeys(result.sampler for result in comparison.results))
    schedulers = list(dict.fromkeys(result.scheduler for result in comparison.results))
    size = (1 + 2.8 * len(schedulers), 1 + 2.2 * len(samplers))
    figure = Figure(figsize=(max(size[0], 7.0), size[1]), layout="constrained")
    panels = figure.subplots(len(samplers), len(schedulers), squeeze=False, sharex=True, sharey=True)
    figure.suptitle(f"{name} replayed on {comparison.plan.workers} workers", x=0.01, ha="left", fontsize=10)
    unit = schema.budget_unit({"budget": comparison.recording.settings.budget})
    figure.supxlabel(f"training of all trials ({unit})", fontsize=10)
    figure.supylabel("best distance of a complete trial", fontsize=10)
    results = {(result.sampler, result.scheduler): result for result in comparison.results}
    top = 0.0
    for row, sampler in enumerate(samplers):
        for column, scheduler in enumerate(schedulers):
            result = results.get((sampler, scheduler))
            if result is None:
                panels[row, column].set_visible(False)
                continue
            top = max(top, _draw(panels[row, column], comparison, result, kimg))
    handles, labels = panels.flat[-1 if panels.flat[-1].get_visible() else 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=9)
    if top:  # the first trials are far above all later ones
        axes = panels[0, 0]
        axes.set_ylim(top=top + 0.25 * (top - axes.dataLim.y0))
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {path}: {error}; --plot takes a .png file in an existing directory") from error


def _draw(axes: Axes, comparison: Comparison, result: Result, kimg: NDArray[np.float64]) -> float:
    """Draw a result and the baseline, and return the median of the result when a tenth of the training is used."""
    low, median, high = _quartiles(result, kimg)
    axes.set_title(f"{result.sampler}, {result.scheduler}", loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2, linewidth=0.6)
    if math.isfinite(comparison.target):
        axes.axhline(comparison.target, color=QUIET, linestyle=":", linewidth=1, label="target")
    if result is not comparison.baseline:
        baseline = _quartiles(comparison.baseline, kimg)[1]
        label = f"{comparison.baseline.sampler}, {comparison.baseline.scheduler}"
        axes.step(kimg, baseline, where="post", color=QUIET, linewidth=1, label=label)
    axes.fill_between(kimg, low, high, step="post", color=ACCENT, alpha=0.15, linewidth=0)
    axes.step(kimg, median, where="post", color=ACCENT, linewidth=1.8, label="median, quartiles")
    early = median[len(kimg) // 10 :]
    return float(next(iter(early[np.isfinite(early)]), 0.0))


def _quartiles(result: Result, kimg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return low, median and high, shape ``(3, len(kimg))``; NaN while too few searches have a complete trial."""
    lines = np.array([best_so_far(course, kimg) for course in result.courses])
    # A search without a complete trial counts as worse than any with one.
    values = np.quantile(lines, (0.25, 0.5, 0.75), axis=0, method="higher")
    return np.where(np.isfinite(values), values, np.nan)
