"""Collect the data of the report: each part is computed once, on a bounded number of trials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.sweep import curves
from analysis.plots.select import thin
from analysis.script import part_of, silent_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from analysis.claim_checks.verdicts import ClaimVerdict
    from analysis.effects.effect import Effect
    from analysis.effects.failure_rates import Failing
    from analysis.effects.importance import Importances
    from analysis.ranking.ranking import Ranking
    from analysis.repeats.results import Ablation, Confirmation
    from analysis.script import ShowStage

CURVES = 200
"""Trials whose histories are drawn: each costs a request per score."""
MAX_EVIDENCE_TRIALS = 2000
"""Trials from which importances, effects and claims are computed: their histories are read too."""
ABLATIONS = 3


@dataclass(frozen=True)
class ReportEvidence:
    """Evidence on why a trial won."""

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
    """What is missing and why."""


@dataclass(frozen=True)
class ReportData:
    """A ranking, the histories of some of its trials, and the evidence."""

    ranking: Ranking
    history: pd.DataFrame
    """``key, kimg, name, value`` of the objectives."""
    curves_left_out: int
    """Trials with a score whose histories were not read."""
    evidence: ReportEvidence = field(default_factory=ReportEvidence)


def collect(ranking: Ranking, stage: ShowStage = silent_stage) -> ReportData:
    """Collect everything that the report needs besides the ranking; ``stage`` shows progress."""
    with stage("histories of scores"):
        history, left_out = read_history(ranking, _measured(ranking))
    return ReportData(ranking, history, left_out, collect_evidence(ranking, stage=stage))


def read_history(ranking: Ranking, names: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """``key, kimg, name, value`` of scores of about ``CURVES`` trials, and how many scored trials were left out."""
    trials = ranking.trials
    scored = trials[trials["kimg"].notna()]
    kept = scored["recipe"] | (scored["rank"] <= 10).fillna(False) | (scored["key"] == ranking.best)
    chosen, left_out = thin(scored, CURVES, kept)
    known = [name for name in names if name in ranking.sweep.scores]
    return curves(replace(ranking.sweep, trials=chosen), known), left_out


def collect_evidence(
    ranking: Ranking, most: int = MAX_EVIDENCE_TRIALS, stage: ShowStage = silent_stage
) -> ReportEvidence:
    """Compute importances, effects and claims from at most ``most`` trials, spaced evenly along the search."""
    from analysis.claim_checks.verdicts import check_claims
    from analysis.effects.comparison_point import require_one_fingerprint
    from analysis.effects.failure_rates import failing_by_value
    from analysis.effects.importance import importances
    from analysis.effects.marginal import effects
    from analysis.effects.over_time import effects_over_time
    from analysis.mlflow_reader.learning_curves import learning_curves
    from analysis.mlflow_reader.mutated import mutated_note as mutated_left_out

    names, notes = _measured(ranking), list[str]()
    confirmed = confirmations(ranking)
    try:
        ablations = _ablations(ranking, names)
        require_one_fingerprint(ranking.sweep)
    except AnalysisError as error:
        return ReportEvidence(confirmed, notes=[f"Importances, effects, ablations and claims are left out: {error}."])
    trials, left_out = thin(ranking.sweep.trials, most, ranking.sweep.trials["recipe"])
    sweep = replace(ranking.sweep, trials=trials)
    if left_out:
        notes.append(
            f"Computed from {len(trials):,} trials, spaced evenly along the search; {left_out:,} are left out."
        )
    if mutated := mutated_left_out(sweep):
        notes.append(f"{mutated}.")
    failing = failing_by_value(sweep) if (sweep.trials["status"] == schema.FAILED).any() else []
    if not names:
        return ReportEvidence(confirmed, failing=failing, notes=notes)
    with stage("histories of all trials"):
        histories = learning_curves(sweep, names)
    parts = list(enumerate(names))
    with stage("importances of parameters") as update:
        explained = [
            importances(sweep, name, curves=histories, progress=part_of(update, place, len(names)))
            for place, name in parts
        ]
    with stage("effects of parameters") as update:
        found = [effect for name in names for effect in effects(sweep, name, histories)]
        along = {
            name: effects_over_time(sweep, histories, name, part_of(update, place, len(names))) for place, name in parts
        }
    with stage("claims"):
        claims = check_claims(sweep)
    return ReportEvidence(confirmed, explained, found, along, ablations, claims, failing, notes)


def confirmations(ranking: Ranking) -> dict[str, Confirmation]:
    """Return the confirmation by each objective, the distance first."""
    from analysis.repeats.confirmation import confirmation

    if ranking.confirmation is None:
        return {}
    by_score = {name: confirmation(ranking.sweep, name, allow_mixed=True) for name in _measured(ranking)}
    available = {name: confirmed for name, confirmed in by_score.items() if confirmed is not None}
    return {**available, ranking.by: ranking.confirmation}


def _ablations(ranking: Ranking, names: Sequence[str]) -> list[dict[str, Ablation]]:
    from analysis.repeats.confirmation import ablation

    repeats = ranking.sweep.repeats
    ablated = list(dict.fromkeys(repeats.loc[repeats["kind"] == schema.KIND_ABLATION, "of"]))
    ablated.sort(key=lambda key: key != ranking.best)
    tables = []
    for key in ablated[:ABLATIONS]:
        by_name = {name: ablation(ranking.sweep, str(key), name, allow_mixed=ranking.mixed) for name in names}
        available = {name: result for name, result in by_name.items() if result is not None}
        tables += [available] if available else []
    return tables


def _measured(ranking: Ranking) -> list[str]:
    return [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
