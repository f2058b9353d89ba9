"""The kernel distance against torch-fidelity, torchmetrics and the formula."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.kid import poly_mmd

from trainables.errors import UsageError, UserError
from trainables.scoring.metrics import kid
from trainables.scoring.metrics.kid import KidReference, compute_kid


def features(seed: int, count: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, size=(count, 16))


@pytest.mark.parametrize(("real", "fake", "size"), [(90, 60, 30), (60, 90, 60), (70, 70, 20)])
def test_the_value_is_torch_fidelitys(real, fake, size) -> None:
    a, b = features(0, real), features(1, fake, 0.4)
    found = compute_kid(a, b, subsets=25, subset_size=size)
    theirs = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=25, kid_subset_size=size, verbose=False
    )
    assert found.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-10)
    assert found.value > 0.1


def test_whole_sets_give_torchmetrics_value() -> None:
    a, b = features(0, 50), features(1, 50, 0.4)
    found = compute_kid(a, b)
    theirs = float(poly_mmd(torch.from_numpy(a), torch.from_numpy(b)))
    assert found.value == pytest.approx(theirs, rel=1e-10)


def test_blocks_change_nothing(monkeypatch) -> None:
    a, b = features(0, 50), features(1, 41, 0.4)
    whole = compute_kid(a, b, subset_size=20)
    monkeypatch.setattr(kid, "BLOCK", 7)
    parts = compute_kid(a, b, subset_size=20)
    assert parts.value == pytest.approx(whole.value, rel=1e-10)
    assert parts.standard_error == pytest.approx(whole.standard_error, rel=1e-10)


def test_the_error_is_that_of_leaving_out_one_by_one() -> None:
    real, fake = features(0, 30), features(1, 20, 0.4)

    def discrepancy(x, y):
        def over_pairs(u, v):
            return (u @ v.T / 16 + 1) ** 3

        n, m = len(x), len(y)
        within = (over_pairs(x, x).sum() - np.trace(over_pairs(x, x))) / (n * (n - 1))
        within += (over_pairs(y, y).sum() - np.trace(over_pairs(y, y))) / (m * (m - 1))
        return within - 2 * over_pairs(x, y).mean()

    without = [discrepancy(real, np.delete(fake, i, axis=0)) for i in range(20)]
    found = compute_kid(real, fake, subset_size=10, subsets=50)
    theirs = kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), kid_subsets=50, kid_subset_size=10, verbose=False
    )
    between_subsets = theirs["kernel_inception_distance_std"] / np.sqrt(50)
    expected = np.hypot(np.sqrt(19 * np.var(without)), between_subsets)
    assert found.standard_error == pytest.approx(expected, rel=1e-9)


def test_it_is_unbiased_at_every_number_of_images() -> None:
    for count in (5, 40):
        values = [compute_kid(features(2 * i, 40), features(2 * i + 1, count), 1).value for i in range(400)]
        error = np.std(values) / 20
        assert abs(np.mean(values)) < 4 * error
        assert np.min(values) < 0 < np.max(values)


def test_a_reference_measures_each_set_as_if_it_were_the_first() -> None:
    reference = KidReference(features(0, 40))
    for count, seed in ((30, 1), (20, 1), (30, 2), (30, 1)):
        fake = features(count + seed, count)
        for one in (fake, fake + 1):
            theirs = kid_features_to_metric(
                torch.from_numpy(features(0, 40)), torch.from_numpy(one),
                kid_subsets=7, kid_subset_size=15, rng_seed=seed, verbose=False,
            )  # fmt: skip
            found = reference.distance(one, 7, 15, seed)
            assert found.value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
            assert found == compute_kid(features(0, 40), one, 7, 15, seed)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="0 subsets of 1000"):
        compute_kid(features(0, 9), features(1, 9), subsets=0)
    with pytest.raises(UsageError, match="100 subsets of 1 "):
        compute_kid(features(0, 9), features(1, 9), subset_size=1)
    with pytest.raises(UsageError, match="at least 3 images"):
        compute_kid(features(0, 9), features(1, 2))
    with pytest.raises(UsageError, match="features of 16 and 15 dimensions"):
        compute_kid(features(0, 9), features(1, 9)[:, :15])
    with pytest.raises(UserError, match="9 of 9 images are NaN"):
        compute_kid(features(0, 9), features(1, 9) * np.nan)
