"""What the report takes from the rest of the analysis: each part is computed once, on a bounded number of trials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from analysis import schema
from analysis.errors import AnalysisError
from analysis.plots.select import thin
from analysis.runs import curves

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from analysis.claims import ClaimVerdict
    from analysis.confirmation import Ablation, Confirmation
    from analysis.effect import Effect
    from analysis.failing import Failing
    from analysis.importance import Importances
    from analysis.rank import Ranking

CURVES = 200
"""Trials whose histories are drawn: each costs a request per score."""
JUDGED = 2000
"""Trials from which importances, effects and claims are computed: their histories are read too."""
ABLATIONS = 3


@dataclass(frozen=True)
class Evidence:
    """Why a trial won, as far as it is known."""

    confirmed: dict[str, Confirmation] = field(default_factory=dict)
    """By objective; none before a confirmation."""
    importances: list[Importances] = field(default_factory=list)
    """One for each objective."""
    effects: list[Effect] = field(default_factory=list)
    """On the objectives."""
    along: dict[str, list[list[Effect]]] = field(default_factory=dict)
    """Effects along training, by objective."""
    ablations: list[dict[str, Ablation]] = field(default_factory=list)
    """By objective, for each trial that was ablated, the winner first."""
    claims: list[ClaimVerdict] = field(default_factory=list)
    failing: list[Failing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is missing, and why."""


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
    history, left_out = read_history(ranking, _measured(ranking))
    return ReportData(ranking, history, left_out, evidence(ranking))


def read_history(ranking: Ranking, names: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """``key, kimg, name, value`` of scores of about ``CURVES`` trials, and how many scored trials were left out."""
    trials = ranking.trials
    scored = trials[trials["kimg"].notna()]
    chosen, left_out = thin(scored, CURVES, scored["recipe"] | (scored["rank"] <= 10).fillna(False))
    known = [name for name in names if name in ranking.sweep.scores]
    return curves(replace(ranking.sweep, trials=chosen), known), left_out


def evidence(ranking: Ranking, most: int = JUDGED) -> Evidence:
    """What the sweep says about its parameters and claims, from ``most`` trials evenly along the search."""
    from analysis.claims import judge_claims
    from analysis.curves import learning_curves
    from analysis.effects import effects
    from analysis.failing import failing_by_value
    from analysis.importance import importances
    from analysis.mutated import left_out as mutated_left_out
    from analysis.over_time import effects_over_time
    from analysis.points import require_one_fingerprint

    names, notes = _measured(ranking), list[str]()
    confirmed = confirmations(ranking)
    try:
        ablations = _ablations(ranking, names)
        require_one_fingerprint(ranking.sweep)
    except AnalysisError as error:
        return Evidence(confirmed, notes=[f"Importances, effects, ablations and claims are left out: {error}."])
    trials, left_out = thin(ranking.sweep.trials, most, ranking.sweep.trials["recipe"])
    sweep = replace(ranking.sweep, trials=trials)
    if left_out:
        notes.append(
            f"All of this rests on {len(trials):,} trials, evenly along the search: {left_out:,} are left out."
        )
    if mutated := mutated_left_out(sweep):
        notes.append(f"{mutated}.")
    failing = failing_by_value(sweep) if (sweep.trials["status"] == schema.FAILED).any() else []
    if not names:
        return Evidence(confirmed, failing=failing, notes=notes)
    histories = learning_curves(sweep, names)
    return Evidence(
        confirmed,
        [importances(sweep, name, curves=histories) for name in names],
        [effect for name in names for effect in effects(sweep, name, histories)],
        {name: effects_over_time(sweep, histories, name) for name in names},
        ablations,
        judge_claims(sweep),
        failing,
        notes,
    )


def confirmations(ranking: Ranking) -> dict[str, Confirmation]:
    """What the confirmation says by each objective, the distance first."""
    from analysis.confirmation import confirmation

    if ranking.confirmation is None:
        return {}
    found = {name: confirmation(ranking.sweep, name, allow_mixed=True) for name in _measured(ranking)}
    known = {name: one for name, one in found.items() if one is not None}
    return {**known, ranking.by: ranking.confirmation}


def _ablations(ranking: Ranking, names: Sequence[str]) -> list[dict[str, Ablation]]:
    from analysis.confirmation import ablation

    repeats = ranking.sweep.repeats
    ablated = list(dict.fromkeys(repeats.loc[repeats["kind"] == schema.KIND_ABLATION, "of"]))
    ablated.sort(key=lambda key: key != ranking.best)
    found = []
    for key in ablated[:ABLATIONS]:
        by_name = {name: ablation(ranking.sweep, str(key), name, allow_mixed=ranking.mixed) for name in names}
        known = {name: one for name, one in by_name.items() if one is not None}
        found += [known] if known else []
    return found


def _measured(ranking: Ranking) -> list[str]:
    return [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
