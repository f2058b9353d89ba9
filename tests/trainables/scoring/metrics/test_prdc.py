"""Neighbour scores against torch-fidelity, loops over all pairs and hand arithmetic."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch_fidelity.metric_prc import calculate_precision_recall_full

from trainables.errors import UsageError, UserError
from trainables.scoring.metrics import validation
from trainables.scoring.metrics.prdc import Manifold, copied_share, manifold_scores, nearest_distances


def two_sets(seed: int, real: int = 40, fake: int = 30, dimensions: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(real, dimensions)), rng.normal(0.8, 0.7, size=(fake, dimensions))


def reach(points, k):
    return np.array([sorted(np.linalg.norm(points - point, axis=1))[k] for point in points])


def brute(real, fake):
    apart = np.array([[np.linalg.norm(a - b) for a in real] for b in fake])
    three, five, of_fakes = reach(real, 3), reach(real, 5), reach(fake, 3)
    return {
        "precision": np.mean([any(row <= three) for row in apart]),
        "recall": np.mean([any(column <= of_fakes) for column in apart.T]),
        "density": np.mean([sum(row < five) / 5 for row in apart]),
        "coverage": np.mean([min(column) < five[i] for i, column in enumerate(apart.T)]),
    }


@pytest.mark.parametrize("seed", range(4))
def test_the_scores_are_those_of_loops_over_all_pairs(seed, monkeypatch) -> None:
    real, fake = two_sets(seed)
    expected = brute(real, fake)
    assert 0.2 < expected["recall"] < 0.9
    for block_numbers in (2**24, 100):
        monkeypatch.setattr(validation, "BLOCK_NUMBERS", block_numbers)
        found = manifold_scores(Manifold.of(real), fake)
        assert {name: getattr(found, name).value for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_precision_and_recall_are_torch_fidelitys(seed) -> None:
    real, fake = two_sets(seed, 60, 60, 8)
    theirs = calculate_precision_recall_full(torch.from_numpy(fake), torch.from_numpy(real), neighborhood=3)
    found = manifold_scores(Manifold.of(real.astype(np.float32)), fake)
    assert (found.precision.value, found.recall.value) == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_errors_are_those_of_leaving_out_one_by_one(seed, monkeypatch) -> None:
    monkeypatch.setattr(validation, "BLOCK_NUMBERS", 200)
    real, fake = two_sets(seed, 25, 14, 2)
    found = manifold_scores(Manifold.of(real), fake)
    without = [brute(real, np.delete(fake, i, axis=0)) for i in range(14)]
    for name in ("density", "coverage"):
        expected = np.sqrt(13 * np.var([scores[name] for scores in without]))
        assert getattr(found, name).standard_error == pytest.approx(expected, abs=1e-12), name
        assert expected > 0


def test_equal_sets_reach_each_other_and_distant_ones_do_not() -> None:
    real, _ = two_sets(0)
    same, far = manifold_scores(Manifold.of(real), real), manifold_scores(Manifold.of(real), real + 100)
    assert (same.precision.value, same.recall.value, same.coverage.value) == (1, 1, 1)
    assert (far.precision.value, far.recall.value, far.density.value, far.coverage.value) == (0, 0, 0, 0)
    for certain in (same.recall, same.precision):
        assert 0.8 < certain.interval()[0] < 1 == certain.interval()[1]


def test_a_collapsed_generator_is_precise_and_recalls_nothing() -> None:
    real, _ = two_sets(0)
    fake = real[np.zeros(30, dtype=int)] + 1e-3 * np.random.default_rng(0).normal(size=(30, 3))
    found = manifold_scores(Manifold.of(real), fake)
    assert found.precision.value == 1
    assert found.recall.value < 0.05
    assert found.coverage.value < 0.4


def test_the_coverage_and_recall_of_a_collapsed_generator_are_uncertain_too() -> None:
    """Nearly all drawn images are about one place; those that are covered at all are covered many times."""
    rng = np.random.default_rng(0)
    manifold = Manifold.of(rng.normal(size=(120, 6)))
    found = [manifold_scores(manifold, rng.normal(0.5, 0.25, size=(120, 6))) for _ in range(60)]
    for name in ("coverage", "recall"):
        mean = np.mean([getattr(one, name).value for one in found])
        bounds = np.array([getattr(one, name).interval() for one in found])
        # Recall is 0 but for one image now and then: bounds that end there or above it are as good.
        assert ((bounds[:, 0] <= max(mean, 1 / 120)) & (mean <= bounds[:, 1])).mean() > 0.9, name
        assert (bounds[:, 1] - bounds[:, 0] > 1 / 120).all(), name
        assert (bounds[:, 1] < 0.6).all(), name


def test_real_images_covered_by_many_only_leave_the_error_of_one() -> None:
    """Two clusters, of 6 real images and of 14; all drawn images are in the first: coverage is 6 of 20."""
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(0, 0.1, (6, 2)), rng.normal(50, 0.1, (14, 2))])
    found = manifold_scores(Manifold.of(real), rng.normal(0, 0.01, (30, 2))).coverage
    assert (found.value, found.standard_error) == (0.3, pytest.approx(29 / 30 / 20))
    low, high = found.interval()
    assert 0.2 < low < 0.25 < 0.35 < high < 0.45


def test_too_few_images_for_neighbours_are_refused() -> None:
    real, fake = two_sets(0)
    with pytest.raises(UsageError, match="at least 6 images"):
        Manifold.of(real[:5])
    with pytest.raises(UsageError, match="at least 8 images"):
        manifold_scores(Manifold.of(real), fake[:7])
    with pytest.raises(UsageError, match="features of 3 and 2 dimensions"):
        manifold_scores(Manifold.of(real), fake[:, :2])
    with pytest.raises(UserError, match="1 of 30 images are NaN or infinite, first image 7"):
        manifold_scores(Manifold.of(real), np.where(np.arange(30)[:, None] == 7, np.inf, fake))


def test_copies_are_found() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 10))
    fake = np.concatenate([rng.normal(size=(45, 10)) + 9, real[[7, 3, 7]], real[[5, 11]] + 1e-4])
    found = copied_share(real, nearest_distances(real), fake)
    assert found.value == 5 / 50
    low, high = found.interval()
    assert 0.01 < low < 0.1 < high < 0.25


def test_fresh_images_of_the_same_distribution_are_copies_once_in_a_hundred() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(2000, 5))
    found = copied_share(real, nearest_distances(real), rng.normal(size=(4000, 5)))
    assert 0.006 < found.value < 0.015
    assert copied_share(real, nearest_distances(real), 0.2 * rng.normal(size=(500, 5)) + 30).value == 0


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-20, 0.0), (1e30, 0.0), (1.0, 1e4)])
def test_copies_are_those_that_exact_distances_find(scale: float, offset: float) -> None:
    """Half the images lie about as far from a real one as the threshold; SciPy's distances decide."""
    rng = np.random.default_rng(2)
    real = rng.normal(size=(300, 64)).astype(np.float32) * scale + offset
    moved = real[rng.integers(300, size=100)] + rng.normal(size=(100, 64)) * scale * rng.uniform(0, 2, (100, 1))
    fake = np.concatenate([moved, rng.normal(size=(100, 64)) * scale + offset])
    threshold = np.quantile(nearest_distances(real), 0.01)
    expected = (cdist(fake, real).min(axis=1) <= threshold).mean()
    assert 0.2 < expected < 0.5
    assert copied_share(real, nearest_distances(real), fake).value == pytest.approx(expected)


def test_distances_between_real_images_skip_near_duplicates() -> None:
    real = np.array([[0.0, 0], [0, 0], [3, 4], [3, 16]])
    assert nearest_distances(real).tolist() == [0, 0, 5, 12]
    assert nearest_distances(real, np.array([1, 1, 2, 3])).tolist() == [5, 5, 5, 12]
    assert nearest_distances(real, np.array([1, 1, 2, 2])) == pytest.approx([5, 5, 5, np.hypot(3, 16)])


def test_impossible_neighbours_are_refused() -> None:
    real, fake = two_sets(0)
    for groups in (np.zeros(40, dtype=int), np.arange(39)):
        with pytest.raises(UsageError, match=r"groups .* of 40 images"):
            nearest_distances(real, groups)
    with pytest.raises(UsageError, match=r"nearest distances \(30,\) are not those of 40 real images"):
        copied_share(real, nearest_distances(fake), fake)
    with pytest.raises(UsageError, match="at least 1 images"):
        copied_share(real, nearest_distances(real), fake[:0])
    with pytest.raises(UsageError, match="at least 2 images"):
        nearest_distances(real[:1])
