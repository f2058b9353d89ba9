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
_ENDS = ("", "_low", "_high")
SEARCH = "search-tpe"
"""The study whose winner the others are compared with."""
SIDE = ("configuration", "system", "runs", "failed", "seconds")
DIFFERENCES = (
    "study", *SIDE, *(f"search_{name}" for name in SIDE), *(f"{score}{end}" for score in SCORES for end in _ENDS)
)  # fmt: skip
"""Columns of the table of differences."""


def confirmed_rows(study: str, sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Yield one row per confirmed configuration: its scores over fresh seeds with 95% t-intervals, and its cost.

    ``seconds`` is the mean time of its complete runs; ``follows_tags`` and ``winner`` are those of the winner's rule.
    """
    ranking = rank(sweep)
    if (by_distance := ranking.confirmation) is None:
        return
    by_tags = confirmation(sweep, schema.TAG_ACCURACY)
    accuracies = {one.key: one for one in by_tags.configurations} if by_tags else {}
    systems = sweep.trials.set_index("key")["system"]
    runs = sweep.repeats[sweep.repeats["kind"] == schema.KIND_CONFIRMATION]
    complete = runs[(runs["status"] == schema.COMPLETE) & (runs["budget"] == by_distance.budget)]
    seconds = complete.groupby("of")["seconds"].mean()
    for one in by_distance.configurations:
        yield {
            "study": study, "configuration": one.key, "system": systems[one.key], "recipe": one.recipe,
            "follows_tags": one.follows_tags, "winner": one.key == ranking.best, "runs": len(one.scores),
            "failed": len(one.failed), **_columns(schema.DISTANCE, one),
            **_columns(schema.TAG_ACCURACY, accuracies.get(one.key)), "seconds": seconds.get(one.key),
        }  # fmt: skip


def _columns(score: str, one: Confirmed | None) -> dict[str, Any]:
    """Return mean, interval and single values of a score."""
    if one is None or not one.scores:
        return {}
    values = " ".join(f"{value:.6g}" for value in one.scores.values())
    return {**_with_ends(score, one.summary.mean, one.summary.low, one.summary.high), f"{score}_values": values}


def _with_ends(score: str, *estimate: float) -> dict[str, float]:
    """Name a value and the ends of its interval."""
    return dict(zip((f"{score}{end}" for end in _ENDS), estimate, strict=True))


def difference_rows(confirmed: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield, for the winner of each other study, its scores minus those of the searched winner, with Welch's intervals.

    The searched winner is the best of several by the same runs, which favours it. The rivals are one recipe each.

    Args:
        confirmed: the table of ``confirmed_rows``, all values as text.
    """
    rows = confirmed.reindex(columns=[*dict.fromkeys([*confirmed, "study", "winner", *SIDE])], fill_value="")
    winners = rows[rows["winner"] == "True"].set_index("study")
    if SEARCH not in winners.index:
        return
    searched = winners.loc[SEARCH]
    for study, row in winners.drop(index=SEARCH).iterrows():
        differences: dict[str, Any] = {}
        for score in SCORES:
            pair = [_values(one, score) for one in (row, searched)]
            if all(len(values) > 1 for values in pair):
                effect = contrast(pair, (1.0, -1.0))
                differences |= _with_ends(score, effect.value, effect.low, effect.high)
        sides = {name: row[name] for name in SIDE} | {f"search_{name}": searched[name] for name in SIDE}
        yield {"study": study, **sides, **differences}


def _values(row: pd.Series[Any], score: str) -> list[float]:
    return [float(word) for word in str(row.get(f"{score}_values", "")).split()]
