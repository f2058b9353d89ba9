"""All scores together, on points whose answers are known: same distribution, copies, collapse, collapse within tags."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from trainables.data.tags import UNKNOWN
from trainables.errors import UserError
from trainables.scoring.metrics import suite
from trainables.scoring.metrics.suite import MIN_IMAGES, FeatureScores, ImageSet, Reference, compare

ALWAYS = {"fd", "kid", "mmd", "precision", "recall", "density", "coverage", "memorised", "diversity"}


def points(count: int, seed: int, *, scale: float = 1.0, shift: float = 0.0, dimensions: int = 4) -> ImageSet:
    features = np.random.default_rng(seed).normal(shift, scale, (count, dimensions)).astype(np.float32)
    return ImageSet(features, np.arange(count))


def scored(real: ImageSet, fake: ImageSet, **options: object) -> FeatureScores:
    return compare(real, fake, distance="fd", **options)


def test_the_same_distribution_scores_like_real_against_real() -> None:
    found = scored(points(800, 0), points(400, 1))
    assert set(found.scores) == set(found.intervals) == set(found.floor) == ALWAYS
    assert found.floor_samples == 400
    assert found.scores["fd"] < 0.1
    assert found.floor["fd"] < 0.1
    low, high = found.intervals["kid"]
    assert low < 0 < high
    for name in ("precision", "recall", "density", "coverage", "diversity"):
        assert found.scores[name] == pytest.approx(found.floor[name], abs=0.1)
    assert found.scores["memorised"] < 0.05
    assert found.warnings == ()


def test_intervals_hold_their_scores() -> None:
    found = scored(points(200, 0), points(100, 1, shift=0.5))
    assert all(low <= found.scores[name] <= high for name, (low, high) in found.intervals.items())


def test_another_distribution_is_further_than_the_floor() -> None:
    """Moved by 3 in each of four places: the squared distance of the means alone is 36."""
    found = scored(points(800, 0), points(400, 1, shift=3.0))
    assert found.scores["fd"] == pytest.approx(36, rel=0.1)
    assert found.intervals["fd"][0] > 10 * found.floor["fd"]
    assert found.intervals["kid"][0] > 0
    assert found.scores["precision"] < 0.5
    assert found.scores["coverage"] < 0.5


def test_copies_are_memorised_even_of_a_reference_with_duplicates() -> None:
    real = points(200, 0)
    assert scored(real, real.select(np.arange(100))).scores["memorised"] == 1.0
    # Every real image is there twice: nearest to itself, were the contents not told apart.
    twice = ImageSet(np.repeat(real.features, 2, axis=0), np.repeat(real.contents, 2))
    assert scored(twice, real.select(np.arange(100))).scores["memorised"] == 1.0
    assert scored(twice, points(100, 5)).scores["memorised"] < 0.06


def test_one_image_over_and_over_has_no_diversity_and_no_recall() -> None:
    found = scored(points(200, 0), points(100, 1, scale=1e-3))
    assert found.scores["diversity"] < 0.01
    assert found.scores["recall"] < 0.05
    assert found.scores["precision"] > 0.9


def test_one_image_per_tag_shows_in_tag_diversity_alone() -> None:
    """Ten tags, ten centres: real images spread around theirs, drawn ones are the centres, again and again."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 5, (10, 4))

    def around(count: int, spread: float) -> ImageSet:
        labels = np.arange(count) % 10
        features = centres[labels] + rng.normal(0, spread, (count, 4))
        return ImageSet(features.astype(np.float32), np.arange(count), labels[:, None])

    real = around(400, 1.0)
    collapsed, fine = scored(real, around(200, 1e-3)), scored(real, around(200, 1.0))
    assert collapsed.scores["diversity"] > 0.8
    assert collapsed.scores["tag_diversity"] < 0.01
    assert fine.scores["tag_diversity"] == pytest.approx(1.0, abs=0.1)
    # Images whose tags are not all known belong to no combination.
    fake = around(200, 1.0)
    odd = ImageSet(
        np.concatenate([fake.features, fake.features[:50] * 1000]),
        np.arange(250),
        np.concatenate([fake.labels, np.full((50, 1), UNKNOWN)]),
    )
    assert scored(real, odd).scores["tag_diversity"] == pytest.approx(1.0, abs=0.1)
    untold = dataclasses.replace(fake, labels=np.full_like(fake.labels, UNKNOWN))
    assert "tag_diversity" not in scored(real, untold).scores


