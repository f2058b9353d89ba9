"""Statistics of seeds against closed forms, SciPy's own tests and simulations whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.repeats.seed_statistics import (
    DRAWS,
    EXACT,
    holm,
    paired_difference,
    probability_of_best,
    seeds_to_separate,
    separable_from,
    sign_flip_p,
    summarise,
)


def test_mean_spread_and_t_interval_by_hand() -> None:
    found = summarise([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.n, found.mean, found.method) == (5, 3.0, "t")
    assert found.sd == pytest.approx(math.sqrt(2.5))
    half = 2.7764451 * math.sqrt(2.5 / 5)  # t(0.975, 4) of the tables
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), rel=1e-7)


def test_missing_seeds_are_left_out() -> None:
    assert summarise([1.0, math.nan, 3.0]).mean == 2.0
    assert summarise([math.nan]).n == summarise([]).n == 0
    assert summarise([]).method == "none"


def test_one_seed_has_the_noise_of_its_sample_alone() -> None:
    known = summarise([10.0], [2.0])
    assert (known.low, known.high) == pytest.approx((10 - 1.959964 * 2, 10 + 1.959964 * 2), rel=1e-6)
    assert known.method == "sampling"
    assert math.isnan(known.sd)
    unknown = summarise([10.0])
    assert (unknown.method, unknown.mean) == ("none", 10.0)
    assert math.isnan(unknown.low)


def test_values_that_are_not_normal_get_a_bootstrap_interval() -> None:
    skewed = np.exp(np.random.default_rng(3).normal(0, 1.5, 30))
    assert stats.shapiro(skewed).pvalue < 0.01
    found = summarise(skewed)
    assert found.method == "bootstrap"
    # Pulled towards the long tail, as t's symmetric interval never is.
    assert found.high - found.mean > 1.2 * (found.mean - found.low) > 0
    assert summarise(skewed[:9]).method == "t"
    assert summarise([4.0] * 12).method == "t"


@pytest.mark.parametrize("n", [2, 5, 12])
def test_intervals_hold_the_truth_as_often_as_they_say(n: int) -> None:
    random, times = np.random.default_rng(n), 2000
    held = 0
    for _ in range(times):
        found = summarise(random.normal(7.0, 3.0, n))
        held += found.low <= 7.0 <= found.high
    assert abs(held / times - 0.95) < 4 * math.sqrt(0.95 * 0.05 / times)


def test_paired_difference_agrees_with_scipy() -> None:
    random = np.random.default_rng(0)
    first = random.normal(50, 10, 8)
    second = first + random.normal(1, 2, 8)
    found = paired_difference([*first, 3.0, math.nan], [*second, math.nan, 4.0])
    expected = stats.ttest_rel(second, first)
    low, high = expected.confidence_interval(0.95)
    assert found.n == 8
    assert (found.mean, found.p) == pytest.approx((np.mean(second - first), expected.pvalue))
    assert (found.low, found.high) == pytest.approx((low, high))
    exact = stats.permutation_test((second - first,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.p_signs == pytest.approx(exact.pvalue)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0], 1.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 2 / 32),
        ([-1.0, 2.0, 3.0, 4.0, 5.0], 4 / 32),  # |13| or more: nobody flipped, and the 1 flipped, each with its mirror
        ([0.1, 0.2, -0.3], 1.0),  # a sum that is 0 but for rounding
        ([0.0, 0.0], 1.0),
    ],
)
def test_sign_flips_by_hand(differences: list[float], expected: float) -> None:
    assert sign_flip_p(differences) == pytest.approx(expected)


def test_sign_flips_by_enumeration_and_beyond() -> None:
    values = np.random.default_rng(1).normal(0.4, 1, 10)
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product((1, -1), repeat=10)
    ]
    assert sign_flip_p(values) == np.mean(np.array(sums) >= abs(values.sum()) - 1e-12)
    many = np.random.default_rng(2).normal(0.3, 1, EXACT + 10)
    normal = 2 * stats.norm.sf(abs(many.sum()) / math.sqrt((many**2).sum()))
    assert sign_flip_p(many) == pytest.approx(normal, abs=0.02)
    assert sign_flip_p(np.ones(40)) == pytest.approx(1 / (DRAWS + 1))


def test_one_pair_has_no_interval() -> None:
    found = paired_difference([1.0], [3.0])
    assert (found.n, found.mean, found.p_signs) == (1, 2.0, 1.0)
    assert math.isnan(found.low)
    assert math.isnan(found.p)
    assert paired_difference([1.0], [math.nan]).n == 0


def test_equal_scores_differ_by_nothing() -> None:
    found = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert paired_difference([1.0, 2.0], [2.0, 3.0]).p == 0.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    with_missing = holm([0.02, math.nan, 0.5])
    assert with_missing[[0, 2]] == pytest.approx([0.04, 0.5])
    assert math.isnan(with_missing[1])
    assert len(holm([])) == 0


@pytest.mark.parametrize("configurations", [2, 4])
def test_equal_configurations_are_rarely_told_apart(configurations: int) -> None:
    random, times, wrong = np.random.default_rng(configurations), 600, 0
    for _ in range(times):
        of_seed = random.normal(0, 5, 5)
        scores = {str(c): list(of_seed + random.normal(0, 1, 5)) for c in range(configurations)}
        best = min(scores, key=lambda name: np.mean(scores[name]))
        wrong += any(apart for _, _, apart in separable_from(best, scores).values())
    allowed = 0.05 + 4 * math.sqrt(0.05 * 0.95 / times)
    assert wrong / times < allowed
    if configurations == 2:  # one comparison needs no correction: the rate is the stated one, not merely below it
        assert wrong / times > 0.05 - 4 * math.sqrt(0.05 * 0.95 / times)


def test_a_planted_effect_is_found_behind_noise_that_seeds_share() -> None:
    random, found = np.random.default_rng(0), 0
    for _ in range(100):
        of_seed = random.normal(0, 20, 5)
        scores = {name: list(of_seed + random.normal(mean, 1, 5)) for name, mean in (("a", 50), ("b", 58), ("c", 50))}
        told = separable_from("a", scores)
        found += told["b"][2]
        assert told["b"][0].mean == pytest.approx(np.mean(scores["b"]) - np.mean(scores["a"]))
    assert found > 90


def test_separability_counts_every_pair() -> None:
    scores = {"a": [1.0, 2.0, 3.0], "b": [2.1, 3.0, 4.2], "c": [9.0, 5.0, 7.0]}
    p = {
        pair: stats.ttest_rel(scores[pair[0]], scores[pair[1]]).pvalue for pair in (("a", "b"), ("a", "c"), ("b", "c"))
    }
    told = separable_from("a", scores)
    smallest = min(p, key=p.__getitem__)
    assert smallest == ("a", "b")
    assert told["b"][1] == pytest.approx(3 * p[smallest])
    assert set(told) == {"b", "c"}


def test_one_seed_separates_nothing() -> None:
    assert not separable_from("a", {"a": [1.0], "b": [100.0]})["b"][2]


def test_best_of_one_seed_is_a_question_of_sampling_noise() -> None:
    found = probability_of_best([[10.0], [12.0]], [[1.0], [2.0]])
    expected = stats.norm.cdf(2.0 / math.sqrt(5.0))
    assert found[0] == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / DRAWS))
    assert found.sum() == pytest.approx(1.0)
    assert probability_of_best([[10.0], [12.0]]).tolist() == [1.0, 0.0]


def test_best_of_two_seeds_by_hand() -> None:
    # b minus a: 2.5 and -1, mean 0.75 with standard error 3.5 / 2; t with one degree of freedom is Cauchy's.
    a, b = np.array([1.0, 5.0]), np.array([3.5, 4.0])
    expected = 0.5 + math.atan(0.75 / 1.75) / math.pi
    assert probability_of_best([a, b])[0] == pytest.approx(expected, abs=0.015)
    assert probability_of_best([a, b], maximize=True)[0] == pytest.approx(1 - expected, abs=0.015)


@pytest.mark.parametrize("n", [2, 3, 5, 10, 30])
def test_best_of_two_is_what_the_paired_t_says(n: int) -> None:
    random = np.random.default_rng(n)
    of_seed = random.normal(0, 20, n)
    table = [of_seed + random.normal(50, 1, n), of_seed + random.normal(50.5, 2, n)]
    expected = stats.ttest_rel(table[0], table[1], alternative="greater").pvalue  # that of being the lower one
    within = 4 * math.sqrt(expected * (1 - expected) / DRAWS)
    assert probability_of_best(table)[0] == pytest.approx(expected, abs=within)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_of_equal_configurations_one_is_rarely_almost_surely_the_best(n: int) -> None:
    random, times = np.random.default_rng(n), 300
    found = np.array([probability_of_best(random.normal(50, 5, (2, n))).max() for _ in range(times)])
    for level in (0.8, 0.95):  # at either end: twice what is left
        rate = 2 * (1 - level)
        assert abs((found >= level).mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / times)
    assert (found >= 0.99).mean() < 0.02 + 4 * math.sqrt(0.02 * 0.98 / times)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_of_several_equal_ones_too(n: int) -> None:
    random, times = np.random.default_rng(n), 300
    found = np.array([probability_of_best(random.normal(50, 5, (4, n))).max() for _ in range(times)])
    assert (found >= 0.95).mean() < 0.1 + 4 * math.sqrt(0.1 * 0.9 / times)


def test_a_clear_winner_is_almost_surely_the_best() -> None:
    random = np.random.default_rng(0)
    of_seed = random.normal(0, 20, 5)
    table = [of_seed + random.normal(mean, 1, 5) for mean in (58, 50, 58)]
    assert probability_of_best(table)[1] > 0.99
    assert probability_of_best(np.negative(table), maximize=True)[1] > 0.99


def test_equals_share_and_far_ones_lose() -> None:
    same = [1.0, 2.0, 4.0]
    assert probability_of_best([same, same, [60.0, 61.0, 62.0]]) == pytest.approx([0.5, 0.5, 0.0], abs=1e-3)


def test_the_same_seeds_are_drawn_for_all() -> None:
    seeds = np.random.default_rng(0).normal(0, 100, 6)
    # Apart from what the seeds share, one is always better by 1: drawing seeds separately would give about a half.
    assert probability_of_best([seeds, seeds + 1])[0] == 1.0


def test_a_known_noise_brings_probabilities_nearer() -> None:
    table = [[10.0, 11.0, 10.5], [10.9, 11.6, 11.4]]
    sure, unsure = probability_of_best(table)[0], probability_of_best(table, np.full((2, 3), 2.0))[0]
    assert 0.5 < unsure < sure


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10), (0.01, None)])
def test_seeds_to_separate_are_those_of_published_tables(effect: float, seeds: int | None) -> None:
    """Sample sizes of a two-sided paired t test at 0.05 and 80% power, as G*Power gives them for effects dz."""
    # Two differences with mean ``effect`` and standard deviation 1.
    difference = paired_difference([0.0, 0.0], [effect - 0.5**0.5, effect + 0.5**0.5])
    assert seeds_to_separate(difference) == seeds
    assert seeds_to_separate(paired_difference([0.0], [1.0])) is None
