"""Which rows a figure shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike


def thin(table: pd.DataFrame, most: int, keep: ArrayLike = False) -> tuple[pd.DataFrame, int]:
    """Leave rows out evenly along a table until about ``most`` are left.

    Args:
        table: in the order along which to thin.
        most: rows to leave, at least 1.
        keep: marks the rows that stay in any case, ``(n,)``.

    Returns:
        The rows that stay, in their order, and how many were left out.
    """
    if len(table) <= most:
        return table, 0
    stays = np.zeros(len(table), dtype=np.bool_) | np.asarray(keep, dtype=np.bool_)
    candidates = np.flatnonzero(~stays)
    room = min(max(0, most - int(stays.sum())), len(candidates))
    stays[candidates[np.linspace(0, len(candidates) - 1, room).round().astype(int)]] = True
    return table[stays], int((~stays).sum())
