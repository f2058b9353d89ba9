"""Which rows a figure shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.runs import SCORES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import ArrayLike


def comparable(trials: pd.DataFrame, scores: Sequence[str]) -> pd.Series[bool]:
    """Mark the trials of a ranking whose scores compare: ranked, with all of them, on the most pictures."""
    values = trials.reindex(columns=[f"{SCORES}{name}" for name in scores]).astype(float)
    known = trials["rank"].notna() & (values.abs() < float("inf")).all(axis=1)
    compare: pd.Series[bool] = known & ~(trials["samples"] < trials.loc[known, "samples"].max())
    return compare


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
    others = np.flatnonzero(~stays)
    room = min(max(0, most - int(stays.sum())), len(others))
    stays[others[np.linspace(0, len(others) - 1, room).round().astype(int)]] = True
    return table[stays], int((~stays).sum())
