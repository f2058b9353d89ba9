"""Confirmations and ablations put together by hand, and what the ranking makes of them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from analysis.errors import AnalysisError
from analysis.ranking.caveats import caveats
from analysis.ranking.ranking import rank
from analysis.ranking.table import format_table
from analysis.repeats.confirmation import ablation, confirmation
from analysis.repeats.tables import confirmation_rows, format_ablation, format_confirmation
from analysis.reports.confirmed_section import seeds_text
from tests.support.sweeps import FINGERPRINT, make_repeats, make_sweep

if TYPE_CHECKING:
    from analysis.mlflow_reader.sweep import Sweep

RECIPE, LUCKY, GOOD, OTHER = (f"hand-{number:05d}" for number in range(4))
SCORES = {  # the search's best is lucky, the third is best on fresh seeds
    RECIPE: [60.0, 62.0, 61.0, 63.0, 60.5],
    LUCKY: [50.0, 52.0, 54.0, 53.0, 51.0],
    GOOD: [40.0, 41.5, 44.0, 43.0, 41.0],
}


def runs(scores: dict[str, list[float]] = SCORES, **more: Any) -> list[dict[str, Any]]:
    return [
        {"of": key, "seed": seed, "scores.distance": value, "recipe": key == RECIPE, **more}
        for key, values in scores.items()
        for seed, value in enumerate(values)
    ]


def hand(repeats: list[dict[str, Any]]) -> Sweep:
    trials = [(RECIPE, 61.0), (LUCKY, 30.0), (GOOD, 42.0), (OTHER, 35.0)]
    rows = [
        {"key": key, "scores.distance": distance, "samples": 1000.0, "recipe": key == RECIPE, "config_hash": key}
        for key, distance in trials
    ]
    return make_sweep(rows, repeats=make_repeats(repeats))


def test_means_intervals_and_pairs_by_scipy() -> None:
    found = confirmation(hand(runs()))
    assert found is not None
    assert [one.key for one in found.configurations] == [GOOD, LUCKY, RECIPE]
    assert (found.best, found.budget, found.seeds) == (GOOD, 40, (0, 1, 2, 3, 4))
    for one in found.configurations:
        values = SCORES[one.key]
        interval = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
        assert (one.summary.low, one.summary.high) == pytest.approx(interval)
        assert (one.summary.mean, one.summary.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    second = found.configurations[1]
    p = stats.ttest_rel(SCORES[LUCKY], SCORES[GOOD]).pvalue
    assert second.separable is True
    assert second.difference is not None
    assert second.difference.mean == pytest.approx(np.mean(SCORES[LUCKY]) - np.mean(SCORES[GOOD]))
    assert p <= second.p <= 3 * p  # type: ignore[operator]
    assert found.configurations[0].p_best == pytest.approx(1.0, abs=1e-3)


def test_the_ranking_puts_confirmed_configurations_first() -> None:
    ranking = rank(hand(runs()))
    assert list(ranking.trials["key"]) == [GOOD, LUCKY, RECIPE, OTHER]
    assert ranking.trials["rank"].tolist() == [1, 2, 3, 4]
    assert ranking.best == ranking.best_by("distance") == GOOD
    assert ranking.trials["confirmed.mean"].tolist()[:3] == pytest.approx(
        [np.mean(SCORES[k]) for k in (GOOD, LUCKY, RECIPE)]
    )
    assert ranking.trials["confirmed.n"].isna().tolist() == [False, False, False, True]
    assert ranking.trials["scores.distance"].tolist() == [42.0, 30.0, 61.0, 35.0]  # of the search, as before
    told = json.loads(json.dumps(ranking.to_json(), allow_nan=False))
    assert (told["best"], told["confirmed"]["best"]) == (GOOD, GOOD)
    assert told["confirmation"][GOOD]["n"] == 5
    assert told["confirmation"][GOOD]["mean"] == pytest.approx(41.9)
    assert set(told["confirmation"][LUCKY]) >= {"n", "mean", "sd", "interval", "p_best", "separable"}
    assert told["confirmation"][LUCKY]["separable"] is True
    assert [trial["key"] for trial in told["trials"]] == [GOOD, LUCKY, RECIPE, OTHER]


def test_without_a_confirmation_the_best_is_said_to_be_unconfirmed() -> None:
    sweep = hand([])
    assert confirmation(sweep) is None
    ranking = rank(sweep)
    assert list(ranking.trials["key"]) == [LUCKY, OTHER, GOOD, RECIPE]
    assert (ranking.to_json()["confirmation"], ranking.to_json()["confirmed"]) == ({}, None)
    assert "the best of 4 is partly the luckiest; `gansweep confirm hand`" in format_table(ranking)
    assert "confirmed.n" not in ranking.trials


def test_what_seeds_explain_is_marked_and_said() -> None:
    close = {**SCORES, LUCKY: [39.0, 43.0, 42.0, 44.5, 42.0]}
    found = confirmation(hand(runs(close)))
    assert found is not None
    assert (found.best, found.close) == (GOOD, [LUCKY])
    shares = {one.key: one.p_best for one in found.configurations}
    assert 0 < shares[LUCKY] < shares[GOOD] < 1  # type: ignore[operator]
    text = format_table(rank(hand(runs(close))))
    assert f"not separable from the best: {LUCKY}" in text
    assert "(5) ≈" in next(line for line in text.splitlines() if LUCKY in line)
    assert f"{GOOD}: distance 42.00 at 40 kimg in the search; confirmed distance 41.90 ± 1.60" in text
    assert f"not separable from the best: {LUCKY}" in format_confirmation(found, "hand")


def test_a_score_that_grows_is_maximised() -> None:
    rows = [{**row, "scores.tag_accuracy": 1 - row["scores.distance"] / 100} for row in runs()]
    found = confirmation(hand(rows), "tag_accuracy")
    assert found is not None
    assert [one.key for one in found.configurations] == [GOOD, LUCKY, RECIPE]
    assert found.configurations[0].p_best == pytest.approx(1.0, abs=1e-3)


def test_the_interval_of_a_share_ends_where_shares_do() -> None:
    shares = {
        GOOD: [0.98, 1.0, 1.0, 1.0, 0.96],
        LUCKY: [0.0, 0.012, 0.0, 0.0, 0.01],
        RECIPE: [0.5, 0.52, 0.48, 0.5, 0.5],
    }
    rows = [{**row, "scores.tag_accuracy": shares[row["of"]][row["seed"]]} for row in runs()]
    found = confirmation(hand(rows), "tag_accuracy")
    assert found is not None
    high, middle, low = [one.summary for one in found.configurations]
    for summary, values, ends in ((high, shares[GOOD], (0, 1.0)), (low, shares[LUCKY], (0.0, 1))):
        lower, upper = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
        assert lower < 0 or upper > 1
        assert (summary.low, summary.high) == pytest.approx((max(lower, ends[0]), min(upper, ends[1])))
    assert (middle.low, middle.high) == pytest.approx(stats.t.interval(0.95, 4, 0.5, stats.sem(shares[RECIPE])))
    assert "-" not in "".join(row[3] for row in confirmation_rows(found))
    # A difference of shares may be below 0.
    assert found.configurations[2].difference is not None
    assert found.configurations[2].difference.high < 0


def test_a_configuration_that_failed_on_a_seed_is_not_compared_and_ranked_last() -> None:
    rows = runs()
    failed = next(row for row in rows if row["of"] == GOOD and row["seed"] == 3)
    failed |= {"status": "failed", "reason": "diverged: d_loss is nan", "scores.distance": math.nan}
    found = confirmation(hand(rows))
    assert found is not None
    assert found.best == LUCKY
    last = found.configurations[-1]
    assert (last.key, last.compared, last.failed, last.summary.n) == (GOOD, False, ("diverged: d_loss is nan",), 4)
    assert list(rank(hand(rows)).trials["key"]) == [LUCKY, RECIPE, OTHER, GOOD]
    assert f"{GOOD} failed on 1 of its seeds and is not compared: diverged" in format_confirmation(found, "hand")


def test_an_interrupted_confirmation_compares_on_the_seeds_that_all_have() -> None:
    rows = [row for row in runs() if row["seed"] < 2 or (row["of"] == RECIPE and row["seed"] == 2)]
    rows.append({"of": LUCKY, "seed": 2, "status": "interrupted"})
    found = confirmation(hand(rows))
    assert found is not None
    assert found.seeds == (0, 1)
    assert {one.key: one.summary.n for one in found.configurations} == {GOOD: 2, LUCKY: 2, RECIPE: 2}
    assert "the same `gansweep confirm` goes on with them" in format_confirmation(found, "hand")


def test_a_configuration_that_came_later_waits_until_it_has_its_seeds() -> None:
    rows = [*runs(), {"of": OTHER, "seed": 0, "scores.distance": 1.0}]
    found = confirmation(hand(rows))
    assert found is not None
    assert (found.best, len(found.seeds)) == (GOOD, 5)
    assert (found.configurations[-1].key, found.configurations[-1].compared) == (OTHER, False)
    assert rank(hand(rows)).best == GOOD


def test_one_seed_says_so_and_knows_only_the_sampling_noise() -> None:
    ends = {"metrics.interval/distance/low": 36.08, "metrics.interval/distance/high": 43.92}
    rows = [{**row, **ends} for row in runs() if row["seed"] == 0]
    found = confirmation(hand(rows))
    assert found is not None
    best = found.configurations[0]
    assert (best.summary.n, best.summary.method) == (1, "sampling")
    assert (best.summary.low, best.summary.high) == pytest.approx((36.08, 43.92), abs=1e-6)
    assert found.configurations[1].separable is False
    assert "one seed" in format_confirmation(found, "hand")


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 1), (3, 2), (5, 2)])
def test_the_run_of_the_median_stands_for_a_configuration(count: int, expected: int) -> None:
    # 10, 14, 12, 11, 13: of two the worse, 14; of three 12; of five 12.
    values = [10.0, 14.0, 12.0, 11.0, 13.0][:count]
    found = confirmation(hand(runs({GOOD: values})))
    assert found is not None
    assert found.configurations[0].median_key == f"{GOOD}-c{expected:02d}"


@pytest.mark.parametrize(("by", "sign"), [("distance", 1.0), ("tag_accuracy", -1.0)])
def test_the_median_is_over_the_shared_seeds(by: str, sign: float) -> None:
    # On all seeds 30 is GOOD's median, of a seed that the other does not have; on the shared 40, 50, 20 it is 40.
    good, lucky = {0: 40.0, 1: 50.0, 2: 20.0, 3: 30.0, 4: 10.0}, {0: 60.0, 1: 61.0, 2: 62.0}
    rows = [
        {"of": key, "seed": seed, f"scores.{by}": sign * value}
        for key, values in ((GOOD, good), (LUCKY, lucky))
        for seed, value in values.items()
    ]
    sweep = hand(rows)
    sweep.trials[f"scores.{by}"] = 0.5
    found = confirmation(sweep, by)
    assert found is not None
    assert found.seeds == (0, 1, 2)
    assert [(one.key, one.median_key) for one in found.configurations] == [
        (GOOD, f"{GOOD}-c00"),
        (LUCKY, f"{LUCKY}-c01"),
    ]
    assert found.about()["compared_with"] == [LUCKY]


def test_budgets_and_fingerprints_do_not_mix() -> None:
    longer = [{**row, "key": f"{row['of']}-c{row['seed']:02d}-k80", "budget": 80} for row in runs({LUCKY: [9.0, 8.0]})]
    found = confirmation(hand([*runs(), *longer]))
    assert found is not None
    assert (found.budget, found.left_out, [one.key for one in found.configurations]) == (80, 15, [LUCKY])
    earlier = confirmation(hand([*runs(), *longer]), budget=40)
    assert earlier is not None
    assert earlier.best == GOOD
    other = [
        *runs(),
        {"of": OTHER, "seed": 0, "scores.distance": 1.0, "fingerprint": json.dumps({**FINGERPRINT, "samples": 9})},
    ]
    with pytest.raises(AnalysisError, match="do not compare, they were measured with different samples"):
        confirmation(hand(other))
    assert confirmation(hand(other), allow_mixed=True) is not None


def test_an_ablation_by_scipy() -> None:
    scores = {
        "winner": [40.0, 41.0, 42.0],
        "recipe": [60.0, 61.5, 62.0],
        "without generator.width": [50.0, 51.2, 52.0],
        "with generator.width": [60.5, 60.9, 62.3],
    }
    rows = [
        {
            "kind": "ablation", "of": GOOD, "key": f"{GOOD}-a-{name.replace(' ', '-')}-{seed:02d}", "variant": name,
            "seed": seed, "scores.distance": value, "recipe": name == "recipe",
            "variant_params": {"generator.width": 64} if " " in name else {},
        }
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    found = ablation(hand(rows), GOOD)
    assert found is not None
    effects = {effect.variant: effect for effect in found.effects}
    assert list(effects) == ["winner", "recipe", "without generator.width", "with generator.width"]
    p = {
        "winner": stats.ttest_rel(scores["winner"], scores["recipe"]).pvalue,
        "without generator.width": stats.ttest_rel(scores["without generator.width"], scores["winner"]).pvalue,
        "with generator.width": stats.ttest_rel(scores["with generator.width"], scores["recipe"]).pvalue,
    }
    ordered = sorted(p, key=p.__getitem__)
    running = 0.0
    for rank_, name in enumerate(ordered):
        running = max(running, p[name] * (3 - rank_))
        assert effects[name].p == pytest.approx(min(1.0, running))
    assert effects["without generator.width"].difference.mean == pytest.approx(10.0667, abs=1e-3)  # type: ignore[union-attr]
    assert effects["recipe"].difference is None
    text = format_ablation(found, {"with losses.penalty": "it cannot be"})
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert lines["without generator.width"].endswith("worse")
    assert lines["with generator.width"].endswith("not separable")
    assert lines["winner"].endswith("better")
    assert "skipped with losses.penalty: it cannot be" in text
    assert ablation(hand(rows), LUCKY) is None
    assert confirmation(hand(rows)) is None
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told[1]["difference"] is None
    assert told[2]["change"] == {"generator.width": 64}


@pytest.mark.parametrize(
    ("settings", "unit"),
    [({}, "40 kimg"), ({"budget": "flops"}, "40 kimg of the recipe"), ({"budget": "seconds"}, "40 kimg of the recipe")],
)
def test_budgets_of_repeats_are_in_the_unit_of_the_sweep(settings: dict[str, Any], unit: str) -> None:
    rows = runs()
    ablated = [{**one, "kind": "ablation", "variant": "winner", "key": f"a{place}"} for place, one in enumerate(rows)]
    sweep = dataclasses.replace(hand([*rows, *ablated]), settings={"max_kimg": 40, **settings})
    found, variants = confirmation(sweep), ablation(sweep, GOOD)
    assert found is not None
    assert variants is not None
    assert f"seeds of {unit} each\n" in format_confirmation(found, "hand")
    assert f"runs of {unit} each\n" in format_ablation(variants, {})
    assert f"fresh seeds, {unit} each, " in format_table(rank(sweep))
    assert seeds_text(found).endswith(f"fresh seeds of {unit}")
    later = dataclasses.replace(sweep, settings={**sweep.settings, "max_kimg": 80})
    assert rank(later).shortfall.startswith(f"{unit} a run is less than the sweep's 80")


def test_a_failed_recipe_of_the_search_can_be_confirmed() -> None:
    sweep = hand(runs())
    trials = sweep.trials.assign(status=["failed", "complete", "complete", "complete"])
    ranking = rank(dataclasses.replace(sweep, trials=trials))
    assert list(ranking.trials["key"]) == [GOOD, LUCKY, RECIPE, OTHER]
    assert ranking.trials["rank"].tolist() == [1, 2, 3, 4]


def test_best_by_another_score_is_the_best_of_all_confirmed_or_not() -> None:
    repeats = [{**run, "scores.tag_accuracy": 0.5} for run in runs()]
    sweep = hand(repeats)
    accuracies = {RECIPE: 0.3, LUCKY: 0.6, GOOD: 0.2, OTHER: 0.62}
    trials = sweep.trials.assign(**{"scores.tag_accuracy": sweep.trials["key"].map(accuracies)})
    ranking = rank(dataclasses.replace(sweep, trials=trials))
    assert (ranking.best, ranking.best_by("distance"), ranking.best_by("tag_accuracy")) == (GOOD, GOOD, OTHER)
    (line,) = [line for line in format_table(ranking).splitlines() if line.startswith("best by tag accuracy")]
    assert OTHER in line
    assert "unconfirmed" in line


@pytest.mark.parametrize(("settings", "kimg"), [({"max_kimg": 100}, 40.0), ({}, 100.0)])
def test_a_confirmation_of_a_smaller_budget_orders_nothing(settings: dict[str, int], kimg: float) -> None:
    sweep = hand(runs())
    sweep = dataclasses.replace(sweep, settings=settings, trials=sweep.trials.assign(kimg=kimg))
    ranking = rank(sweep)
    assert list(ranking.trials["key"]) == [LUCKY, OTHER, GOOD, RECIPE]
    assert ranking.best == ranking.best_by("distance") == LUCKY
    assert ranking.confirmation is None
    assert ranking.trials["confirmed.mean"].tolist()[0] == pytest.approx(52.0)
    said = "40 kimg a run is less than the sweep's 100, and moves no trial"
    assert said in format_table(ranking)
    assert said in next(one.reason for one in caveats(ranking) if one.label == "confirmed early")
    told = json.loads(json.dumps(ranking.to_json(), allow_nan=False))
    assert (told["best"], told["confirmed"], told["short_confirmation"]["budget"]) == (LUCKY, None, 40)
    assert told["confirmation"][GOOD]["mean"] == pytest.approx(41.9)
    full = dataclasses.replace(sweep, repeats=sweep.repeats.assign(budget=100))
    assert rank(full).best == GOOD


def test_two_seeds_that_do_not_separate_say_how_many_would() -> None:
    # The differences 1 +- 0.71 have mean 1 and standard deviation 1, an effect for which published tables give 10.
    half = 0.5**0.5
    scores = {LUCKY: [50.0, 52.0], GOOD: [51 - half, 53 + half], RECIPE: [90.0, 90.0]}
    result = confirmation(hand(runs(scores)))
    assert result is not None
    assert GOOD in result.close
    (line,) = [line for line in format_confirmation(result, "hand").splitlines() if f"about 10 for {GOOD}" in line]
    assert "2 seeds" in line
    assert "--seeds" in line
