"""Figures of whole learning curves: oscillation of losses, and the training at which a level is first reached.

Each run of a sweep, trial or repeat, has one value of each, computed from what its evaluations logged:

- ``loss_oscillation``: standard deviation of the discriminator's loss around a straight line, relative to the mean
  magnitude of the loss; within windows of ``WINDOW`` evaluations, averaged over the windows. Evaluations log means over
  the updates since the last one, so that faster oscillations are averaged out.
- ``kimg_to_recognisable``: kimg at which ``kid`` has fallen by ``SHARE`` of the way from its median at the first
  evaluations of all runs to the lowest value of any run. KID is unbiased, so early evaluations on fewer samples
  compare. The level is one for all runs of a sweep; the figures of two sweeps do not compare.
- ``kimg_to_half_<group>``: kimg at which the tag accuracy of a group first exceeds half of the tag classifier's own
  accuracy on held-out real images. It says little about groups of two or three classes, where chance is near that.

Levels are crossed on straight lines between evaluations. A run that begins beyond the level has the kimg of its first
evaluation, and one that does not reach it that of its last: both are bounds, which make differences look smaller.
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
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

OSCILLATION: Final = "loss_oscillation"
RECOGNISABLE: Final = "kimg_to_recognisable"
HALF: Final = "kimg_to_half_"
CURVE_FIGURES: Final = (OSCILLATION, RECOGNISABLE, HALF)
"""The figures' names, or how they begin."""
WINDOW: Final = 5
"""Evaluations; runs with fewer have no oscillation."""
SHARE: Final = 0.5
_ROUNDING: Final = 1e-12
LOSSES: Final = tuple(f"{schema.TRAINING}{name}" for name in ("d_loss", "d_loss_real", "d_loss_fake"))
"""A discriminator's loss, or its two parts."""


def oscillation(kimg: ArrayLike, loss: ArrayLike) -> float:
    """Standard deviation of a loss around its trend relative to its mean magnitude, averaged over windows.

    The windows end with the last evaluation; a remainder at the beginning is left out. NaN for fewer than ``WINDOW``
    evaluations.
    """
    x, y = np.asarray(kimg, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    count = len(y) // WINDOW
    if not count:
        return float("nan")
    windows = zip(np.split(x[-count * WINDOW :], count), np.split(y[-count * WINDOW :], count), strict=True)
    return float(np.mean([_relative_deviation(*window) for window in windows]))


def _relative_deviation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    magnitude = float(np.abs(y).mean())
    if not magnitude:
        return 0.0
    residuals = y - np.polynomial.Polynomial.fit(x, y, 1)(x)
    relative = float(np.sqrt((residuals**2).sum() / (WINDOW - 2))) / magnitude
    return relative if relative > _ROUNDING else 0.0


def first_crossing(kimg: ArrayLike, values: ArrayLike, level: float, *, rising: bool) -> float:
    """Return the kimg at which values first pass a level, on straight lines between evaluations.

    The first kimg if they begin beyond it, the last one if they never pass it.
    """
    x, y = np.asarray(kimg, dtype=np.float64), np.asarray(values, dtype=np.float64)
    beyond = np.flatnonzero(y > level if rising else y < level)
    if not len(beyond):
        return float(x[-1])
    at = int(beyond[0])
    if at == 0:
        return float(x[0])
    return float(x[at - 1] + (x[at] - x[at - 1]) * (level - y[at - 1]) / (y[at] - y[at - 1]))


def add_curve_figures(sweep: Sweep) -> Sweep:
    """Return the sweep with these figures as ``metrics.<name>`` of its trials and repeats, where they are defined."""
    groups = _real_accuracies(sweep)
    wanted = ["kid", *LOSSES, *(f"{schema.TAG_ACCURACY}_{name}" for name in groups)]
    curves = run_curves(sweep, wanted)
    if curves is None:
        return sweep
    level = _recognisable_level(curves)
    rows = {str(key): _figures(one, level, groups) for key, one in curves.groupby("key")}
    figures = pd.DataFrame.from_dict(rows, orient="index").add_prefix(METRICS)
    return replace(sweep, trials=sweep.trials.join(figures, on="key"), repeats=sweep.repeats.join(figures, on="key"))


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


def _figures(curve: pd.DataFrame, level: float | None, groups: dict[str, float]) -> dict[str, float]:
    """Compute the figures of one run from its evaluations, the earliest first."""
    found: dict[str, float] = {}
    whole, real, fake = (curve[name].to_numpy(dtype=np.float64) for name in LOSSES)
    loss = np.where(np.isnan(whole), real + fake, whole)
    known = np.isfinite(loss)
    if known.sum() >= WINDOW:
        found[OSCILLATION] = oscillation(curve["kimg"][known], loss[known])
    if level is not None and len(kid := curve.dropna(subset=["kid"])):
        found[RECOGNISABLE] = first_crossing(kid["kimg"], kid["kid"], level, rising=False)
    for name, share in groups.items():
        if len(tags := curve.dropna(subset=[score := f"{schema.TAG_ACCURACY}_{name}"])):
            found[f"{HALF}{name}"] = first_crossing(tags["kimg"], tags[score], share / 2, rising=True)
    return found
