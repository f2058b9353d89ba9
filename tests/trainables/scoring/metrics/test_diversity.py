"""Diversity within tags against hand arithmetic."""

import numpy as np
import pytest

from trainables.errors import UsageError, UserError
from trainables.scoring.metrics.diversity import diversity, diversity_by_tags

# A 3-4-5 triangle (mean distance 4), a pair at distance 10, one alone.
FEATURES = np.array([[0.0, 0], [3, 0], [0, 4], [100, 0], [106, 8], [50, 50]])
TAGS = np.array([[0, 1], [0, 1], [0, 1], [2, 0], [2, 0], [2, 1]])


def test_each_combinations_mean_distance() -> None:
    shuffled = np.array([3, 0, 5, 1, 4, 2])
    assert diversity_by_tags(FEATURES[shuffled], TAGS[shuffled]) == pytest.approx({(0, 1): 4.0, (2, 0): 10.0})
    assert diversity_by_tags(FEATURES[:3]) == pytest.approx({(): 4.0})


def test_images_count_alike_and_single_ones_are_skipped() -> None:
    found = diversity({(0, 1): 8.0, (2, 0): 5.0, (1, 1): 3.0}, FEATURES, TAGS)
    assert found.distance.value == pytest.approx((3 * 4 + 2 * 10) / 5)
    assert found.ratio.value == pytest.approx((3 * 4 + 2 * 10) / (3 * 8 + 2 * 5))
    assert found.ratios == pytest.approx({(0, 1): 0.5, (2, 0): 2.0})
    assert found.skipped == 1


def test_the_ratio_keeps_to_combinations_that_both_sides_have() -> None:
    found = diversity({(0, 1): 8.0, (2, 1): 1.0}, FEATURES, TAGS)
    assert found.distance.value == pytest.approx(32 / 5)
    assert found.ratio.value == pytest.approx(0.5)
    assert list(found.ratios) == [(0, 1)]


def test_without_tags_all_images_are_one_combination() -> None:
    found = diversity(diversity_by_tags(2 * FEATURES), FEATURES)
    assert found.ratio.value == pytest.approx(0.5)
    assert found.skipped == 0


def test_a_collapsed_generator_has_no_diversity_within_tags() -> None:
    rng = np.random.default_rng(0)
    tags = np.repeat(np.arange(10), 8)[:, None]
    real = rng.normal(size=(80, 6))
    collapsed = rng.normal(size=(10, 6))[tags[:, 0]]
    assert diversity(diversity_by_tags(real, tags), collapsed, tags).ratio.value == pytest.approx(0, abs=1e-6)
    fresh = diversity(diversity_by_tags(real, tags), rng.normal(size=(80, 6)), tags).ratio
    assert fresh.value == pytest.approx(1, abs=0.1)
    # A collapse in one combination alone shows in its own ratio.
    half = np.where(tags == 3, collapsed, real)
    one = diversity(diversity_by_tags(real, tags), half, tags)
    assert one.ratio.value == pytest.approx(0.9, abs=0.02)
    assert [combination for combination, ratio in one.ratios.items() if ratio < 0.5] == [(3,)]


def test_the_errors_are_those_of_leaving_out_one_by_one() -> None:
    real = {(0, 1): 8.0, (2, 0): 5.0}
    found = diversity(real, FEATURES, TAGS)
    without = [diversity(real, np.delete(FEATURES, i, axis=0), np.delete(TAGS, i, axis=0)) for i in range(5)]
    for name in ("distance", "ratio"):
        expected = np.sqrt(4 * np.var([getattr(one, name).value for one in without]))
        assert getattr(found, name).standard_error == pytest.approx(expected)
    assert [one.distance.value for one in without] == pytest.approx([30 / 4, 28 / 4, 26 / 4, 4, 4])


def test_what_does_not_exist_is_not_a_number() -> None:
    alone = diversity({}, FEATURES[2:4], TAGS[2:4])
    assert np.isnan([alone.distance.value, alone.ratio.value, *alone.distance.interval()]).all()
    assert alone.skipped == 2
    pair = diversity({(2, 0): 5.0}, FEATURES[3:5], TAGS[3:5]).ratio
    assert pair.value == 2
    assert np.isnan(pair.standard_error)
    assert np.isnan(diversity({(2, 0): 0.0}, FEATURES[3:5], TAGS[3:5]).ratio.value)


def test_impossible_features_are_refused() -> None:
    for tags in (TAGS[:5], TAGS[:, 0]):
        with pytest.raises(UsageError, match=r"tags .* and features of 6 images do not belong together"):
            diversity({}, FEATURES, tags)
    with pytest.raises(UsageError, match="at least 2 images"):
        diversity_by_tags(FEATURES[:1])
    with pytest.raises(UserError, match="6 of 6 images are NaN"):
        diversity({}, FEATURES * np.nan, TAGS)
