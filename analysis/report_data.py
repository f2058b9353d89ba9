"""What the report takes from the rest of the analysis, in one place and in the form in which it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.plots.select import thin
from analysis.runs import curves

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from analysis.rank import Ranking

CURVES = 200
"""Trials whose histories are read: each costs a request per score."""


@dataclass(frozen=True)
class Table:
    """Rows of text under headers; ``numbers`` are the columns that are aligned as such."""

    headers: list[str]
    rows: list[list[str]]
    numbers: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """Why a trial won, as far as it is known."""

    importance: pd.DataFrame | None = None
    """``parameter, importance, low, high``; ``None`` where ``importance_note`` says why."""
    importance_note: str = ""
    effects: Table | None = None
    ablation: Table | None = None
    claims: Table | None = None
    seeds: Table | None = None
    """The best configurations on fresh seeds."""
    confirmed: bool = False
    """Whether the winner ran again on fresh seeds."""


@dataclass(frozen=True)
class ReportData:
    """A ranking, the histories of some of its trials, and the evidence."""

    ranking: Ranking
    history: pd.DataFrame
    """``key, kimg, name, value`` of the objectives."""
    curves_left_out: int
    """Trials with a score whose histories were not read."""
    evidence: Evidence = field(default_factory=Evidence)


def collect(ranking: Ranking) -> ReportData:
    """Read what the report needs besides the ranking."""
    names = [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
    history, left_out = read_history(ranking, names)
    return ReportData(ranking, history, left_out, evidence(ranking))


def read_history(ranking: Ranking, names: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """``key, kimg, name, value`` of scores of about ``CURVES`` trials, and how many scored trials were left out."""
    trials = ranking.trials
    scored = trials[trials["kimg"].notna()]
    chosen, left_out = thin(scored, CURVES, scored["recipe"] | (scored["rank"] <= 10).fillna(False))
    known = [name for name in names if name in ranking.sweep.scores]
    return curves(replace(ranking.sweep, trials=chosen), known), left_out


def evidence(ranking: Ranking) -> Evidence:
    """What the sweep says about its parameters and claims."""
    return Evidence(claims=_claims(ranking.sweep.space))


def _claims(space: dict[str, Any]) -> Table | None:
    rows = [
        [str(one["name"]), str(one.get("default", "")), str(one["claim"])]
        for one in space.get("dimensions", ())
        if one.get("claim")
    ]
    return Table(["parameter", "in the recipe", "claim"], rows) if rows else None
