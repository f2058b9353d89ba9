"""Defects of a trial's images that its distance and tag accuracy do not show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.mlflow_reader.sweep import SCORES

if TYPE_CHECKING:
    import pandas as pd

    from analysis.mlflow_reader.sweep import Sweep

SATURATED: Final = 0.1
"""By how much the share of saturated values may exceed that of real images."""
GRID: Final = 2.0
"""Energy of a periodic grid, relative to real images, from which it is named."""


def describe_defects(trial: pd.Series[Any], sweep: Sweep) -> str:
    """Say which defects the images of a trial have and real ones do not; empty if none is known.

    A tag classifier may recognise colours in images that nobody would choose.

    Args:
        trial: its row in ``Sweep.trials``.
        sweep: the sweep that holds it, with the scores of real images.
    """
    real = sweep.data.get("floor", {}).get("scores", {}).get(schema.SATURATED)
    saturated, grid = (float(trial.get(f"{SCORES}{name}", math.nan)) for name in (schema.SATURATED, schema.GRID_ENERGY))
    found = []
    if real is not None and saturated > real + SATURATED:
        found.append(f"{saturated:.1%} of its values are at an end of the range, {real:.1%} of real images'")
    if grid > GRID:
        found.append(f"{grid:.3g} times the energy of real images at the periods of a grid")
    look = f"look at its images beside others' (`gansweep compare {sweep.name}`) before you choose it"
    return f"{'; '.join(found)}: {look}" if found else ""