def test_tags_that_never_repeat_leave_their_diversity_unknown() -> None:
    real = dataclasses.replace(points(40, 0), labels=np.arange(40)[:, None])
    found = scored(real, dataclasses.replace(points(20, 1), labels=np.arange(20)[:, None]))
    assert found.scores["tag_diversity"] is None
    assert "tag_diversity" not in found.intervals


def test_unequal_numbers_are_compared_at_equal_ones() -> None:
    """Ten times as many drawn images would reach everywhere; coverage stays that of equal numbers."""
    real, few, many = points(100, 0), points(100, 1), points(1000, 1)
    equal, unequal = scored(real, few), scored(real, many)
    assert unequal.scores["coverage"] == pytest.approx(equal.scores["coverage"], abs=0.12)
    assert (equal.floor_samples, unequal.floor_samples) == (50, 50)
    assert any("50 images instead of 1000" in text for text in unequal.warnings)


def test_infinitely_many_images_take_the_excess_away() -> None:
    found = scored(points(4000, 0, dimensions=8), points(200, 1, dimensions=8), infinity=True)
    assert abs(found.scores["fd_infinity"]) < found.scores["fd"] / 2
    low, high = found.intervals["fd_infinity"]
    assert low < 0 < high  # both sides are the same distribution


def test_too_few_images_for_the_dimensions_are_warned_of() -> None:
    found = scored(points(80, 0, dimensions=40), points(40, 1, dimensions=40))
    assert any("40 samples are too few for a Frechet distance of 40 features" in text for text in found.warnings)


def test_the_seed_decides_and_the_least_number_suffices() -> None:
    real, fake = points(64, 0), points(MIN_IMAGES, 1)
    assert scored(real, fake, seed=1) == scored(real, fake, seed=1) != scored(real, fake, seed=2)
    found = scored(points(MIN_IMAGES, 0), points(MIN_IMAGES, 1), infinity=True)
    assert all(value is not None for value in found.scores.values())
    assert set(found.intervals) == set(found.scores)


def test_features_that_are_not_finite_are_refused() -> None:
    broken = points(40, 0)
    broken.features[3, 1] = np.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        scored(points(40, 1), broken)


def test_a_reference_is_restored_from_its_measurements(tmp_path) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, (90, 2))
    labels[0] = 7, 7  # a combination that occurs once has no distance
    features = random.normal(size=(90, 6)).astype(np.float32)
    for real in (ImageSet(features, np.arange(90), labels), ImageSet(features, np.arange(90))):
        expected = Reference.of(real, 40, 3)
        measured = expected.measurements()
        assert tuple(measured) == suite.MEASUREMENTS
        np.savez(tmp_path / "kept.npz", **measured)
        with np.load(tmp_path / "kept.npz") as kept:
            found = Reference.restore(real, 40, 3, kept)
        fake = ImageSet(random.normal(size=(50, 6)).astype(np.float32), np.arange(50), labels[:50] % 3)
        scores = [one.estimates(fake, "fd", 0) for one in (expected, found)]
        assert scores[0] == scores[1]
        assert ("tag_diversity" in scores[1]) == (real.labels is not None)


def test_a_reference_of_some_rows_is_that_of_these_images_alone(monkeypatch) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (120, 2))
    labels[::7] = UNKNOWN
    real = ImageSet(random.normal(size=(120, 6)).astype(np.float32), np.arange(120), labels)
    rows = random.permutation(120)[:90]
    for limit in (20, 50):
        monkeypatch.setattr(suite, "MAX_TAG_REFERENCE", limit)
        monkeypatch.setattr(suite, "MAX_COPY_REFERENCE", limit)
        found, expected = Reference.of(real, 40, 3, rows=rows), Reference.of(real.select(rows), 40, 3)
        assert np.array_equal(found.statistics.covariance, expected.statistics.covariance)
        assert np.array_equal(found.manifold.features, expected.manifold.features)
        assert np.array_equal(found.kid.features, expected.kid.features)
        assert np.array_equal(found.copy_features, expected.copy_features)
        assert np.array_equal(found.copy_distances, expected.copy_distances)
        assert len(found.copy_features) == limit
        assert (found.real_diversity, found.real_tag_diversity) == (
            expected.real_diversity,
            expected.real_tag_diversity,
        )
