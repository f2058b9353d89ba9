"""A result on its way through Ray Tune.

Tune keeps maxima, means and the last ten values of every number that a trial reports, and writes them all out: some
4 KiB of the driver per trial and number. It needs three of them to decide; the others travel as one text.
"""

from __future__ import annotations

import json
from numbers import Number
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FIGURES = "figures"
DECIDING = ("kimg", "distance", "tag_accuracy", "done")
"""What schedulers and searchers look at."""
NODE = "node"
"""Where a fused trial was trained: Tune writes the node of its proxy over a ``hostname`` that it reports."""


def folded(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with all numbers but the deciding ones in one JSON text under ``FIGURES``."""
    aside = {name: value for name, value in result.items() if isinstance(value, Number) and name not in DECIDING}
    return {**{name: value for name, value in result.items() if name not in aside}, FIGURES: json.dumps(aside)}


def unfolded(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result as it was before; one that was never folded stays as it is."""
    told = dict(result)
    aside: dict[str, Any] = json.loads(told.pop(FIGURES, "{}"))
    return told | aside
