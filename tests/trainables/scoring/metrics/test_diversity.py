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
    found = diversity({(0, 1): 8.0, (2, 0): 5.0, (1, 1): 3.0, (2, 1): 7.0}, FEATURES, TAGS)
    assert found.value == pytest.approx((3 * 4 + 2 * 10) / (3 * 8 + 2 * 5))


def test_the_ratio_keeps_to_combinations_that_both_sides_have() -> None:
    assert diversity({(0, 1): 8.0, (2, 1): 1.0}, FEATURES, TAGS).value == pytest.approx(0.5)


def test_without_tags_all_images_are_one_combination() -> None:
    assert diversity(diversity_by_tags(2 * FEATURES), FEATURES).value == pytest.approx(0.5)


def test_a_collapsed_generator_has_no_diversity_within_tags() -> None:
    rng = np.random.default_rng(0)
    tags = np.repeat(np.arange(10), 8)[:, None]
    real = rng.normal(size=(80, 6))
    collapsed = rng.normal(size=(10, 6))[tags[:, 0]]
    assert diversity(diversity_by_tags(real, tags), collapsed, tags).value == pytest.approx(0, abs=1e-6)
    fresh = diversity(diversity_by_tags(real, tags), rng.normal(size=(80, 6)), tags)
    assert fresh.value == pytest.approx(1, abs=0.1)
    half = np.where(tags == 3, collapsed, real)  # a collapse in one combination of ten
    assert diversity(diversity_by_tags(real, tags), half, tags).value == pytest.approx(0.9, abs=0.02)


def test_the_error_is_that_of_leaving_out_one_by_one() -> None:
    real = {(0, 1): 8.0, (2, 0): 5.0}
    without = [diversity(real, np.delete(FEATURES, i, axis=0), np.delete(TAGS, i, axis=0)).value for i in range(5)]
    # The sides of the triangle and the pair, without each of the five images.
    assert without == pytest.approx([30 / 26, 28 / 26, 26 / 26, 0.5, 0.5])
    assert diversity(real, FEATURES, TAGS).standard_error == pytest.approx(np.sqrt(4 * np.var(without)))


def test_what_does_not_exist_is_not_a_number() -> None:
    alone = diversity({(0, 1): 1.0, (2, 0): 1.0}, FEATURES[2:4], TAGS[2:4])
    assert np.isnan([alone.value, *alone.interval()]).all()
    pair = diversity({(2, 0): 5.0}, FEATURES[3:5], TAGS[3:5])
    assert pair.value == 2
    assert np.isnan(pair.standard_error)
    assert np.isnan(diversity({(2, 0): 0.0}, FEATURES[3:5], TAGS[3:5]).value)


def test_impossible_features_are_refused() -> None:
    for tags in (TAGS[:5], TAGS[:, 0]):
        with pytest.raises(UsageError, match=r"tags .* and features of 6 images do not belong together"):
            diversity({}, FEATURES, tags)
    with pytest.raises(UsageError, match="at least 2 images"):
        diversity_by_tags(FEATURES[:1])
    with pytest.raises(UserError, match="6 of 6 images are NaN"):
        diversity({}, FEATURES * np.nan, TAGS)
