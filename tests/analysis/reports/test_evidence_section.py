"""The evidence that the report shows, against sweeps in which the truth was planted."""

from __future__ import annotations

import contextlib
import json
import math
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from analysis import schema
from analysis.claim_checks.verdicts import check_claims
from analysis.effects.comparison_point import ComparisonPoint
from analysis.effects.failure_rates import failing_by_value
from analysis.effects.importance import METHODS, Importance, Importances
from analysis.mlflow_reader.sweep import Sweep
from analysis.plots.importance import draw_importance, importance_info
from analysis.ranking.ranking import rank
from analysis.reports.confirmed_section import against_recipe, seeds_table, tiles
from analysis.reports.data import ReportData, ReportEvidence, collect_evidence, confirmations
from analysis.reports.evidence_section import (
    ablation_table,
    claims_table,
    effects_table,
    failing_table,
    importance_notes,
    importance_table,
    questions_table,
)
from analysis.reports.html import make_page
from analysis.reports.mlflow_page import description, headline
from analysis.reports.sections import front_text, ranking_table, reasons_table
from tests.support.sweeps import FINGERPRINT, make_repeats, make_sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analysis.formatting import Table
    from analysis.script import Progress

SPACE = {
    "name": "acgan",
    "dimensions": [
        {
            "name": "generator.oversize",
            "kind": "choice",
            "choices": [False, True],
            "default": False,
            "claim": "7 (A) x",
        },
        {"name": "optimizer.lr", "kind": "float", "low": 1e-4, "high": 1e-2, "log": True, "default": 1e-3},
    ],
}
DISTANCES = {"hand-00000": (20.0, 22.0, 27.0), "hand-00002": (10.0, 12.0, 14.0)}


def planted(count: int = 60, **more: Any) -> Sweep:
    """Oversize doubles the distance, up to noise, and nothing else does anything."""
    random = np.random.default_rng(0)
    rows = [
        {
            "params.generator.oversize": bool(number % 2),
            "params.optimizer.lr": 10 ** random.uniform(-4, -2),
            "scores.distance": 50 * 2.0 ** (number % 2) * math.exp(random.normal(0, 0.05)),
            "scores.tag_accuracy": 0.5 + random.normal(0, 0.01),
            "samples": 100.0,
            "recipe": number == 0,
            **more,
        }
        for number in range(count)
    ]
    return make_sweep(rows, space=SPACE)


@pytest.fixture(scope="module")
def stages() -> dict[str, list[float]]:
    """Shares of each stage that ``found`` showed."""
    return {}


@pytest.fixture(scope="module")
def found(stages: dict[str, list[float]]) -> ReportEvidence:
    @contextlib.contextmanager
    def stage(text: str) -> Iterator[Progress]:
        shares = stages.setdefault(text, [])
        yield lambda done, total: shares.append(done / total)

    return collect_evidence(rank(planted()), stage=stage)


def test_slow_stages_show_how_far_they_are(found: ReportEvidence, stages: dict[str, list[float]]) -> None:
    assert found.importances
    assert list(stages) == [
        "histories of all trials", "importances of parameters", "effects of parameters", "claims"
    ]  # fmt: skip
    for name in ("importances of parameters", "effects of parameters"):
        assert stages[name] == sorted(stages[name])
        assert 0 < stages[name][0] <= 0.5  # of two scores, the first is half
        assert stages[name][-1] == 1


def again(**more: Any) -> Sweep:
    """Three trials; the search prefers the second, fresh seeds the third."""
    rows = [
        {"scores.distance": 30.0, "scores.tag_accuracy": 0.5, "samples": 100.0, "recipe": True},
        {"scores.distance": 5.0, "scores.tag_accuracy": 0.5, "samples": 100.0},
        {"scores.distance": 6.0, "scores.tag_accuracy": 0.5, "samples": 100.0, "metrics.mutations": 2.0},
    ]
    repeats = make_repeats([
        {"of": key, "seed": seed, "scores.distance": score, "scores.tag_accuracy": 0.25 * seed,
         "recipe": key == "hand-00000"}
        for key, scores in DISTANCES.items() for seed, score in enumerate(scores, 1)
    ])  # fmt: skip
    return make_sweep(rows, repeats=repeats, **more)


