"""Real/fake losses against their closed forms."""

import math

import numpy as np
import pytest
import torch

from trainables.losses.adversarial import bce, targets

LOGITS = [-30.0, -2.0, -0.5, 0.0, 1.0, 4.0, 30.0]


def log1p_exp(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@pytest.mark.parametrize(("real", "sign"), [(True, -1.0), (False, 1.0)])
def test_hard_loss_is_minus_log_of_the_probability(real, sign) -> None:
    expected = log1p_exp(sign * np.array(LOGITS)).mean()  # -log sigmoid(x) = log(1 + e^-x)
    assert bce(torch.tensor(LOGITS), real=real).item() == pytest.approx(expected, rel=1e-6)


def test_an_undecided_discriminator_costs_log_two() -> None:
    for labels in ("hard", "soft"):
        assert bce(torch.zeros(5), real=True, labels=labels).item() == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize(("real", "low", "high"), [(True, 0.8, 1.0), (False, 0.0, 0.2)])
def test_soft_targets_are_uniform_in_their_range(real, low, high) -> None:
    torch.manual_seed(0)
    drawn = targets(torch.zeros(20_000), real=real, labels="soft")
    assert low <= drawn.min() < low + 1e-3
    assert high - 1e-3 < drawn.max() <= high
    assert drawn.mean().item() == pytest.approx((low + high) / 2, abs=2e-3)
    assert drawn.std().item() == pytest.approx(0.2 / math.sqrt(12), abs=1e-3)


def test_hard_targets_are_one_and_zero() -> None:
    assert targets(torch.ones(3), real=True, labels="hard").tolist() == [1.0, 1.0, 1.0]
    assert targets(torch.ones(3), real=False, labels="hard").tolist() == [0.0, 0.0, 0.0]


def test_soft_targets_are_drawn_anew() -> None:
    first, second = (targets(torch.zeros(4), real=True, labels="soft") for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("real", "mean"), [(True, 0.9), (False, 0.1)])
def test_the_soft_loss_is_that_of_the_mean_target(real, mean) -> None:
    torch.manual_seed(0)
    loss = bce(torch.full((20_000,), 2.0), real=real, labels="soft").item()
    expected = mean * math.log1p(math.exp(-2)) + (1 - mean) * math.log1p(math.exp(2))
    assert loss == pytest.approx(expected, abs=4e-3)  # the target's spread, 0.058, over sqrt(20,000), times 2


def test_the_gradient_pulls_towards_the_target() -> None:
    logits = torch.tensor([0.0, 2.0], requires_grad=True)
    bce(logits, real=True).backward()
    expected = [(1 / (1 + math.exp(-x)) - 1) / 2 for x in (0.0, 2.0)]
    assert logits.grad.tolist() == pytest.approx(expected, abs=1e-6)
