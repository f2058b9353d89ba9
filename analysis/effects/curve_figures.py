"""Figures of whole learning curves: oscillation of losses, and the training at which a level is first reached.

Each run of a sweep, trial or repeat, has one value of each at every evaluation, computed from what it logged so far, so
that runs of which a scheduler stopped some compare at a point that they reached:

- ``loss_oscillation``: standard deviation of the discriminator's loss around a straight line, relative to the mean
  magnitude of the loss; within windows of ``WINDOW`` evaluations, averaged over the windows. Evaluations log means over
  the updates since the last one, so that faster oscillations are averaged out.
- ``kimg_to_recognisable``: kimg at which ``kid`` has fallen by ``SHARE`` of the way from its median at the first
  evaluations of all runs to the lowest value of any run. KID is unbiased, so early evaluations on fewer samples
  compare. The level is one for all runs of a sweep; the figures of two sweeps do not compare.
- ``kimg_to_half_<group>``: kimg at which the tag accuracy of a group first exceeds half of the tag classifier's own
  accuracy on held-out real images. It says little about groups of two or three classes, where chance is near that.

Levels are crossed on straight lines between evaluations, in the unit of the sweep's budgets. A run that begins beyond
the level has the kimg of its first evaluation, and one that has not reached it that of its last. Both are bounds,
recorded as ``bounds.<figure>``: they make differences look smaller, and two equal bounds say nothing about one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from analysis import schema
from analysis.mlflow_reader.learning_curves import learning_curves
from analysis.mlflow_reader.sweep import METRICS, SCORES, Sweep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

OSCILLATION: Final = "loss_oscillation"
RECOGNISABLE: Final = "kimg_to_recognisable"
HALF: Final = "kimg_to_half_"
CURVE_FIGURES: Final = (OSCILLATION, RECOGNISABLE, HALF)
"""The figures' names, or how they begin."""
WINDOW: Final = 5
"""Evaluations; runs with fewer have no oscillation."""
SHARE: Final = 0.5
BOUNDS: Final = "bounds."
"""Before a figure: whether it is exact, 0, or a bound."""
NOT_REACHED: Final = 1.0
"""The true value is at least this one."""
FROM_THE_START: Final = -1.0
"""The true value is at most this one."""
_ROUNDING: Final = 1e-12
LOSSES: Final = tuple(f"{schema.TRAINING}{name}" for name in ("d_loss", "d_loss_real", "d_loss_fake"))
"""A discriminator's loss, or its two parts."""