def cells(table: Table | None, first: str) -> list[str]:
    assert table is not None
    (row,) = [row for row in table.rows if row[0].startswith(first)]
    return row


def test_a_planted_effect_is_found_and_one_that_is_none_is_not(found: ReportEvidence) -> None:
    table = effects_table(found.effects)
    oversize, rate = cells(table, "generator.oversize"), cells(table, "optimizer.lr")
    estimate = re.fullmatch(r"x([\d.]+) \(([\d.]+) to ([\d.]+)\) \*", oversize[2])
    assert estimate is not None
    value, low, high = map(float, estimate.groups())
    assert low <= value <= high
    assert value == pytest.approx(2, rel=0.05)
    assert oversize[1] == "True against False"
    assert rate[1] == "per doubling"
    assert "*" not in rate[2]
    assert oversize[4:] == ["40", "60 trials", "marginal"]
    assert table is not None
    assert table.rows[0] == oversize  # what is separable stands first
    assert table.headers[4] == "kimg"
    other = effects_table(found.effects, "kimg of the recipe")
    assert other is not None
    assert other.headers[4] == "kimg of the recipe"


def test_importances_of_each_objective_have_their_intervals(found: ReportEvidence) -> None:
    distance, accuracy = found.importances
    bars = importance_table(distance)
    assert bars is not None
    assert (distance.score, accuracy.score) == ("distance", "tag_accuracy")
    assert [(name, method) for name, method, *_ in bars.itertuples(index=False)] == [
        ("generator.oversize", "fANOVA"), ("optimizer.lr", "fANOVA"),
        ("generator.oversize", "PED-ANOVA"), ("optimizer.lr", "PED-ANOVA"),
    ]  # fmt: skip
    assert bars["above_chance"].tolist()[::2] == [True, True]
    assert (bars["importance"][::2] > 0.5).all()
    assert (bars["importance"][1::2] < 0.5).all()
    assert (bars["low"] <= bars["importance"]).all()
    assert (bars["importance"] <= bars["high"]).all()
    assert importance_notes([distance]) == ["Importance for the distance: 60 of 60 scored trials, each at 40 kimg."]
    assert importance_notes([distance], "kimg of the recipe")[0].endswith("each at 40 kimg of the recipe.")


def test_each_method_is_drawn_with_the_numbers_that_it_gave(found: ReportEvidence) -> None:
    for one in found.importances:
        table = importance_table(one)
        assert table is not None
        first, second = draw_importance(importance_info(table), one.score).data
        for bars, (method, (name, _)) in zip((first, second), METHODS.items(), strict=True):
            computed = {row.dimension: row for row in one.rows if row.method == method}
            assert bars.name == name
            assert sorted(bars.y) == sorted(computed) == ["generator.oversize", "optimizer.lr"]
            assert list(bars.x) == [computed[dimension].value for dimension in bars.y]
            ends = [(computed[dimension].low, computed[dimension].high) for dimension in bars.y]
            assert list(bars.x - bars.error_x.arrayminus) == pytest.approx([low for low, _ in ends])
            assert list(bars.x + bars.error_x.array) == pytest.approx([high for _, high in ends])
            assert [opacity == 1 for opacity in bars.marker.opacity] == [
                computed[dimension].above_chance for dimension in bars.y
            ]


