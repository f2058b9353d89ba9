"""The winner's rule by hand arithmetic, and the trial that it chooses in a ranking."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from analysis import schema
from analysis.errors import AnalysisUsageError
from analysis.rank import main
from analysis.ranking.caveats import caveats
from analysis.ranking.ranking import Ranking, rank
from analysis.ranking.sweep_rule import expected_accuracy
from analysis.ranking.table import format_table
from analysis.ranking.winner import Expected, Rule, make_rule
from tests.support.sweeps import make_repeats, make_sweep

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.mlflow_reader.sweep import Sweep
    from tests.support.sweeps import History

JUDGE = {"judge": {"accuracy": {"hair": 0.75, "eyes": 0.75, "both": 0.5}}}
REAL = [(3419.0, 0.13), (3625.0, 0.797), (3716.0, 0.636)]
"""Distances and tag accuracies of a sweep on real faces; the third is the recipe."""


def key(number: int) -> str:
    return f"hand-{number:05d}"


def sweep_of(rows: list[tuple[float | None, float | None]], **fields: Any) -> Sweep:
    """Build a sweep from pairs of distance and tag accuracy; the last one is the recipe."""
    trials = [{"scores.distance": distance, "scores.tag_accuracy": accuracy, "samples": 1000.0,
               "recipe": number == len(rows) - 1} for number, (distance, accuracy) in enumerate(rows)]  # fmt: skip
    return make_sweep(trials, **fields)


def confirmed(rows: dict[int, list[tuple[float, float]]], **more: Any) -> dict[str, Any]:
    """Build repeats from pairs of distance and tag accuracy on seeds 0, 1, ..., by number of the trial."""
    repeats = [{"of": key(number), "seed": seed, "scores.distance": distance, "scores.tag_accuracy": accuracy, **more}
               for number, pairs in rows.items() for seed, (distance, accuracy) in enumerate(pairs)]  # fmt: skip
    return {"repeats": make_repeats(repeats)}


def rule_of(ranking: Ranking) -> Rule:
    assert ranking.rule is not None
    return ranking.rule


# The floor ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("classifier", "accuracies", "floor", "passing"),
    [
        (0.5, {"a": 0.9, "b": 0.4, "c": 0.39}, 0.4, "ab"),  # 0.8 of the classifier's
        (0.9, {"a": 0.45, "b": 0.36, "c": 0.35}, 0.36, "ab"),  # 0.8 of the best trial's, reached exactly
        (None, {"a": 0.5, "b": 0.4, "c": math.nan}, 0.4, "ab"),
        (1.0, {"a": 1.0, "b": 0.8, "c": 0.79}, 0.8, "ab"),
        (0.5, {"a": 0.1}, 0.08, "a"),
    ],
)
def test_floor_by_hand(classifier: float | None, accuracies: dict[str, float], floor: float, passing: str) -> None:
    rule = make_rule(accuracies, Expected(classifier))
    assert rule.floor == pytest.approx(floor)
    assert rule.passing == set(passing)
    assert (rule.trials, rule.warning) == (len(accuracies), None)


def test_words_have_the_numbers() -> None:
    assert make_rule({"a": 0.797, "b": 0.13, "c": 0.636}, Expected(0.585)).words == (
        "lowest distance among the 2 of 3 trials with a tag accuracy of at least 46.8% (0.8 of the smaller of the tag "
        "classifier's 58.5% on held-out real images and the best trial's 79.7%)"
    )
    assert make_rule({"a": 0.5, "b": 0.1}).words == (
        "lowest distance among the 1 of 2 trials with a tag accuracy of at least 40.0% (0.8 of the best trial's 50.0%)"
    )


def test_a_given_minimum_replaces_the_floor_and_zero_removes_it() -> None:
    accuracies = {"a": 0.9, "b": 0.3, "c": math.nan}
    assert make_rule(accuracies, Expected(0.9), minimum=0.3).passing == {"a", "b"}
    assert make_rule(accuracies, Expected(0.9), minimum=0.31).passing == {"a"}
    removed = make_rule(accuracies, Expected(0.9), minimum=0)
    assert (removed.floor, removed.choose("cab"), removed.warning) == (None, "c", None)
    assert removed.words == "lowest distance, whatever the tag accuracy (--min-tag-accuracy 0)"
    nobody = make_rule(accuracies, Expected(0.9), minimum=0.95)
    assert (nobody.passing, nobody.choose("cab")) == (set(), "c")
    assert nobody.warning == (
        "no trial has a tag accuracy of at least 95.0% (--min-tag-accuracy 0.95); the best has 90.0%; the winner has "
        "the lowest distance alone"
    )


@pytest.mark.parametrize("minimum", [-0.1, 1.5, math.nan])
def test_a_minimum_out_of_range_is_refused(minimum: float) -> None:
    with pytest.raises(AnalysisUsageError, match=f"--min-tag-accuracy is {minimum:g}; allowed: 0 to 1"):
        make_rule({"a": 0.5}, minimum=minimum)


def test_at_chance_nobody_follows_tags() -> None:
    """On 400 images, chance of 0.1 has a standard deviation of 0.015: 0.13 is within two of it, 0.14 is not."""
    samples = {"a": 400.0, "b": 400.0}
    at = make_rule({"a": 0.13, "b": 0.12}, Expected(0.6, 0.1), samples=samples)
    assert (at.floor, at.passing, at.choose("ba")) == (None, set(), "b")
    assert at.warning == (
        "no trial follows its tags: the best tag accuracy, 13.0%, is no better than always drawing the commonest tags "
        "(10.0%); the winner has the lowest distance alone"
    )
    above = make_rule({"a": 0.14, "b": 0.12}, Expected(0.6, 0.1), samples=samples)
    assert (above.passing, above.warning) == ({"a", "b"}, None)
    # What was asked for is not argued with.
    assert make_rule({"a": 0.13, "b": 0.12}, Expected(0.6, 0.1), minimum=0.13, samples=samples).passing == {"a"}


def test_a_trial_that_was_stopped_early_does_not_set_the_floor() -> None:
    """It may win where nothing that was scored on all images reaches what was asked for."""
    samples = {"a": 1000.0, "b": 1000.0, "early": 500.0}
    rule = make_rule({"a": 0.5, "b": 0.35, "early": 0.9}, samples=samples)
    assert (rule.floor, rule.best) == (pytest.approx(0.4), 0.5)
    assert rule.passing == {"a", "early"}
    asked = make_rule({"a": 0.5, "b": 0.35, "early": 0.9}, minimum=0.6, samples=samples)
    assert asked.choose(["b", "a", "early"]) == "early"


def test_a_classifier_at_chance_leaves_the_distance_alone() -> None:
    rule = make_rule({"a": 0.3, "b": 0.9}, Expected(0.1, 0.12, at_chance=True))
    assert (rule.floor, rule.choose("ab"), rule.warning) == (None, "a", None)
    assert rule.words == (
        "lowest distance alone: the tag classifier is right on 10.0% of held-out real images, no better than chance "
        "(always the commonest tags: 12.0%): tag accuracies say nothing"
    )
    assert make_rule({"a": 0.3, "b": 0.9}, Expected(0.1, 0.12, at_chance=True), minimum=0.5).passing == {"b"}


def test_without_a_tag_accuracy_the_distance_decides_and_it_is_said() -> None:
    rule = make_rule({"a": math.nan, "b": math.nan}, Expected(0.6))
    assert (rule.choose("ab"), rule.choose([])) == ("a", None)
    assert rule.warning == "no trial has a tag accuracy; the winner has the lowest distance alone"


# In a ranking ------------------------------------------------------------------------------------------------
def test_the_winner_follows_its_tags_and_the_table_its_distances() -> None:
    ranking = rank(sweep_of(REAL, data={"judge": {"accuracy": {"both": 0.585}}}))
    assert list(ranking.trials["key"]) == [key(0), key(1), key(2)]
    assert (ranking.best, ranking.best_by("distance")) == (key(1), key(0))
    told = ranking.to_json()
    assert (told["best"], told["rule"]) == (key(1), rule_of(ranking).words)
    assert told["rule_numbers"] == {
        "floor": pytest.approx(0.468), "minimum": None, "share": 0.8, "classifier": 0.585, "best_trial": 0.797,
        "chance": None, "passing": 2, "trials": 3, "unmet": False,
    }  # fmt: skip
    lines = format_table(ranking).splitlines()
    (marked,) = [line for line in lines if line.split()[2:3] == ["winner"]]
    assert marked.split()[:2] == ["2", key(1)]
    assert f"winner                {key(1)}: distance 3625.00, tag accuracy 79.7% at 40 kimg" in lines
    assert f"rule                  {rule_of(ranking).words}" in lines


def test_the_order_of_the_table_does_not_change_the_winner() -> None:
    sweep = sweep_of(REAL, data=JUDGE)
    assert {rank(sweep, by).best for by in ("distance", "tag_accuracy")} == {key(1)}
    assert rank(sweep, min_tag_accuracy=0).best == key(0)
    assert rank(sweep, min_tag_accuracy=0.8).best == key(0)  # nobody
    assert rank(sweep_of(REAL, data=JUDGE, settings={"min_tag_accuracy": 0.0})).best == key(0)
    assert rank(sweep_of(REAL, settings={"min_tag_accuracy": 0.0}), min_tag_accuracy=0.7).best == key(1)


def test_failed_trials_neither_win_nor_set_the_floor() -> None:
    rows = [{"scores.distance": 10.0, "scores.tag_accuracy": 0.5}, {"scores.distance": 5.0, "scores.tag_accuracy": 0.1},
            {"scores.distance": 1.0, "scores.tag_accuracy": 1.0, "status": schema.FAILED}]  # fmt: skip
    ranking = rank(make_sweep(rows))
    assert (ranking.best, rule_of(ranking).floor) == (key(0), pytest.approx(0.4))


def test_a_winner_beyond_the_shown_rows_is_shown() -> None:
    ranking = rank(sweep_of([(1.0 + number, 0.01) for number in range(9)] + [(20.0, 0.9), (30.0, 0.9)]))
    assert ranking.best == key(9)
    assert any(line.split()[1:3] == [key(9), "winner"] for line in format_table(ranking, top=2).splitlines())


def test_without_tags_there_is_no_rule() -> None:
    ranking = rank(make_sweep([{"scores.distance": 3.0}, {"scores.distance": 2.0}]))
    assert (ranking.best, ranking.rule, ranking.to_json()["rule"]) == (key(1), None, None)
    assert "lowest distance: the system takes no tags" in format_table(ranking)
    unscored = [{"scores.distance": 3.0, "params.generator.conditioning": "concat"}, {"scores.distance": 2.0}]
    ranking = rank(make_sweep(unscored))
    assert (ranking.best, rule_of(ranking).is_unmet) == (key(1), True)


def test_if_nobody_follows_its_tags_it_is_said_first() -> None:
    ranking = rank(sweep_of(REAL), min_tag_accuracy=0.9)
    assert ranking.best == key(0)
    assert format_table(ranking).splitlines()[1].startswith("NO TRIAL FOLLOWS ITS TAGS: no trial has a tag accuracy of")
    assert caveats(ranking)[0].label == "tags not followed"
    assert caveats(rank(sweep_of(REAL)))[0].label != "tags not followed"


def test_rivals_follow_their_tags() -> None:
    ends = {"metrics.interval/distance/low": 5.0, "metrics.interval/distance/high": 50.0}
    rows = [{"scores.distance": float(10 + number), "scores.tag_accuracy": accuracy, "samples": 9.0, **ends}
            for number, accuracy in enumerate((0.1, 0.9, 0.8))]  # fmt: skip
    (close,) = [one.reason for one in caveats(rank(make_sweep(rows))) if one.label == "not separable"]
    assert close == f"the 95% interval of the winner's distance overlaps that of {key(2)}"


# After a confirmation ----------------------------------------------------------------------------------------
def test_confirmed_means_replace_the_scores_of_the_search() -> None:
    """In the search the first follows its tags; over fresh seeds its mean is 0.3, below 0.8 of the second's 0.5."""
    rows: list[tuple[float | None, float | None]] = [(10.0, 0.9), (12.0, 0.5), (11.0, 0.2)]
    again = confirmed({0: [(10.0, 0.2), (10.4, 0.4)], 1: [(13.0, 0.4), (13.4, 0.6)]})
    ranking = rank(sweep_of(rows, **again))
    assert rank(sweep_of(rows)).best == key(0)
    assert (ranking.best, rule_of(ranking).floor) == (key(1), pytest.approx(0.4))
    assert list(ranking.trials["key"]) == [key(0), key(1), key(2)]
    confirmation = ranking.confirmation
    assert confirmation is not None
    assert (confirmation.best, confirmation.close) == (key(1), [])
    below, best = confirmation.of(key(0)), confirmation.of(key(1))
    assert below is not None
    assert best is not None
    assert (below.follows_tags, below.p_best, below.separable, best.p_best) == (False, None, None, 1.0)
    assert below.difference is not None
    assert below.difference.mean == pytest.approx(-3.0)
    assert f"below the least tag accuracy, whatever the distance: {key(0)}" in format_table(ranking)


