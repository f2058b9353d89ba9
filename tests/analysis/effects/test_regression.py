from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.effects.regression import adjusted_effect, paired_effect, share, share_difference


def test_equals_the_textbook_formula_of_least_squares_and_hc3() -> None:
    rng = np.random.default_rng(0)
    d, others = rng.normal(size=60), rng.normal(size=(60, 3))
    y = 2 * d + others @ [1, -1, 0.5] + rng.normal(size=60) * (1 + d**2)
    x = np.column_stack([d, np.ones(60), others])
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ x.T @ y
    leverage = np.diag(x @ inverse @ x.T)
    meat = x.T @ np.diag(((y - x @ coefficients) / (1 - leverage)) ** 2) @ x
    error = np.sqrt((inverse @ meat @ inverse)[0, 0])
    found = adjusted_effect(y, d, others)
    assert found is not None
    assert found.value == pytest.approx(coefficients[0])
    assert (found.high - found.low) / 2 / error == pytest.approx(stats.t.ppf(0.975, 20), rel=0.15)
    assert found.high - found.value == pytest.approx(found.value - found.low)


def test_two_groups_without_others_have_the_interval_of_unequal_variances() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 3, 8), rng.normal(0, 1, 200)
    found = adjusted_effect(np.r_[a, b], np.r_[np.ones(8), np.zeros(200)], np.empty((208, 0)))
    assert found is not None
    assert found.value == pytest.approx(a.mean() - b.mean())
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    # HC3 divides each group's variance by (n - 1)^2 / n instead of n - 1: a little wider for 8 trials.
    assert 1.0 <= (found.high - found.low) / (welch.high - welch.low) < 1.15


def test_columns_that_depend_on_each_other_change_nothing() -> None:
    rng = np.random.default_rng(2)
    d, others = rng.normal(size=50), rng.normal(size=(50, 2))
    y = d + others.sum(axis=1) + rng.normal(size=50)
    plain = adjusted_effect(y, d, others)
    doubled = adjusted_effect(y, d, np.column_stack([others, others @ [[1], [2]], np.ones(50)]))
    assert plain is not None
    assert doubled is not None
    assert (doubled.low, doubled.high) == pytest.approx((plain.low, plain.high))


def test_an_effect_that_the_others_explain_is_none() -> None:
    d = np.r_[np.ones(20), np.zeros(20)]
    assert adjusted_effect(np.arange(40.0), d, d[:, None]) is None
    assert adjusted_effect(np.arange(3.0), [0, 1, 1], np.empty((3, 0))) is None
    assert adjusted_effect(np.arange(30.0), np.ones(30), np.empty((30, 0))) is None  # it never varies


def test_the_strongest_of_too_many_columns_are_adjusted_for() -> None:
    rng = np.random.default_rng(3)
    others = rng.normal(size=(40, 60))
    d = rng.normal(size=40) + others[:, 17]
    y = 5 * others[:, 17] + rng.normal(size=40) * 0.1
    found = adjusted_effect(y, d, others)
    assert found is not None
    assert abs(found.value) < 0.5  # 2.5 without column 17


def test_pairs_have_the_interval_of_the_t_test() -> None:
    differences = [0.3, -0.1, 0.4, 0.2]
    found = paired_effect(differences)
    interval = stats.ttest_1samp(differences, 0).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert not found.separable
    assert paired_effect([1.0]) is None


def test_shares_have_newcombes_published_intervals() -> None:
    found = share_difference(56, 70, 48, 80)  # Newcombe 1998, table II, method 10, contrasts (a) and (g)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    none = share_difference(0, 10, 0, 20)
    assert (none.low, none.high) == pytest.approx((-0.1611, 0.2775), abs=1e-4)
    assert share(0, 10)[1] == 0.0