def test_the_page_says_what_each_method_answers(found: ReportEvidence) -> None:
    history = pd.DataFrame(columns=["key", "kimg", "name", "value"])
    page = unescape(make_page(ReportData(rank(planted()), history, 0, found)))
    for name, answers in METHODS.values():
        assert f"<dt>{name}</dt><dd>{answers}</dd>" in page
    assert 'id="importance-distance"' in page
    assert 'id="importance-tag-accuracy"' in page


def test_below_thirty_trials_the_note_says_so() -> None:
    few = collect_evidence(rank(planted(29)))
    assert importance_table(few.importances[0]) is None
    assert importance_notes(few.importances)[0] == (
        "No importances for the distance: at most 29 trials compare; 30 are needed."
    )


def test_a_dimension_that_few_had_active_is_said_to_be_left_out() -> None:
    point = ComparisonPoint("distance", 10, 100, rank(planted(30)).trials["scores.distance"], 40)
    one = Importances("distance", [Importance("a", "ped_anova", 1, 1, 1, 1, 30)], point, "active in fewer: b")
    table = importance_table(one)
    assert table is not None
    assert table["parameter"].tolist() == ["a"]
    assert importance_notes([one]) == [
        "Importance for the distance: 30 of 40 scored trials, each at 10 kimg. Left out, active in fewer: b."
    ]


def test_a_claim_has_a_verdict_for_each_part_and_what_it_rests_on(found: ReportEvidence) -> None:
    table = claims_table(found.claims, "hand")
    assert table is not None
    start = next(place for place, row in enumerate(table.rows) if row[0] == "7 (A)")
    whole, failed, distance = table.rows[start : start + 3]
    assert whole[1:3] == ["Oversize-then-subsample is unstable", "supported in part"]
    assert failed[2] == "not separable"  # no trial failed
    assert distance[2] == "supported"
    assert distance[3].startswith("generator.oversize True against False: distance x")
    assert distance[4:] == ["60 trials", "40", "marginal"]
    assert "by this sweep: 1, 2, 3" in table.note
    questions = questions_table(planted(2))
    assert questions is not None
    assert questions.rows == [["generator.oversize", "False", "7 (A) x"]]


def test_claims_without_a_measurement_are_one_line(found: ReportEvidence) -> None:
    table = claims_table(check_claims(planted(4)), "hand")  # four trials compare nothing
    assert table is not None
    assert (table.headers, table.rows) == ([], [])
    assert re.search(r"not enough trials: 7[.;]", table.note)
    full = claims_table(found.claims, "hand")
    assert full is not None
    assert all(any(row[3:]) for row in full.rows if not row[0])  # no row of a part is empty


def test_at_a_short_budget_the_verdict_says_so() -> None:
    # Report E trained 698 kimg; 40 of them are less than a quarter.
    rows = planted(24).trials.rename(columns={"params.generator.oversize": "params.updates.discriminator_steps"})
    rows["params.updates.discriminator_steps"] = [1 if number % 2 else 3 for number in range(24)]
    dimension = {"name": "updates.discriminator_steps", "kind": "choice", "choices": [1, 3], "default": 1}
    sweep = Sweep(name="hand", trials=rows, space={"dimensions": [dimension]}, fingerprint=FINGERPRINT)
    row = cells(claims_table(check_claims(sweep), "hand"), "9b (E)")
    assert row[2].endswith(" at short budget")


def test_large_sweeps_are_judged_from_a_part_and_the_note_says_so() -> None:
    part = collect_evidence(rank(planted(100)), most=40)
    # 39 evenly spread beside the recipe
    (note,) = part.notes
    assert re.search(r"\b40 trials\b.*\b60 are left out", note)
    assert max(effect.trials for effect in part.effects) == 40
    assert collect_evidence(rank(planted(40)), most=40).notes == []


def test_mixed_scores_leave_the_evidence_out_with_a_note() -> None:
    sweep = planted(30)
    sweep.trials.loc[3, "fingerprint"] = json.dumps({**FINGERPRINT, "samples": 5})
    part = collect_evidence(rank(sweep, allow_mixed=True))
    assert (part.effects, part.claims, part.importances) == ([], [], [])
    assert part.notes[0].startswith("Importances, effects, ablations and claims are left out: the scores of sweep")


