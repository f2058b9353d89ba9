"""Packing of results for Ray Tune.

Tune keeps maxima, means and the last ten values of every number that a trial reports, and writes them all out: about
4 KiB of the driver's memory per trial and number. Schedulers and searchers need ``DECIDING``; the other numbers are
sent as one JSON text.
"""

from __future__ import annotations

import json
from numbers import Number
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FIGURES = "figures"
DECIDING = ("kimg", "cost_kimg", "distance", "tag_accuracy", "done")
"""Numbers that schedulers and searchers read."""
NODE = "node"
"""Key of the node that trained a fused trial; Tune overwrites a reported ``hostname`` with the node of the proxy."""


def pack_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Move all numbers except ``DECIDING`` into one JSON text under ``FIGURES``."""
    packed = {name: value for name, value in result.items() if isinstance(value, Number) and name not in DECIDING}
    return {**{name: value for name, value in result.items() if name not in packed}, FIGURES: json.dumps(packed)}


def unpack_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Undo ``pack_result``; a result that was never packed is returned unchanged."""
    unpacked = dict(result)
    packed: dict[str, Any] = json.loads(unpacked.pop(FIGURES, "{}"))
    return unpacked | packed
