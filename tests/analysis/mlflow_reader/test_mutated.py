"""Trials that population-based training changed say nothing of their parameters' values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.effects import importance
from analysis.effects.failure_rates import failing_by_value
from analysis.effects.importance import format_importances, importances
from analysis.effects.marginal import effects
from analysis.mlflow_reader.mutated import mutated_note
from analysis.ranking.ranking import rank
from analysis.reports.data import collect_evidence
from tests.support.simulated import simulate

if TYPE_CHECKING:
    import pytest

    from analysis.mlflow_reader.sweep import Sweep

SAID = "20 mutated trials are left out"


def changed(trials: int = 60) -> Sweep:
    """The first 20 trials were mutated; by their scores hard labels would be the best, and flipped ones fail."""
    sweep = simulate(trials, seed=2)
    table = sweep.trials.assign(**{"metrics.mutations": [2.0] * 20 + [float("nan")] * (trials - 20)})
    hard = (table["params.losses.labels"] == "hard") & (table.index < 20)
    table.loc[hard, "scores.distance"] /= 1000
    table.loc[table["params.training.flip"] & (table.index < 20), "status"] = "failed"
    object.__setattr__(sweep, "trials", table)
    return sweep


def rest(sweep: Sweep) -> Sweep:
    clean = simulate(len(sweep.trials), seed=2)
    object.__setattr__(clean, "trials", clean.trials.iloc[20:])
    return clean


def test_effects_are_those_of_the_other_trials() -> None:
    sweep = changed()
    assert mutated_note(rest(sweep)) == ""
    assert mutated_note(sweep).startswith(SAID)
    assert effects(sweep) == effects(rest(sweep)) != []
    assert effects(sweep, "failed") == effects(rest(sweep), "failed")
    assert not any(value.failed for one in failing_by_value(sweep) for value in one.values)


def test_importances_and_the_report_say_how_many_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "BOOTSTRAPS", 2)
    sweep = changed()
    found = importances(sweep)
    assert found.rows == importances(rest(sweep)).rows != []
    assert SAID in format_importances(found)
    assert SAID in importances(changed(40)).reason
    told = collect_evidence(rank(sweep))
    assert any(note.startswith(SAID) for note in told.notes)
    rests = [part.effect.trials for one in told.claims for part in one.parts if part.effect]
    assert rests
    assert max(rests) <= 40
