"""Tables of question 3: confirmed configurations of each study, and the differences between the studies' winners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.effects.regression import contrast
from analysis.ranking.ranking import rank
from analysis.repeats.confirmation import confirmation

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from analysis.mlflow_reader.sweep import Sweep
    from analysis.repeats.results import Confirmed

SCORES = (schema.DISTANCE, schema.TAG_ACCURACY)
SEARCH = "search-tpe"
"""The study whose winner the others are compared with."""


def confirmed_rows(study: str, sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Yield one row per confirmed configuration: its scores over fresh seeds with 95% t-intervals, and its cost.

    ``seconds`` is the mean time of a run; ``follows_tags`` and ``winner`` are those of the winner's rule.
    """
    found = {score: confirmation(sweep, score) for score in SCORES}
    if (by_distance := found[schema.DISTANCE]) is None:
        return
    winner = rank(sweep).best
    systems = sweep.trials.set_index("key")["system"]
    runs = sweep.repeats[sweep.repeats["kind"] == schema.KIND_CONFIRMATION]
    seconds = runs.groupby("of")["seconds"].mean()
    by_tags = {one.key: one for one in found[schema.TAG_ACCURACY].configurations} if found[schema.TAG_ACCURACY] else {}
    for one in by_distance.configurations:
        yield {
            "study": study, "configuration": one.key, "system": systems[one.key], "recipe": one.recipe,
            "winner": one.key == winner, "runs": len(one.scores), "failed": len(one.failed),
            **_columns(schema.DISTANCE, one), **_columns(schema.TAG_ACCURACY, by_tags.get(one.key)),
            "seconds": seconds[one.key],
        }  # fmt: skip


def _columns(score: str, one: Confirmed | None) -> dict[str, Any]:
    """Return mean, interval and single values of a score."""
    if one is None or not one.scores:
        return {}
    values = " ".join(f"{value:.6g}" for value in one.scores.values())
    return {score: one.summary.mean, f"{score}_low": one.summary.low, f"{score}_high": one.summary.high,
            f"{score}_values": values}  # fmt: skip


def difference_rows(confirmed: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield, for the winner of each study, its scores minus those of the searched winner, with Welch's 95% intervals.

    Args:
        confirmed: the table of ``confirmed_rows``, all values as text.
    """
    winners = confirmed[confirmed["winner"] == "True"].set_index("study")
    if SEARCH not in winners.index:
        return
    for study, row in winners.drop(index=SEARCH).iterrows():
        differences: dict[str, Any] = {}
        for score in SCORES:
            pair = [_values(one, score) for one in (row, winners.loc[SEARCH])]
            if all(len(values) > 1 for values in pair):
                effect = contrast(pair, (1.0, -1.0))
                differences |= {score: effect.value, f"{score}_low": effect.low, f"{score}_high": effect.high}
        yield {"study": study, "configuration": row["configuration"], "system": row["system"],
               "minus": winners.loc[SEARCH, "configuration"], **differences}  # fmt: skip


def _values(row: pd.Series[Any], score: str) -> list[float]:
    return [float(word) for word in str(row.get(f"{score}_values", "")).split()]
