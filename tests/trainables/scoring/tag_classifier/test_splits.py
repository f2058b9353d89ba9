"""The held-out split: shares, rare classes, near-duplicates."""

import numpy as np
import pytest

from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError
from trainables.scoring.tag_classifier.splits import stratified_split


def labels_of(counts: dict[tuple[int, ...], int], seed: int = 0) -> np.ndarray:
    rows = np.array([row for row, count in counts.items() for _ in range(count)], dtype=np.int64)
    return np.random.default_rng(seed).permutation(rows)


def test_both_sides_together_are_all_images() -> None:
    labels = labels_of({(0, 0): 31, (0, 1): 17, (1, 1): 5})
    train, held_out = stratified_split(labels, np.arange(53), 0.2, seed=3)
    assert sorted([*train, *held_out]) == list(range(53))
    assert list(train) == sorted(train)
    assert list(held_out) == sorted(held_out)


@pytest.mark.parametrize("seed", range(5))
def test_each_combination_gives_its_share_to_within_one(seed: int) -> None:
    counts = {(0, 0): 100, (0, 1): 40, (1, 0): 7, (1, 1): 60}
    labels = labels_of(counts)
    _, held_out = stratified_split(labels, np.arange(len(labels)), 0.25, seed)
    for row, count in counts.items():
        taken = (labels[held_out] == row).all(axis=1).sum()
        assert abs(taken - 0.25 * count) < 1 + 1e-9


def test_seed_decides_the_split() -> None:
    labels = labels_of({(0, 0): 100, (1, 1): 100})
    first, again, other = (stratified_split(labels, np.arange(200), 0.2, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_near_duplicates_stay_together() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 120, 300)
    labels = rng.integers(0, 3, (300, 2))
    train, held_out = stratified_split(labels, groups, 0.3, seed=0)
    assert not set(groups[train]) & set(groups[held_out])
    assert 0.2 < len(held_out) / 300 < 0.4


@pytest.mark.parametrize("seed", range(8))
def test_a_class_with_two_images_is_on_both_sides_and_a_single_one_is_learned(seed: int) -> None:
    labels = labels_of({(0, 0): 60, (0, 1): 2, (1, 0): 1})
    train, held_out = stratified_split(labels, np.arange(63), 0.1, seed)
    assert (labels[train, 1] == 1).sum() == (labels[held_out, 1] == 1).sum() == 1
    assert (labels[train, 0] == 1).sum() == 1


def test_unknown_is_no_class() -> None:
    """Two images without a tag need not be on both sides, but their known tags count."""
    labels = np.array([[UNKNOWN, UNKNOWN]] * 30 + [[0, UNKNOWN]] * 2 + [[UNKNOWN, 0]] * 2)
    train, held_out = stratified_split(labels, np.arange(34), 0.1, seed=0)
    for column in (0, 1):
        assert (labels[train, column] == 0).sum() == (labels[held_out, column] == 0).sum() == 1


@pytest.mark.parametrize("holdout", [0.0, 1.0, -0.1, float("nan")])
def test_impossible_share_is_refused(holdout: float) -> None:
    with pytest.raises(UsageError, match="held-out share"):
        stratified_split(np.zeros((4, 1), dtype=np.int64), np.arange(4), holdout, 0)


def test_mismatched_groups_are_refused() -> None:
    with pytest.raises(UsageError, match=r"labels \(4, 1\) and groups \(3,\)"):
        stratified_split(np.zeros((4, 1), dtype=np.int64), np.arange(3), 0.5, 0)