def test_values_that_fail_are_named_and_those_that_do_not_are_counted() -> None:
    sweep = planted(60)
    sweep.trials.loc[sweep.trials["params.generator.oversize"], ["status", "reason"]] = [schema.FAILED, "diverged: x"]
    table = failing_table(failing_by_value(sweep))
    assert table is not None
    assert [row[:4] for row in table.rows] == [
        ["generator.oversize", "False", "0 of 30", "0.0%"], ["", "True", "30 of 30", "100.0%"],
    ]  # fmt: skip
    assert table.note.startswith("Of 2 parameters that compare, 1 show no difference beyond chance.")
    random = planted(60)
    random.trials.loc[random.trials.index % 7 == 0, "status"] = schema.FAILED
    none = failing_table(failing_by_value(random))
    assert none is not None
    assert (none.rows, none.note) == ([], "Of 2 parameters that compare, 2 show no difference beyond chance.")
    assert failing_table(collect_evidence(rank(planted(30))).failing) is None


def test_a_reason_of_one_kind_is_one_row() -> None:
    reasons = ["diverged: d_loss is nan at 3.1 kimg", "killed", "diverged: g_loss is nan at 4 kimg"]
    table = reasons_table(rank(make_sweep([{"status": schema.FAILED, "reason": reason} for reason in reasons])))
    assert table is not None
    assert table.rows == [
        ["failed", "2", "diverged (e.g. diverged: d_loss is nan at 3.1 kimg)", "hand-00000"],
        ["failed", "1", "killed", "hand-00001"],
    ]


# After a confirmation ----------------------------------------------------------------------------------------
def test_the_answer_is_the_confirmed_best_with_its_mean() -> None:
    ranking = rank(again())
    shown = tiles(ranking, confirmations(ranking))
    assert ranking.best == "hand-00002"
    # Mean 12 and sd 2 of 10, 12, 14; t of 2 degrees is 4.303, and 4.303 * 2 / sqrt(3) = 4.97
    assert shown[0] == {"value": "12.00", "name": "distance, mean of 3", "range": "± 2.00, 95%: 7.03 to 16.97"}
    assert shown[1]["value"] == "50.0%"  # of 25, 50 and 75%
    assert shown[1]["range"].startswith("± 25.0%, 95%: ")
    assert shown[2] == {"value": "100%", "name": "probability of the best mean", "range": "of 2 confirmed"}
    # Differences of the recipe: 10, 10, 13, mean 11 and sd 1.732: 11 ± 4.303
    assert against_recipe(ranking) == (
        "The recipe, unchanged, on the same seeds: distance 23.00 ± 3.61, +11.00 [6.70, 15.30] from the winner's seed "
        "by seed, separable."
    )


def test_the_table_of_seeds_has_every_configuration() -> None:
    ranking = rank(again())
    table = seeds_table(ranking, confirmations(ranking))
    assert table is not None
    assert [[row[0], row[1], row[2], row[-2], row[-1]] for row in table.rows] == [
        ["hand-00002", "3", "12.00 ± 2.00", "50.0% ± 25.0%", "best"],
        ["hand-00000 recipe", "3", "23.00 ± 3.61", "50.0% ± 25.0%", "separable"],
    ]
    assert {len(row) for row in table.rows} == {len(table.headers)}
    assert table.note.startswith("On 3 fresh seeds of 40 kimg each")
    assert seeds_table(rank(planted(5)), {}) is None


def test_the_ranking_shows_means_beside_search_scores_and_marks_what_changed() -> None:
    table = ranking_table(rank(again()))
    assert table is not None
    assert [row[:5] for row in table.rows] == [
        ["1", "hand-00002", "winner mutated", "12.00 ± 2.00", "6.00"],
        ["2", "hand-00000", "recipe", "23.00 ± 3.61", "30.00"],
        ["3", "hand-00001", "front", "-", "5.00"],
    ]


