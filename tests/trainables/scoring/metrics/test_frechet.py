"""The Frechet distance against closed forms and two other implementations."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid

from trainables.errors import UsageError, UserError
from trainables.scoring.metrics import frechet
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance, frechet_distance_of_features


def statistics(mean, covariance) -> FeatureStatistics:
    return FeatureStatistics(np.asarray(mean, float), np.asarray(covariance, float), 100)


def random_statistics(seed: int, count: int = 50, dimensions: int = 8, scale: float = 1.0) -> FeatureStatistics:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dimensions, dimensions))
    return FeatureStatistics.of(scale * rng.normal(size=(count, dimensions)) @ mixing + rng.normal(size=dimensions))


def by_sqrtm(a: FeatureStatistics, b: FeatureStatistics) -> float:
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root))


def test_statistics_are_numpys() -> None:
    features = np.random.default_rng(0).normal(3, 2, size=(20, 5)).astype(np.float32)
    found = FeatureStatistics.of(features)
    np.testing.assert_allclose(found.mean, features.mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(features.T.astype(np.float64)), rtol=1e-10)
    assert found.count == 20
    assert found.covariance.dtype == np.float64


def test_statistics_in_blocks_are_numpys(monkeypatch) -> None:
    features = np.random.default_rng(0).normal(3, 2, size=(200, 5)).astype(np.float32)
    rows = np.random.default_rng(1).permutation(200)[:120]
    monkeypatch.setattr(frechet, "BLOCK_ROWS", 32)
    for chosen in (None, rows):
        expected = (features if chosen is None else features[chosen]).astype(np.float64)
        found = FeatureStatistics.of(features, chosen)
        np.testing.assert_allclose(found.mean, expected.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.covariance, np.cov(expected.T), rtol=1e-10)
        assert found.count == len(expected)
    features[150, 2] = np.nan
    with pytest.raises(UserError, match="1 of 200 images are NaN or infinite, first image 150"):
        FeatureStatistics.of(features)


@pytest.mark.parametrize("seed", range(5))
def test_the_distance_is_that_of_two_other_implementations(seed) -> None:
    a, b = random_statistics(2 * seed), random_statistics(2 * seed + 1, scale=2)
    ours = frechet_distance(a, b)
    assert ours == pytest.approx(by_sqrtm(a, b), rel=1e-8)
    theirs = _compute_fid(*(torch.from_numpy(x) for x in (a.mean, a.covariance, b.mean, b.covariance)))
    assert ours == pytest.approx(theirs.item(), rel=1e-8)
    assert ours > 1


def test_equal_statistics_are_at_no_distance() -> None:
    a = random_statistics(0)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * np.trace(a.covariance))


def test_a_shift_costs_its_square() -> None:
    a = random_statistics(0)
    shifted = FeatureStatistics(a.mean + np.array([3.0, 4, 0, 0, 0, 0, 0, 0]), a.covariance, a.count)
    assert frechet_distance(a, shifted) == pytest.approx(25, rel=1e-9)


def test_independent_features_differ_by_their_deviations() -> None:
    # |m1 - m2|^2 + sum (s1 - s2)^2 = 1 + (1 - 3)^2 + (2 - 2)^2 + (5 - 1)^2
    a = statistics([0, 0, 0], np.diag([1.0, 4, 25]))
    b = statistics([0, 1, 0], np.diag([9.0, 4, 1]))
    assert frechet_distance(a, b) == pytest.approx(21, rel=1e-12)


def test_the_order_of_the_two_does_not_matter() -> None:
    a, b = random_statistics(0), random_statistics(1, count=5, scale=3)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-8)


def test_fewer_images_than_features() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    a = statistics(np.zeros(8), basis[:, :2] @ np.diag([4.0, 9]) @ basis[:, :2].T)
    b = statistics(np.zeros(8), basis[:, 1:3] @ np.diag([16.0, 25]) @ basis[:, 1:3].T)
    # They share one direction, of variances 9 and 16: 4 + 9 + 16 + 25 - 2 * sqrt(9 * 16) = 30
    assert frechet_distance(a, b) == pytest.approx(30, rel=1e-6)
    few = random_statistics(3, count=3)
    assert np.linalg.matrix_rank(few.covariance) == 2
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-5)
    # Beside a multiple of the identity the root is that of the other alone: tr(S) + 8 c - 2 sqrt(c) tr(sqrt(S))
    whole = statistics(few.mean, 4 * np.eye(8))
    values = np.clip(np.linalg.eigvalsh(few.covariance), 0, None)
    expected = values.sum() + 32 - 4 * np.sqrt(values).sum()
    assert frechet_distance(few, whole) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(whole, few) == pytest.approx(expected, rel=1e-6)


def test_a_point_is_at_the_distance_of_the_other_sides_spread() -> None:
    point = statistics([1, 2], np.zeros((2, 2)))
    assert frechet_distance(point, statistics([1, 2], np.diag([3.0, 5]))) == pytest.approx(8)
    assert frechet_distance(point, statistics([1, 5], np.zeros((2, 2)))) == pytest.approx(9)


def test_slightly_negative_variances_are_rounding_and_count_as_zero() -> None:
    a, b = statistics([0, 0], np.diag([1.0, 1])), statistics([0, 0], np.diag([4.0, -1e-4]))
    # 2 + (4 - 1e-4) - 2 * (sqrt(4) + 0), whichever side's root is taken
    assert frechet_distance(a, b) == pytest.approx(2 - 1e-4, abs=1e-7)
    assert frechet_distance(b, a) == pytest.approx(2 - 1e-4, abs=1e-7)


def test_a_known_root_is_used_and_equals_the_computed_one() -> None:
    a, b = random_statistics(0), random_statistics(1)
    np.testing.assert_allclose(a.root @ a.root, a.covariance, rtol=1e-9, atol=1e-9)
    known = FeatureStatistics(a.mean, a.covariance, a.count, scipy.linalg.sqrtm(a.covariance).real)
    assert frechet_distance(known, b) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    wrong = FeatureStatistics(a.mean, a.covariance, a.count, np.zeros((8, 8)))
    assert frechet_distance(wrong, b) > frechet_distance(a, b) + 1


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(UsageError, match="features of 8 and 4 dimensions"):
        frechet_distance(random_statistics(0), random_statistics(0, dimensions=4))


@pytest.mark.parametrize("shape", [(1, 4), (0, 4), (4,), (2, 2, 2)])
def test_too_few_features_are_refused(shape) -> None:
    with pytest.raises(UsageError, match="at least 2 images"):
        FeatureStatistics.of(np.zeros(shape))


@pytest.mark.parametrize("count", [2, 5, 11, 12, 13, 40])
def test_the_distance_of_features_is_that_of_their_statistics(count) -> None:
    real = random_statistics(0, dimensions=12)
    fake = np.random.default_rng(1).normal(0.5, 2, size=(count, 12))
    offset = 1e-13 * np.eye(12)  # scipy's root wants no singular matrix
    regular = [FeatureStatistics(x.mean, x.covariance + offset, x.count) for x in (real, FeatureStatistics.of(fake))]
    assert frechet_distance_of_features(real, fake) == pytest.approx(by_sqrtm(*regular), rel=1e-5)
    single = fake.astype(np.float32)
    expected = frechet_distance(real, FeatureStatistics.of(single.astype(np.float64)))
    assert frechet_distance_of_features(real, single) == pytest.approx(expected, rel=1e-6)


def test_features_beside_a_multiple_of_the_identity() -> None:
    # tr(S1) + tr(S2) - 2 tr((S1 S2)^(1/2)) = 9 * 6 + (8 + 2) - 2 * 3 * (sqrt(8) + sqrt(2)), and a shift of 4
    real = statistics([0, 0, 0, 0, 0, 2], 9 * np.eye(6))
    fake = np.array([[2.0, 1, 0, 0, 0, 0], [2, -1, 0, 0, 0, 0], [-2, 1, 0, 0, 0, 0], [-2, -1, 0, 0, 0, 0]])
    fake *= np.sqrt([8 * 3 / 16, 2 * 3 / 4, 1, 1, 1, 1])
    expected = 54 + 10 - 6 * (np.sqrt(8) + np.sqrt(2)) + 4
    assert frechet_distance_of_features(real, fake) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("count", "dimensions"), [(6, 20), (20, 20), (50, 20)])
def test_the_same_features_are_at_no_distance(count, dimensions) -> None:
    features = np.random.default_rng(0).normal(3, 1, size=(count, dimensions))
    real = FeatureStatistics.of(features)
    assert frechet_distance_of_features(real, features) == pytest.approx(0, abs=1e-6 * np.trace(real.covariance))
    assert frechet_distance_of_features(real, features + 1) == pytest.approx(dimensions, rel=1e-5)


def test_images_that_are_all_one_are_a_point() -> None:
    real = statistics([1, 2, 0], np.diag([3.0, 5, 1]))
    for count in (2, 8):
        assert frechet_distance_of_features(real, np.tile([1.0, 4, 0], (count, 1))) == pytest.approx(9 + 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_in_one_line(bad) -> None:
    features = np.ones((5, 4), np.float32)
    features[[2, 4], 1] = bad
    for refusing in (FeatureStatistics.of, lambda x: frechet_distance_of_features(random_statistics(0, 9, 4), x)):
        with pytest.raises(UserError, match=r"^features of 2 of 5 images are NaN or infinite, first image 2; .*$"):
            refusing(features)
    with pytest.raises(UserError, match="statistics of 100 images hold NaN or infinite"):
        statistics([0, bad], np.eye(2))
    with pytest.raises(UserError, match="statistics of 100 images hold NaN or infinite"):
        statistics([0, 0], np.diag([1, bad]))


def test_features_of_other_dimensions_are_refused() -> None:
    for count in (3, 20):
        with pytest.raises(UsageError, match="features of 8 and 4 dimensions"):
            frechet_distance_of_features(random_statistics(0), np.ones((count, 4)))
