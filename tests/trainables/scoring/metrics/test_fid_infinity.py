"""The distance's limit, floor and warning against distributions of known distance."""

import numpy as np
import pytest

from trainables.errors import UsageError, UserError
from trainables.scoring.metrics.fid_infinity import (
    frechet_floor,
    frechet_infinity,
    infinity_estimate,
    sample_size_warning,
)
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance, frechet_distance_of_features


def test_the_limit_is_the_distance_of_the_distributions() -> None:
    rng = np.random.default_rng(0)
    real = FeatureStatistics(np.zeros(30), np.eye(30), 1_000_000)
    # 30 * (1.2 - 1)^2 + 30 * 0.1^2
    truth = 1.2 + 0.3
    samples = [rng.normal(0.1, 1.2, size=(800, 30)) for _ in range(20)]
    at_hand = np.mean([frechet_distance_of_features(real, sample) for sample in samples])
    limit = np.mean([frechet_infinity(real, sample) for sample in samples])
    assert at_hand > truth + 0.25
    assert limit == pytest.approx(truth, abs=0.05)


def test_the_limit_depends_on_the_seed_alone() -> None:
    real = FeatureStatistics(np.zeros(4), np.eye(4), 1000)
    fake = np.random.default_rng(0).normal(size=(64, 4))
    assert frechet_infinity(real, fake, seed=1) == frechet_infinity(real, fake, seed=1)
    assert frechet_infinity(real, fake, seed=1) != frechet_infinity(real, fake, seed=2)


@pytest.mark.parametrize("count", [24, 96])
def test_the_error_of_the_limit_is_its_spread_over_fresh_draws(count) -> None:
    rng = np.random.default_rng(1)
    real = FeatureStatistics(np.zeros(12), np.eye(12), 1_000_000)
    found = [infinity_estimate(real, rng.normal(0.3, 1.3, size=(count, 12)), points=6) for _ in range(120)]
    values, bounds = np.array([one.value for one in found]), np.array([one.interval() for one in found])
    assert 0.85 < np.mean([one.standard_error for one in found]) / values.std(ddof=1) < 1.6
    assert ((bounds[:, 0] <= values.mean()) & (values.mean() <= bounds[:, 1])).mean() > 0.91


def test_the_limit_with_an_error_is_the_same() -> None:
    real = FeatureStatistics(np.zeros(4), np.eye(4), 1000)
    fake = np.random.default_rng(0).normal(size=(64, 4))
    found = infinity_estimate(real, fake, seed=3)
    assert found.value == pytest.approx(frechet_infinity(real, fake, seed=3), abs=1e-9)
    sizes = np.linspace(16, 64, 15).astype(int)
    order = np.random.default_rng(3)
    distances = [frechet_distance_of_features(real, order.permutation(fake)[:size]) for size in sizes]
    assert found.value == pytest.approx(np.polyfit(1 / sizes, distances, 1)[1], abs=1e-9)
    assert infinity_estimate(real, np.tile([0.0, 0, 3, 0], (16, 1)), points=2).standard_error == pytest.approx(0)


def test_two_points_are_extrapolated_by_hand() -> None:
    # All subsets of one repeated image are at the same distance, so the line is flat.
    real = FeatureStatistics(np.zeros(3), 4 * np.eye(3), 1000)
    assert frechet_infinity(real, np.tile([0.0, 0, 3], (16, 1)), points=2) == pytest.approx(9 + 12)


def test_the_floor_is_the_distance_of_a_fresh_sample() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    real = rng.normal(size=(4000, 12)) @ mixing
    reference = FeatureStatistics.of(real)
    for samples in (8, 60):
        floor = frechet_floor(real, samples, repeats=40)
        fresh = [
            frechet_distance(reference, FeatureStatistics.of(rng.normal(size=(samples, 12)) @ mixing))
            for _ in range(40)
        ]
        assert floor == pytest.approx(np.mean(fresh), rel=0.1)
    assert frechet_floor(real, 60, seed=1) == frechet_floor(real, 60, seed=1)
    assert frechet_floor(real, 60, seed=1) != frechet_floor(real, 60, seed=2)
    assert frechet_floor(real, 60, seed=1) != frechet_floor(real, 60, seed=1, repeats=1)


def test_the_held_out_images_are_not_in_the_reference() -> None:
    # Two far clusters of 2 images each, half held out: two splits in six give the distance of the clusters.
    real = np.array([[0.0], [0], [10], [10]])
    # Each cluster on its side: 100. One image of each on either side: 0.
    found = [frechet_floor(real, 2, seed, repeats=1) for seed in range(60)]
    assert sorted({round(distance, 6) for distance in found}) == [0, 100]
    assert 5 < sum(distance > 50 for distance in found) < 35


def test_too_few_samples_are_told() -> None:
    assert sample_size_warning(1281, 1280) is None
    for samples in (2, 1280):
        warning = sample_size_warning(samples, 1280)
        assert warning is not None
        assert warning.startswith(f"{samples} samples are too few for a Frechet distance of 1280 features")
        assert "\n" not in warning


def test_impossible_requests_are_refused() -> None:
    real = np.random.default_rng(0).normal(size=(20, 3))
    for samples in (1, 11):
        with pytest.raises(UsageError, match=f"no floor at {samples} samples from 20 real images; .* 10, so"):
            frechet_floor(real, samples)
    with pytest.raises(UsageError, match="0 repeats"):
        frechet_floor(real, 5, repeats=0)
    with pytest.raises(UsageError, match="at least 16 images"):
        frechet_infinity(FeatureStatistics.of(real), real[:15])
    with pytest.raises(UsageError, match="1 points give no line"):
        frechet_infinity(FeatureStatistics.of(real), real, points=1)
    with pytest.raises(UserError, match="20 of 20 images are NaN"):
        frechet_infinity(FeatureStatistics.of(real), real * np.nan)
    with pytest.raises(UserError, match="20 of 20 images are NaN"):
        frechet_floor(real * np.nan, 5)
