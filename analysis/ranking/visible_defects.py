"""Defects of the winner's images that its distance and tag accuracy do not show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from analysis import schema
from analysis.mlflow_reader.sweep import SCORES

if TYPE_CHECKING:
    from analysis.ranking.ranking import Ranking

SATURATED: Final = 0.1
"""By how much the share of saturated values may exceed that of real images."""
GRID: Final = 2.0
"""Energy of a periodic grid, relative to real images, from which it is named."""


def visible_defects(ranking: Ranking) -> str:
    """Say which defects the winner's images have and real ones do not; empty if none is known.

    A tag classifier may recognise colours in images that nobody would choose.
    """
    if ranking.best is None:
        return ""
    (holder, *_) = ranking.sweep.holding([ranking.best])
    real = holder.data.get("floor", {}).get("scores", {})
    row = ranking.winner
    saturated, grid = (float(row.get(f"{SCORES}{name}", math.nan)) for name in (schema.SATURATED, schema.GRID_ENERGY))
    known = real.get(schema.SATURATED)
    found = []
    if known is not None and saturated > known + SATURATED:
        found.append(f"{saturated:.1%} of its values are at an end of the range, {known:.1%} of real images'")
    if grid > GRID:
        found.append(f"{grid:.3g} times the energy of real images at the periods of a grid")
    look = f"look at its images beside others' (`gansweep compare {holder.name}`) before you choose it"
    return f"{'; '.join(found)}: {look}" if found else ""