def test_a_confirmed_trial_wins_before_an_unconfirmed_one_that_is_named() -> None:
    rows: list[tuple[float | None, float | None]] = [(10.0, 0.1), (11.0, 0.8), (12.0, 0.7)]
    ranking = rank(sweep_of(rows, **confirmed({0: [(10.0, 0.1)] * 2, 2: [(13.0, 0.7), (13.5, 0.7)]})))
    assert ranking.best == key(2)
    (rival,) = [one.reason for one in caveats(ranking) if "gansweep confirm" in one.reason]
    assert rival == (
        f"{key(1)} had a lower distance than the winner in the search and follows its tags; `gansweep confirm hand "
        f"--trial {key(1)}` confirms it"
    )


def test_if_no_confirmed_trial_follows_its_tags_an_unconfirmed_one_wins() -> None:
    rows: list[tuple[float | None, float | None]] = [(10.0, 0.1), (11.0, 0.8), (12.0, 0.2)]
    ranking = rank(sweep_of(rows, **confirmed({0: [(10.0, 0.1)] * 2, 2: [(12.0, 0.2), (12.5, 0.2)]})))
    assert ranking.best == key(1)
    assert "unconfirmed" in [one.label for one in caveats(ranking)]


def test_a_stopped_trial_sets_no_floor_for_confirmed_means() -> None:
    rows = [{"scores.distance": 10.0, "scores.tag_accuracy": 0.5, "samples": 1000.0},
            {"scores.distance": 20.0, "scores.tag_accuracy": 0.6, "samples": 500.0}]  # fmt: skip
    ranking = rank(make_sweep(rows, **confirmed({0: [(11.0, 0.4), (12.0, 0.4)]})))
    assert (ranking.best, rule_of(ranking).floor) == (key(0), pytest.approx(0.32))


