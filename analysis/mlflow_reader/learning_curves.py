"""Learning curves as one table: which trial had which scores after how many images, on how many samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import schema
from analysis.errors import AnalysisUsageError
from analysis.mlflow_reader.sweep import METRICS, SCORES, Sweep, curves, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def learning_curves(sweep: Sweep, scores: Sequence[str]) -> pd.DataFrame:
    """Give every evaluation of every trial: columns ``key, kimg, samples`` and one per score, sorted by the first two.

    A score that an evaluation does not have is missing, as is one that was not finite. A sweep that was put together
    by hand has no histories; its table's last values stand for them.

    Raises:
        AnalysisUsageError: no trial of the sweep logged such a score.
    """
    import numpy as np

    logged = {column.partition(".")[2] for column in sweep.trials.columns if column.startswith((SCORES, METRICS))}
    for score in scores:
        if score not in logged:
            known = ", ".join(sweep.scores) or "none"
            raise AnalysisUsageError(
                f"sweep {sweep.name!r} has no score {score!r}{nearest(score, logged)}; it has: {known}"
            )
    if sweep.tracking:
        long = curves(sweep, [*scores, schema.SAMPLES])
        wide = long.pivot_table(index=["key", "kimg"], columns="name", values="value", aggfunc="last").reset_index()
    else:
        wide = _last_values(sweep)
    table = wide.reindex(columns=["key", "kimg", schema.SAMPLES, *scores])
    table[list(scores)] = table[list(scores)].astype(float).replace([np.inf, -np.inf], np.nan)
    table = table.dropna(subset=list(scores), how="all").dropna(subset=["kimg"])
    return table.rename_axis(columns=None).sort_values(["key", "kimg"], ignore_index=True)


def _last_values(sweep: Sweep) -> pd.DataFrame:
    plain = {
        column: column.partition(".")[2] for column in map(str, sweep.trials) if column.startswith((SCORES, METRICS))
    }
    return sweep.trials[["key", "kimg", schema.SAMPLES, *plain]].rename(columns=plain)