def test_the_note_in_mlflow_names_the_confirmed_best() -> None:
    ranking = rank(again())
    lines = description(ranking).splitlines()
    assert lines[2] == (
        "Best of 3 trials: **hand-00002**, distance **12.00 ± 2.00**, tag accuracy **50.0% ± 25.0%** over 3 fresh "
        "seeds of 40 kimg; in the search distance 6.00, tag accuracy 50.0%."
    )
    assert "**unconfirmed**" not in description(ranking)
    assert "**unconfirmed rival**: hand-00001 had a lower distance than the winner in the search" in description(
        ranking
    )
    assert headline(ranking)["confirmed_distance"] == 12
    assert "**unconfirmed**" in description(rank(planted(3)))
    assert "confirmed_distance" not in headline(rank(planted(3)))


def test_a_score_that_is_not_known_yet_is_no_metric() -> None:
    sweep = again()
    sweep.trials["scores.tag_accuracy"] = math.nan
    ranking = rank(sweep)
    assert ranking.best_by("tag_accuracy") is None
    assert "best_tag_accuracy" not in headline(ranking)
    assert headline(ranking)["best_distance"] == 6.0


def test_without_a_confirmed_best_the_answer_is_that_of_the_search() -> None:
    failed = make_repeats([{"of": "hand-00001", "seed": 1, "status": schema.FAILED, "reason": "diverged"},
                           {"of": "hand-00001", "seed": 2, "scores.distance": 4.0}])  # fmt: skip
    ranking = rank(make_sweep(again().trials.to_dict("records"), repeats=failed))
    assert ranking.best == "hand-00002"  # what failed on a fresh seed comes last
    assert "distance **6.00**" in description(ranking)
    assert "hand-00001 failed on 1 of its seeds" in description(ranking)


def test_an_ablation_shows_paired_differences() -> None:
    runs = {"winner": (10, 12, 14), "recipe": (20, 22, 24), "without lr": (11, 14, 17)}
    repeats = make_repeats([
        {"of": "hand-00001", "seed": seed, "kind": schema.KIND_ABLATION, "variant": variant, "scores.distance": score,
         "scores.tag_accuracy": 0.5, "key": f"{variant}-{seed}", "variant_params": {"lr": 1.0}}
        for variant, scores in runs.items() for seed, score in enumerate(map(float, scores), 1)
    ])  # fmt: skip
    (one,) = collect_evidence(rank(make_sweep(again().trials.to_dict("records"), repeats=repeats))).ablations
    title, table = ablation_table(one)
    assert title == "Ablation of hand-00001"
    row = cells(table, "without lr")
    # Differences 1, 2, 3: mean 2, sd 1, 2 ± 4.303 / sqrt(3)
    assert (row[2], row[3], row[4]) == ("14.00 ± 3.00", "+2.00 [-0.4841, 4.48]", "winner")
    assert row[-1] == "not separable"
    assert {len(row) for row in table.rows} == {len(table.headers)}


def test_the_front_names_its_knee_and_area() -> None:
    points = [(10.0, 0.1), (12.0, 0.6), (20.0, 0.8), (50.0, 0.2)]
    rows = [{"scores.distance": distance, "scores.tag_accuracy": share} for distance, share in points]
    said = front_text(rank(make_sweep(rows)))
    # From the right, up to distance 50: 30 * 0.8 + 8 * 0.6 + 2 * 0.1
    assert "is hand-00001." in said
    assert "The front covers an area of 29, up to a distance of 50.00" in said
    assert "knee" not in front_text(rank(make_sweep(rows[:2])))  # two ends have nothing between them
    assert front_text(rank(make_sweep([{"scores.distance": 3.0}]))) == ""
