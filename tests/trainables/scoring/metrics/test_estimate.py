"""Intervals against textbook values and against the spread over fresh draws."""

import numpy as np
import pytest

from trainables.errors import UsageError
from trainables.scoring.metrics.diversity import diversity, diversity_by_tags
from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.kid import compute_kid
from trainables.scoring.metrics.prdc import Manifold, manifold_scores


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.array([1.0, 2, 4, 9])
    without = (values.sum() - values) / 3
    found = Estimate.jackknife(4.0, without)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 2)
    low, high = found.interval()
    assert (low + high) / 2 == pytest.approx(4)
    assert (high - low) / 2 == pytest.approx(1.959964 * found.standard_error, rel=1e-6)
    assert Estimate.jackknife(4.0, without, extra_error=3.0).standard_error == pytest.approx(
        np.hypot(3.0, found.standard_error)
    )


def test_halves_spread_as_much_as_the_whole_over_fresh_draws() -> None:
    # The mean of a half without return has the variance s^2 / k * (1 - k / n); of the whole it is s^2 / n.
    rng = np.random.default_rng(0)
    for count in (40, 41):
        values = rng.normal(size=count)
        halves = np.array([rng.permutation(values)[: count // 2].mean() for _ in range(4000)])
        found = Estimate.from_half_samples(values.mean(), halves, count)
        assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(count), rel=0.05)
        assert found.count == count


def test_an_interval_stays_above_the_least_value() -> None:
    assert Estimate(0.5, 1.0, 9, lowest=0.0).interval()[0] == 0
    assert Estimate(0.5, 1.0, 9).interval()[0] == pytest.approx(0.5 - 1.959964)


def test_a_higher_level_is_wider() -> None:
    assert Estimate(0.0, 1.0, 9).interval(0.99)[1] == pytest.approx(2.575829, rel=1e-6)
    assert Estimate(0.0, 1.0, 9).interval(0.6827)[1] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Wilson's interval as printed by Newcombe 1998, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_a_share_has_wilsons_interval(right, count, low, high) -> None:
    found = Estimate.from_hits(np.arange(count) < right)
    assert found.value == right / count
    assert found.interval() == pytest.approx((low, high), abs=5e-5)
    mirrored = Estimate.from_hits(np.arange(count) >= right).interval()
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_a_share_by_the_jackknife_has_the_same_interval() -> None:
    hits = np.arange(50) < 12
    jackknifed = Estimate.jackknife(0.24, (12 - hits) / 49, share=True)
    assert jackknifed.interval() == pytest.approx(Estimate.from_hits(hits).interval(), abs=2e-3)
    certain = Estimate.jackknife(1.0, np.ones(20), share=True)
    assert certain.interval() == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


def test_no_interval_is_a_point() -> None:
    # Six of twenty, by Newcombe's method 3: (0.1455, 0.5190).
    unmoved = Estimate.jackknife(0.3, np.full(20, 0.3), share=True)
    assert unmoved.interval() == pytest.approx((0.1455, 0.5190), abs=5e-5)
    least = Estimate.jackknife(0.3, np.full(20, 0.3), share=True, min_error=0.01)
    assert (least.standard_error, least.count) == (0.01, 20)
    assert least.interval() == pytest.approx((0.2808, 0.3200), abs=1e-3)  # nearly 0.3 -+ 1.96 * 0.01
    assert Estimate.from_half_samples(0.3, np.full(9, 0.3), 20, min_error=0.02).standard_error == 0.02
    assert Estimate.from_half_samples(0.3, np.array([0.0, 0.6]), 20, min_error=0.02).standard_error > 0.4


def test_the_share_of_no_image_is_unknown() -> None:
    found = Estimate.from_hits(np.zeros(0, dtype=bool))
    assert np.isnan([found.value, *found.interval()]).all()


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.1])
def test_impossible_levels_are_refused(level) -> None:
    with pytest.raises(UsageError, match=f"level {level} "):
        Estimate(0.0, 1.0, 9).interval(level)


def test_the_intervals_of_all_scores_hold_their_mean_over_fresh_draws() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(100, 6))
    manifold, spread = Manifold.of(real), diversity_by_tags(real, np.arange(100)[:, None] % 4)
    drawn: dict[str, list[Estimate]] = {}
    for _ in range(250):
        fake = rng.normal(0.3, 0.9, size=(80, 6))
        scores = manifold_scores(manifold, fake)
        for name in ("precision", "recall", "density", "coverage"):
            drawn.setdefault(name, []).append(getattr(scores, name))
        drawn.setdefault("kid", []).append(compute_kid(real, fake, subsets=20))
        drawn.setdefault("diversity", []).append(diversity(spread, fake, rng.integers(4, size=(80, 1))))
    for name, found in drawn.items():
        values = np.array([one.value for one in found])
        errors = np.array([one.standard_error for one in found])
        bounds = np.array([one.interval() for one in found])
        assert 0.85 < errors.mean() / values.std() < 1.35, name
        holds = ((bounds[:, 0] <= values.mean()) & (values.mean() <= bounds[:, 1])).mean()
        assert 0.91 < holds < 0.998, name
