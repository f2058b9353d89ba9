"""Choices by eye, and the Bradley-Terry model over them."""

from __future__ import annotations

import itertools
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.optimize import minimize

from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.ranking.preference import Choice, add_preferences, fit_strengths, read_choices
from analysis.ranking.ranking import rank
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    from pathlib import Path


def choices(**wins: int) -> list[Choice]:
    """``ab=3``: a was chosen over b three times."""
    return [Choice(pair[0], pair[1], pair[0]) for pair, count in wins.items() for _ in range(count)]


def test_two_trials_have_the_closed_form() -> None:
    fitted = fit_strengths(choices(ab=6, ba=2), deviation=1e4)
    difference = math.log(6 / 2)  # maximum likelihood of a binomial's log-odds
    assert fitted["a"].share == pytest.approx(1 / (1 + math.exp(-difference / 2)), abs=1e-6)
    assert fitted["a"].share + fitted["b"].share == pytest.approx(1)
    assert list(fitted) == ["a", "b"]
    error = math.sqrt(1 / 6 + 1 / 2) / 2  # of half the difference
    assert fitted["a"].high == pytest.approx(1 / (1 + math.exp(-(difference / 2 + 1.96 * error))), abs=1e-6)
    assert fitted["a"].choices == fitted["b"].choices == 8


def test_the_posterior_agrees_with_a_general_optimizer() -> None:
    made = choices(ab=5, bc=4, ca=2, ad=3, da=1, dc=2)
    ties = [Choice("b", "d", None)] * 3
    keys = "abcd"

    def negative(strengths: np.ndarray) -> float:
        value = (strengths**2).sum() / (2 * 1.5**2)
        for choice in [*made, *ties]:
            left, right = strengths[keys.index(choice.left)], strengths[keys.index(choice.right)]
            first, second = np.log1p(np.exp(right - left)), np.log1p(np.exp(left - right))
            value += (
                (first + second) / 2 if choice.chosen is None else first if choice.chosen == choice.left else second
            )
        return float(value)

    found = minimize(negative, np.zeros(4), tol=1e-12).x
    expected = 1 / (1 + np.exp(-(found - found.mean())))
    fitted = fit_strengths([*made, *ties])
    assert [fitted[key].share for key in keys] == pytest.approx(list(expected), abs=1e-4)


def test_more_choices_narrow_the_interval_and_none_is_infinite() -> None:
    few, many = fit_strengths(choices(ab=3))["a"], fit_strengths(choices(ab=30))["a"]
    assert 0.5 < few.share < many.share < 1
    assert many.high - many.low < few.high - few.low
    assert fit_strengths([]) == {}


def test_the_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([-1.0, -0.2, 0.3, 0.9])
    held = []
    for _ in range(100):
        made = []
        for (i, left), (j, right) in itertools.combinations(enumerate("abcd"), 2):
            for _ in range(12):
                won = rng.random() < 1 / (1 + np.exp(truth[j] - truth[i]))
                made.append(Choice(left, right, left if won else right))
        fitted = fit_strengths(made)
        shares = 1 / (1 + np.exp(-(truth - truth.mean())))
        held += [fitted[key].low <= share <= fitted[key].high for key, share in zip("abcd", shares, strict=True)]
    assert 0.91 <= np.mean(held) <= 0.99


def test_ranking_by_preference() -> None:
    sweep = make_sweep([{"scores.distance": value} for value in (3.0, 2.0, 1.0)])
    first, second, third = sweep.trials["key"]
    made = [Choice(first, second, first)] * 4 + [Choice("other-00000", first, first)]
    ranking = rank(add_preferences(sweep, made), "preference")
    assert ranking.trials["key"].tolist() == [first, second, third]
    assert ranking.trials["rank"].isna().tolist() == [False, False, True]
    shown = ranking.to_json()["trials"][0]
    assert 0.5 < shown["scores"]["preference"] < 1
    low, high = shown["intervals"]["preference"]
    assert low < shown["scores"]["preference"] < high
    with pytest.raises(AnalysisUsageError, match="gansweep compare hand"):
        add_preferences(sweep, [Choice("x", "y", "x")])


@pytest.mark.parametrize(
    ("line", "named"),
    [("{", "Expecting"), ("[]", "left, right and chosen"), ('{"left":"a","right":"a","chosen":"a"}', "two keys"),
     ('{"left":"a","right":"b","chosen":"c"}', "'c'"), ('{"left":1,"right":"b","chosen":null}', "two keys")],
)  # fmt: skip
def test_a_damaged_line_is_named(line: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "preferences.jsonl"
    assert read_choices(path) == []
    path.write_text(json.dumps({"left": "a", "right": "b", "chosen": None}) + f"\n{line}\n")
    with pytest.raises(AnalysisError, match="line 2") as raised:
        read_choices(path)
    assert named in str(raised.value)
