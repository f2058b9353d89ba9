"""Caveats of a ranking: sentences on what cannot be concluded from it, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis import schema
from analysis.mlflow_reader.sweep import METRICS, SCORES
from analysis.ranking.filters import comparable_mask, varied_parameters
from analysis.ranking.tag_classifier_check import tag_classifier_warning
from analysis.repeats.tables import verdicts

if TYPE_CHECKING:
    import pandas as pd

    from analysis.ranking.ranking import Ranking
    from analysis.repeats.results import Confirmation

FEW = 10
"""Minimum number of comparable trials for conclusions about parameters."""
_CLOSE: Final = "not separable from the best:"
_LABELS: Final = {"confirmed": "unconfirmed", "failed": "failed", "unfinished": "unfinished"}
"""Caveat labels by the first word of a sentence's label, which may also name a configuration."""


@dataclass(frozen=True)
class Caveat:
    """A caveat: a short label and the reason."""

    label: str
    reason: str


def caveats(ranking: Ranking) -> list[Caveat]:
    """List the caveats of a ranking, the most severe first."""
    results: list[Caveat] = []
    if ranking.best is None:
        return [Caveat("no winner", "no trial that held to the end has a score")]
    if ranking.rule and ranking.rule.warning:
        results.append(Caveat("tags not followed", ranking.rule.warning))
    if warning := tag_classifier_warning(ranking.sweep.data):
        results.append(Caveat("tag classifier", warning))
    if defects := ranking.visible_defects:
        results.append(Caveat("visible defects", defects))
    if ranking.mixed:
        results.append(Caveat("mixed scores", "the scores were measured in different ways and do not compare"))
    count, dimensions = int(comparable_mask(ranking.trials, [schema.DISTANCE]).sum()), len(varied_parameters(ranking))
    if ranking.confirmation is None:
        results.append(
            Caveat("unconfirmed", "each trial ran on one training seed, and the best of many is partly the luckiest")
        )
        if ranking.shortfall:
            results.append(Caveat("confirmed early", ranking.shortfall))
    else:
        results += [*_left_open(ranking.confirmation), *_unconfirmed_trials(ranking)]
    if ranking.confirmation is None or ranking.confirmation.best != ranking.best:
        results += _rivals(ranking, count)
    if count < FEW:
        of = f" over {dimensions} parameter{'s' * (dimensions != 1)}" if dimensions else ""
        compare = "1 trial compares" if count == 1 else f"{count} trials compare"
        why = f"{compare}{of}; {FEW} is the least from which anything is reasons about parameters"
        results.append(Caveat("too few trials", why))
    return results


def _left_open(confirmation: Confirmation) -> list[Caveat]:
    """List the questions that a confirmation leaves open."""
    reasons = {label: reason for label, reason in verdicts(confirmation).items() if label not in ("separable", "tags")}
    return [
        Caveat(_LABELS.get(label.split(" ")[0], label), reason.replace(_CLOSE, "seeds do not separate the best from"))
        for label, reason in reasons.items()
    ]


def _unconfirmed_trials(ranking: Ranking) -> list[Caveat]:
    """Say that the winner is not confirmed, or name a trial that follows its tags and may be better than the winner."""
    confirmation, passing = ranking.confirmation, ranking.rule.passing if ranking.rule else ()
    if confirmation is None or confirmation.best is None:
        return []
    entry = confirmation.of(ranking.best)
    if entry is None or not entry.compared:
        how = f"`gansweep confirm {ranking.sweep.name} --trial {ranking.best}` trains it again"
        return [
            Caveat(
                "unconfirmed", f"the winner ran on one training seed, and no confirmed trial follows its tags; {how}"
            )
        ]
    rows = ranking.trials[comparable_mask(ranking.trials, [schema.DISTANCE])]
    distances = rows.set_index("key")[f"{SCORES}{schema.DISTANCE}"]
    again = [one.key for one in confirmation.configurations]
    rivals = distances[distances.index.isin(passing) & ~distances.index.isin(again)]
    if entry.key not in distances.index or rivals.empty or rivals.min() >= distances[entry.key]:
        return []
    key = rivals.idxmin()
    how = f"`gansweep confirm {ranking.sweep.name} --trial {key}` confirms it"
    return [
        Caveat(
            "unconfirmed rival", f"{key} had a lower distance than the winner in the search and follows its tags; {how}"
        )
    ]


def _rivals(ranking: Ranking, count: int) -> list[Caveat]:
    """List the trials whose interval overlaps that of the best."""
    rivals = inseparable(ranking)
    if rivals:
        listed = ", ".join(rivals[:3]) + (f" and {len(rivals) - 3} more" if len(rivals) > 3 else "")
        return [Caveat("not separable", f"the 95% interval of the winner's distance overlaps that of {listed}")]
    if rivals is None and count > 1:
        return [Caveat("not separable", "no interval of the winner's distance was logged")]
    return []


def interval(row: pd.Series, score: str) -> tuple[float, float] | None:
    """Return the 95% interval of a trial's score over its sampling noise, if it was logged."""
    ends = [row.get(f"{METRICS}{schema.INTERVAL}{score}/{end}", float("nan")) for end in ("low", "high")]
    low, high = (float(end) for end in ends)
    return (low, high) if low <= high else None


def inseparable(ranking: Ranking) -> list[str] | None:
    """Return the keys of trials that could be the winner and whose distance interval overlaps that of the best.

    ``None`` if the best has no interval.
    """
    rows = ranking.trials[comparable_mask(ranking.trials, [schema.DISTANCE])]
    names = [f"{METRICS}{schema.INTERVAL}{schema.DISTANCE}/{end}" for end in ("low", "high")]
    table = rows.reindex(columns=["key", f"{SCORES}{schema.DISTANCE}", *names])
    best = table[table["key"] == ranking.best]
    if best.empty or best[names].isna().any(axis=None):
        return None
    low, high = (float(best[name].iloc[0]) for name in names)
    overlaps = (table[names[0]] <= high) & (table[names[1]] >= low) & (table["key"] != ranking.best)
    if ranking.rule and ranking.rule.passing:
        overlaps &= table["key"].isin(ranking.rule.passing)
    return [str(key) for key in table.loc[overlaps, "key"]]