def oscillations(kimg: ArrayLike, loss: ArrayLike) -> NDArray[np.float64]:
    """Standard deviation of a loss around its trend relative to its mean magnitude, up to each evaluation ``(n,)``.

    It is the average over windows that end with the evaluation; a remainder at the beginning is left out. NaN for fewer
    than ``WINDOW`` evaluations.
    """
    x, y = np.asarray(kimg, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    averages = np.full(len(y), np.nan)
    if len(y) >= WINDOW:
        deviations = _relative_deviations(*(np.lib.stride_tricks.sliding_window_view(each, WINDOW) for each in (x, y)))
        averages[WINDOW - 1 :] = [deviations[end::-WINDOW].mean() for end in range(len(deviations))]
    return averages


def _relative_deviations(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the deviation of each window ``(n, WINDOW)`` around its least-squares line."""
    magnitude = np.abs(y).mean(axis=1)
    across, up = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    residuals = up - across * ((across * up).sum(axis=1) / (across**2).sum(axis=1))[:, None]
    relative = np.sqrt((residuals**2).sum(axis=1) / (WINDOW - 2)) / np.where(magnitude > 0, magnitude, 1.0)
    return np.where(relative > _ROUNDING, relative, 0.0)


def first_crossings(
    kimg: ArrayLike, values: ArrayLike, level: float, *, rising: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the kimg at which values first pass a level, as known at each evaluation, and whether it is a bound.

    Values between evaluations lie on straight lines.

    Returns:
        ``(n,)`` each: the crossing with 0; before it that evaluation's kimg with ``NOT_REACHED``; the first kimg with
        ``FROM_THE_START`` if the values begin beyond the level.
    """
    x, y = np.asarray(kimg, dtype=np.float64), np.asarray(values, dtype=np.float64)
    crossings, bounds = x.copy(), np.full(len(x), NOT_REACHED)
    beyond = np.flatnonzero(y > level if rising else y < level)
    if len(beyond) and (at := int(beyond[0])) > 0:
        crossings[at:] = x[at - 1] + (x[at] - x[at - 1]) * (level - y[at - 1]) / (y[at] - y[at - 1])
        bounds[at:] = 0.0
    elif len(beyond):
        crossings[:], bounds[:] = x[0], FROM_THE_START
    return crossings, bounds


def add_curve_figures(sweep: Sweep, curves: pd.DataFrame | None = None) -> Sweep:
    """Return the sweep with these figures as ``metrics.<name>`` of its trials and repeats, where they are defined.

    They are those of whole runs; ``bounds.<name>`` are added for those that may be bounds. ``curves`` are the sweep's
    from ``figure_curves``, where they have been computed already.
    """
    curves = figure_curves(sweep) if curves is None else curves
    if curves is None:
        return sweep
    last = curves.groupby("key").last().drop(columns=["kimg", schema.SAMPLES])
    last = last.rename(columns=lambda name: name if name.startswith(BOUNDS) else f"{METRICS}{name}")
    return replace(sweep, trials=sweep.trials.join(last, on="key"), repeats=sweep.repeats.join(last, on="key"))


def figure_curves(sweep: Sweep) -> pd.DataFrame | None:
    """Give the figures of every trial and repeat as known at each of its evaluations.

    Returns:
        Columns ``key, kimg, samples``, the figures and their ``bounds.<name>``; ``samples`` is missing, because the
        evaluations of a figure may have several. A figure is missing where nothing that it is made of was logged.
        ``None`` if no run logged anything that a figure is made of.
    """
    groups = _real_accuracies(sweep)
    wanted = ["kid", *LOSSES, *(f"{schema.TAG_ACCURACY}_{name}" for name in groups)]
    curves = run_curves(sweep, wanted)
    if curves is None or curves.empty:
        return None
    level = _recognisable_level(curves)
    table = _figures(curves, level, groups).dropna(axis="columns", how="all")
    return table.assign(**{schema.SAMPLES: np.nan})


def run_curves(sweep: Sweep, names: Sequence[str]) -> pd.DataFrame | None:
    """Give every evaluation of every trial and repeat, as ``learning_curves`` does; ``None`` if no name was logged."""
    parts = []
    for runs in (sweep.trials, sweep.repeats):
        logged = [name for name in names if {f"{SCORES}{name}", f"{METRICS}{name}"} & set(runs.columns)]
        if logged and len(runs):
            parts.append(learning_curves(replace(sweep, trials=runs), logged))
    columns = ["key", "kimg", schema.SAMPLES, *names]
    return pd.concat(parts, ignore_index=True).reindex(columns=columns) if parts else None


def _real_accuracies(sweep: Sweep) -> dict[str, float]:
    """The tag classifier's accuracy on held-out real images, by group that has a tag accuracy."""
    known = sweep.data.get("judge") or {}
    accuracies = known.get("accuracy") or {}
    return {
        name: float(share)
        for name, share in accuracies.items()
        if share and f"{SCORES}{schema.TAG_ACCURACY}_{name}" in {*sweep.trials.columns, *sweep.repeats.columns}
    }


def _recognisable_level(curves: pd.DataFrame) -> float | None:
    known = curves.dropna(subset=["kid"])
    if known.empty:
        return None
    first, best = float(known.groupby("key")["kid"].first().median()), float(known["kid"].min())
    return best + (1 - SHARE) * (first - best) if best < first else None


def _figures(curves: pd.DataFrame, level: float | None, groups: dict[str, float]) -> pd.DataFrame:
    """Compute the figures of every run up to each of its evaluations, the earliest first."""
    curves = curves.sort_values("key", kind="stable", ignore_index=True)
    firsts = np.flatnonzero(curves["key"].ne(curves["key"].shift()).to_numpy())
    runs = np.split(np.arange(len(curves)), firsts[1:])
    kimg = curves["kimg"].to_numpy(dtype=np.float64)
    whole, real, fake = (curves[name].to_numpy(dtype=np.float64) for name in LOSSES)
    loss = np.where(np.isnan(whole), real + fake, whole)
    figures = {OSCILLATION: np.full(len(curves), np.nan)}
    for rows in _known_rows(runs, np.isfinite(loss)):
        figures[OSCILLATION][rows] = oscillations(kimg[rows], loss[rows])
    levels = {f"{HALF}{name}": (f"{schema.TAG_ACCURACY}_{name}", share / 2, True) for name, share in groups.items()}
    if level is not None:
        levels[RECOGNISABLE] = ("kid", level, False)
    for figure, (score, at, rising) in levels.items():
        scores = curves[score].to_numpy(dtype=np.float64)
        crossings, bounds = np.full((2, len(curves)), np.nan)
        for rows in _known_rows(runs, ~np.isnan(scores)):
            crossings[rows], bounds[rows] = first_crossings(kimg[rows], scores[rows], at, rising=rising)
        figures |= {figure: crossings, f"{BOUNDS}{figure}": bounds}
    return curves[["key", "kimg"]].assign(**figures)


def _known_rows(runs: Sequence[NDArray[np.intp]], known: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Yield the known rows of each run that has any."""
    for run in runs:
        rows = run[known[run]]
        if len(rows):
            yield rows