def test_a_confirmation_at_a_smaller_budget_changes_no_winner() -> None:
    again = confirmed({0: [(10.0, 0.2), (10.4, 0.4)], 1: [(13.0, 0.4), (13.4, 0.6)]}, budget=20)
    assert rank(sweep_of([(10.0, 0.9), (12.0, 0.5)], settings={"max_kimg": 40}, **again)).best == key(0)


# The command -------------------------------------------------------------------------------------------------
def test_command_sets_and_removes_the_floor(history: History, logged: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Accuracies are 0.8, 0.7 and 0.9 at distances 41.5, 30.25 and, stopped, 90."""
    best = {}
    for minimum in ("0", "0.75", "0.85"):
        assert main([logged, "--home", str(history.home), "--json", "--min-tag-accuracy", minimum]) == 0
        best[minimum] = json.loads(capsys.readouterr().out)["best"]
    assert best == {"0": "faces-00001", "0.75": "faces-00000", "0.85": "faces-00002"}


def test_a_floor_out_of_range_is_a_usage_error_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nothing", "--home", str(tmp_path), "--min-tag-accuracy", "80"]) == 2
    assert "--min-tag-accuracy is 80; allowed: 0 to 1, and 0 removes the floor" in capsys.readouterr().err


def test_what_limits_tag_accuracies_is_read_from_the_data() -> None:
    """Of 100 images, 30 have the commonest tags; the tag classifier is right on 60, or on 28, of 100."""
    counts = [{"labels": [place], "count": count} for place, count in enumerate((30, 25, 25, 20))]

    def data(right: float, low: float, **more: Any) -> dict[str, Any]:
        report = {"accuracy": {"both": right}, "intervals": {"both": [low, right + 0.1]}}
        return {"judge": report, "combinations": counts, **more}

    assert expected_accuracy(data(0.6, 0.5)) == Expected(0.6, 0.3, at_chance=False)
    assert expected_accuracy(data(0.28, 0.2)) == Expected(0.28, 0.3, at_chance=True)
    assert expected_accuracy(data(0.6, 0.5, targets=["hair"])) == Expected(0.6, None)  # asks for tags equally often
    assert expected_accuracy(JUDGE) == Expected(0.5)
    assert expected_accuracy({}) == Expected()
    # 1,000 images: two standard deviations of 0.3 are 0.029.
    chance = rank(sweep_of([(10.0, 0.1), (20.0, 0.32)], data=data(0.6, 0.5)))
    assert (chance.best, rule_of(chance).is_unmet) == (key(0), True)
    above = rank(sweep_of([(10.0, 0.1), (20.0, 0.34)], data=data(0.6, 0.5)))
    assert above.best == key(1)
    alone = rank(sweep_of([(10.0, 0.1), (20.0, 0.9)], data=data(0.28, 0.2)))
    assert (alone.best, rule_of(alone).is_unmet) == (key(0), False)
    assert rule_of(alone).words.startswith("lowest distance alone: the tag classifier is right on 28.0%")
