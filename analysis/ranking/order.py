"""The order of trials by a score, and the columns that a confirmation adds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from analysis import schema
from analysis.mlflow_reader.sweep import SCORES

if TYPE_CHECKING:
    import pandas as pd

    from analysis.repeats.results import Confirmation

CONFIRMED: Final = "confirmed."
"""Prefix of the columns of a confirmation."""


def order_trials(trials: pd.DataFrame, score: str) -> pd.DataFrame:
    """Sort trials by a score, and number those that are ranked."""
    import numpy as np
    import pandas as pd

    values = finite_scores(trials, score)
    scored = values.notna().to_numpy()
    # A failed trial keeps its last scores, but is never ranked: its networks are lost or ruined since that score,
    # so there is nothing to export, and a configuration that diverges once cannot be recommended.
    failed = (trials["status"] == schema.FAILED).to_numpy()
    group = np.select([~scored, failed], [2, 1], 0)
    sign = -1.0 if schema.direction(score) == "maximize" else 1.0
    samples = trials["samples"].fillna(0.0) if schema.needs_equal_samples(score) else 0.0 * values.fillna(0.0)
    # Equal scores: the earlier trial first.
    order = np.lexsort((trials["number"], sign * values.fillna(0.0), -samples, group))
    ranked = int((group == 0).sum())
    table = trials.iloc[order].reset_index(drop=True)
    table.insert(0, "rank", pd.Series(table.index + 1, dtype="Int64").where(table.index < ranked))
    return table


def put_confirmed_first(ordered: pd.DataFrame, confirmed: Confirmation | None) -> pd.DataFrame:
    """Move confirmed configurations to the front in their order, and those that failed on a fresh seed to the end."""
    import numpy as np
    import pandas as pd

    if confirmed is None:
        return ordered
    by_key = {entry.key: entry for entry in confirmed.configurations}
    positions = {entry.key: position for position, entry in enumerate(confirmed.configurations) if entry.compared}
    failed = {key for key, entry in by_key.items() if entry.failed}
    middle, after = len(positions), len(positions) + 1
    ranked = ordered["rank"].notna() | ordered["key"].isin(positions)
    position = [
        positions.get(key, after if key in failed else middle) if is_ranked else after + 1
        for key, is_ranked in zip(ordered["key"], ranked, strict=True)
    ]
    order = np.argsort(position, kind="stable")
    table = ordered.iloc[order].reset_index(drop=True)
    table["rank"] = pd.Series(table.index + 1, dtype="Int64").where(table.index < int(ranked.sum()))
    return add_confirmed_columns(table, confirmed)


def add_confirmed_columns(table: pd.DataFrame, confirmed: Confirmation | None) -> pd.DataFrame:
    """Add the columns of a confirmation."""
    import pandas as pd

    by_key = {configuration.key: configuration for configuration in confirmed.configurations} if confirmed else {}
    for offset, name in enumerate(("n", "mean", "sd", "low", "high")):
        values = [getattr(by_key[key].summary, name) if key in by_key else None for key in table["key"]]
        table.insert(1 + offset, f"{CONFIRMED}{name}", pd.Series(values, dtype="Int64" if name == "n" else "float64"))
    shares = [by_key[key].p_best if key in by_key else None for key in table["key"]]
    separable = [by_key[key].separable if key in by_key else None for key in table["key"]]
    table.insert(6, f"{CONFIRMED}p_best", pd.Series(shares, dtype="float64"))
    table.insert(7, f"{CONFIRMED}separable", pd.Series(separable, dtype="boolean"))
    return table


def finite_scores(trials: pd.DataFrame, name: str) -> pd.Series[float]:
    """Return a score of every trial; NaN and infinity (diverged) count as missing."""
    column = trials.reindex(columns=[f"{SCORES}{name}"]).iloc[:, 0].astype(float)
    return column.where(column.abs() < math.inf)
