"""The discrepancy of CMMD: by hand, against plain loops, and its standard error against fresh samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainables.errors import UsageError, UserError
from trainables.scoring.metrics.mmd import compute_mmd


def in_loops(real: np.ndarray, fake: np.ndarray) -> float:
    """The definition: means of a Gaussian kernel of width 10 over all pairs of unit vectors, times 1000."""

    def mean(left: np.ndarray, right: np.ndarray) -> float:
        kernel = [
            math.exp(-float(((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2).sum()) / (2 * 10**2))
            for a in left
            for b in right
        ]
        return math.fsum(kernel) / len(kernel)

    return 1000 * (mean(real, real) + mean(fake, fake) - 2 * mean(real, fake))


def test_opposite_directions_by_hand() -> None:
    """Unit vectors e and -e are 2 apart: 1000 (1 + 1 - 2 exp(-4 / 200))."""
    real, fake = np.tile([3.0, 0.0], (4, 1)), np.tile([-0.5, 0.0], (3, 1))
    assert compute_mmd(real, fake).value == pytest.approx(2000 * (1 - math.exp(-0.02)), rel=1e-6)


def test_right_angles_by_hand() -> None:
    """e and f are sqrt(2) apart, half of the generated images are e: 1000 (1 + (1 + k)/2 - (1 + k)), k = exp(-0.01)."""
    real, fake = np.tile([5.0, 0.0], (2, 1)), np.array([[1.0, 0.0], [0.0, 2.0]] * 3)
    assert compute_mmd(real, fake).value == pytest.approx(500 * (1 - math.exp(-0.01)), rel=1e-5)


@pytest.mark.parametrize("block", [2, 2048])
def test_it_is_the_definition(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.scoring.metrics.mmd.BLOCK", block)
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(7, 5)), random.normal(0.5, 2.0, size=(9, 5)).astype(np.float32)
    found = compute_mmd(real, fake)
    assert found.value == pytest.approx(in_loops(real, fake), rel=1e-5)
    without = np.array([in_loops(real, np.delete(fake, place, axis=0)) for place in range(9)])
    assert found.standard_error == pytest.approx(math.sqrt(8 / 9 * ((without - without.mean()) ** 2).sum()), rel=1e-4)
    assert compute_mmd(real, real).value == pytest.approx(0, abs=1e-5)


def test_the_length_of_features_does_not_matter_and_their_direction_does() -> None:
    random = np.random.default_rng(1)
    real, fake = random.normal(size=(50, 8)), random.normal(size=(40, 8))
    lengths = random.uniform(0.1, 9, (40, 1))
    assert compute_mmd(real, fake * lengths).value == pytest.approx(compute_mmd(real, fake).value, rel=1e-4)
    assert compute_mmd(real, fake + 1).value > 2 * compute_mmd(real, fake).value


def test_a_feature_vector_of_zeros_has_no_direction_and_no_error() -> None:
    real = np.tile([1.0, 0.0], (2, 1))
    fake = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    kernel = math.exp(-1 / 200)
    expected = 1000 * (1 + (5 + 4 * kernel) / 9 - 2 * (2 + kernel) / 3)
    assert compute_mmd(real, fake).value == pytest.approx(expected, rel=1e-3)


def test_the_interval_covers_fresh_samples() -> None:
    random = np.random.default_rng(2)
    real = random.normal(size=(200, 6))
    found = [compute_mmd(real, random.normal(0.4, 1, size=(100, 6))) for _ in range(60)]
    spread = np.std([one.value for one in found], ddof=1)
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.3)


def test_what_cannot_be_scored_is_refused() -> None:
    fine = np.ones((4, 3))
    with pytest.raises(UsageError, match="3 and 2"):
        compute_mmd(fine, np.ones((4, 2)))
    with pytest.raises(UsageError, match="at least 3"):
        compute_mmd(fine, fine[:2])
    with pytest.raises(UserError, match="NaN"):
        compute_mmd(fine, np.full((4, 3), np.nan))
