"""The Frechet distance's standard error against leaving out one by one, and against the spread over fresh draws."""

import numpy as np
import pytest

from trainables.errors import UsageError, UserError
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.scoring.metrics.frechet_jackknife import frechet_estimate


def reference(count: int, dimensions: int, seed: int = 0) -> FeatureStatistics:
    rng = np.random.default_rng(seed)
    return FeatureStatistics.of(rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions)))


@pytest.mark.parametrize(
    ("images", "dimensions", "real"),
    [(3, 10, 40), (12, 20, 60), (20, 20, 60), (30, 10, 40), (12, 20, 6), (30, 10, 4)],
)
def test_the_error_is_that_of_leaving_out_one_by_one(images, dimensions, real) -> None:
    known = reference(real, dimensions)
    fake = np.random.default_rng(1).normal(0.3, 1, size=(images, dimensions))
    found = frechet_estimate(known, fake)
    without = [frechet_distance(known, FeatureStatistics.of(np.delete(fake, i, axis=0))) for i in range(images)]
    assert found.value == pytest.approx(frechet_distance(known, FeatureStatistics.of(fake)), rel=1e-6)
    assert found.standard_error == pytest.approx(np.sqrt((images - 1) * np.var(without)), rel=1e-5)
    assert found.count == images


@pytest.mark.parametrize(("images", "dimensions"), [(5, 8), (30, 8)])
def test_repeated_images_are_no_special_case(images, dimensions) -> None:
    known = reference(50, dimensions)
    fake = np.random.default_rng(1).normal(size=(images, dimensions))
    fake[1] = fake[0]
    without = [frechet_distance(known, FeatureStatistics.of(np.delete(fake, i, axis=0))) for i in range(images)]
    expected = np.sqrt((images - 1) * np.var(without))
    assert frechet_estimate(known, fake).standard_error == pytest.approx(expected, rel=1e-5)
    same = frechet_estimate(known, np.ones((images, dimensions)))
    assert same.standard_error == pytest.approx(0, abs=1e-9)
    assert same.value == pytest.approx(((known.mean - 1) ** 2).sum() + np.trace(known.covariance))


def gaussian(rng, count, mixing):
    return rng.normal(size=(count, len(mixing))) @ mixing + 0.2


def rectified(rng, count, mixing):
    return np.maximum(gaussian(rng, count, mixing), 0.0)


def log_normal(rng, count, mixing):
    return np.exp(0.6 * gaussian(rng, count, mixing))


@pytest.mark.parametrize("draw", [gaussian, rectified, log_normal])
@pytest.mark.parametrize("images", [12, 48, 192])
def test_the_interval_holds_the_mean_distance_over_fresh_draws(draw, images) -> None:
    rng = np.random.default_rng(images)
    dimensions = 24
    turned = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    mixing = (turned * np.arange(1, dimensions + 1) ** -0.5) @ turned.T
    known = FeatureStatistics.of(draw(rng, 5000, mixing))
    other = 1.2 * mixing + 0.03 * rng.normal(size=mixing.shape)
    found = [frechet_estimate(known, draw(rng, images, other)) for _ in range(300)]
    values = np.array([one.value for one in found])
    errors = np.array([one.standard_error for one in found])
    bounds = np.array([one.interval() for one in found])
    assert 0.85 < errors.mean() / values.std() < 1.3
    assert 0.86 < ((bounds[:, 0] <= values.mean()) & (values.mean() <= bounds[:, 1])).mean() < 0.995


def test_against_its_own_distribution_the_interval_is_wide_rather_than_narrow() -> None:
    rng = np.random.default_rng(0)
    known = FeatureStatistics(np.zeros(24), np.eye(24), 100_000)
    for images in (12, 48, 192):
        found = [frechet_estimate(known, rng.normal(size=(images, 24))) for _ in range(200)]
        ratio = np.mean([one.standard_error for one in found]) / np.std([one.value for one in found])
        assert 0.95 < ratio < 1.8, images


def test_impossible_features_are_refused() -> None:
    known = reference(20, 4)
    with pytest.raises(UsageError, match="at least 3 images"):
        frechet_estimate(known, np.ones((2, 4)))
    with pytest.raises(UsageError, match="features of 4 and 5 dimensions"):
        frechet_estimate(known, np.ones((9, 5)))
    with pytest.raises(UserError, match="1 of 9 images are NaN or infinite, first image 3"):
        frechet_estimate(known, np.where(np.arange(9)[:, None] == 3, np.nan, np.ones((9, 4))))
    with pytest.raises(UsageError, match="level 95 "):
        frechet_estimate(known, np.random.default_rng(0).normal(size=(9, 4))).interval(95)
