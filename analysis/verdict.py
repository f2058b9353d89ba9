"""What may be concluded from a ranking, and what may not: plain sentences with a reason each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analysis import schema
from analysis.plots.parallel import varied
from analysis.plots.select import comparable
from analysis.repeat_table import verdicts
from analysis.runs import METRICS, SCORES

if TYPE_CHECKING:
    import pandas as pd

    from analysis.confirmation import Confirmation
    from analysis.rank import Ranking

FEW = 10
"""Below so many trials that compare, nothing is said about parameters."""
_CLOSE: Final = "not separable from the best:"
_LABELS: Final = {"confirmed": "unconfirmed", "failed": "failed", "unfinished": "unfinished"}
"""What a sentence of a confirmation is about, where that is not its label: those on one configuration name it too."""


@dataclass(frozen=True)
class Caveat:
    """A reservation: a few words, and why."""

    label: str
    reason: str


def caveats(ranking: Ranking) -> list[Caveat]:
    """What stands between the ranking and a conclusion, the gravest first."""
    found: list[Caveat] = []
    if ranking.best is None:
        return [Caveat("no winner", "no trial that held to the end has a score")]
    if ranking.mixed:
        found.append(Caveat("mixed scores", "the scores were measured in different ways and do not compare"))
    count, dimensions = int(comparable(ranking.trials, [schema.DISTANCE]).sum()), len(varied(ranking))
    if ranking.confirmation is None:
        found.append(
            Caveat("unconfirmed", "each trial ran on one training seed, and the best of many is partly the luckiest")
        )
        if ranking.shortfall:
            found.append(Caveat("confirmed early", ranking.shortfall))
    else:
        found += _left_open(ranking.confirmation)
    if ranking.confirmation is None or ranking.confirmation.best is None:
        found += _rivals(ranking, count)
    if count < FEW:
        of = f" over {dimensions} parameter{'s' * (dimensions != 1)}" if dimensions else ""
        compare = "1 trial compares" if count == 1 else f"{count} trials compare"
        why = f"{compare}{of}; {FEW} is the least from which anything is said about parameters"
        found.append(Caveat("too few trials", why))
    return found


def _left_open(confirmation: Confirmation) -> list[Caveat]:
    """What a confirmation leaves open."""
    said = {label: reason for label, reason in verdicts(confirmation).items() if label != "separable"}
    return [
        Caveat(_LABELS.get(label.split(" ")[0], label), reason.replace(_CLOSE, "seeds cannot tell the best from"))
        for label, reason in said.items()
    ]


def _rivals(ranking: Ranking, count: int) -> list[Caveat]:
    """Trials that the search cannot tell from its best."""
    rivals = inseparable(ranking)
    if rivals:
        shown = ", ".join(rivals[:3]) + (f" and {len(rivals) - 3} more" if len(rivals) > 3 else "")
        return [Caveat("not separable", f"the 95% interval of the winner's distance overlaps that of {shown}")]
    if rivals is None and count > 1:
        return [Caveat("not separable", "no interval of the winner's distance was logged")]
    return []


def interval(row: pd.Series, score: str) -> tuple[float, float] | None:
    """The 95% interval of a trial's score over its sampling noise, where it was logged."""
    ends = [row.get(f"{METRICS}{schema.INTERVAL}{score}/{end}", float("nan")) for end in ("low", "high")]
    low, high = (float(end) for end in ends)
    return (low, high) if low <= high else None


def inseparable(ranking: Ranking) -> list[str] | None:
    """Keys of the trials whose interval of the distance overlaps the best one's; ``None`` where that has none."""
    rows = ranking.trials[comparable(ranking.trials, [schema.DISTANCE])]
    names = [f"{METRICS}{schema.INTERVAL}{schema.DISTANCE}/{end}" for end in ("low", "high")]
    table = rows.reindex(columns=["key", f"{SCORES}{schema.DISTANCE}", *names])
    best = table[table["key"] == ranking.best]
    if best.empty or best[names].isna().any(axis=None):
        return None
    low, high = (float(best[name].iloc[0]) for name in names)
    overlaps = (table[names[0]] <= high) & (table[names[1]] >= low) & (table["key"] != ranking.best)
    return [str(key) for key in table.loc[overlaps, "key"]]
