"""Real/fake losses against their closed forms."""

import math

import numpy as np
import pytest
import torch

from trainables.config import GanConfig
from trainables.losses.adversarial import LOSSES, bce, generator_loss, hinge, lsgan, relativistic, targets, wgan
from trainables.systems.terms import paired_loss, realness_loss

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


SCORES = [-1.5, 0.0, 0.5, 3.0]


@pytest.mark.parametrize(
    ("loss", "real", "expected"),
    [
        # (s - 1)^2: 6.25, 1, 0.25, 4; s^2: 2.25, 0, 0.25, 9
        (lsgan, True, (6.25 + 1 + 0.25 + 4) / 4),
        (lsgan, False, (2.25 + 0 + 0.25 + 9) / 4),
        (wgan, True, -2.0 / 4),
        (wgan, False, 2.0 / 4),
        # max(0, 1 - s): 2.5, 1, 0.5, 0; max(0, 1 + s): 0, 1, 1.5, 4
        (hinge, True, (2.5 + 1 + 0.5 + 0) / 4),
        (hinge, False, (0 + 1 + 1.5 + 4) / 4),
    ],
)
def test_other_losses_by_hand(loss, real, expected) -> None:
    assert loss(torch.tensor(SCORES), real=real).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bce", log1p_exp(-np.array(SCORES)).mean()),
        ("lsgan", (6.25 + 1 + 0.25 + 4) / 4),
        ("wgan", -0.5),
        ("hinge", -0.5),  # not the hinge: max(0, 1 - s) would let go of an image that scores 1
    ],
)
def test_what_a_generator_minimises(name, expected) -> None:
    assert set(LOSSES) == {"bce", "lsgan", "wgan", "hinge"}
    assert generator_loss(name, torch.tensor(SCORES)).item() == pytest.approx(expected, rel=1e-6)


def test_a_pair_pays_for_the_score_that_should_be_higher() -> None:
    higher = torch.tensor([3.0, 1.0, 0.5], dtype=torch.double, requires_grad=True)
    lower = torch.tensor([1.0, 1.0, 2.0], dtype=torch.double, requires_grad=True)
    loss = relativistic(higher, lower)
    loss.backward()
    gaps = (2.0, 0.0, -1.5)
    assert loss.item() == pytest.approx(sum(math.log1p(math.exp(-gap)) for gap in gaps) / 3, rel=1e-12)
    # d/dgap log(1 + e^-gap) = -1 / (1 + e^gap)
    slopes = [-1 / (1 + math.exp(gap)) / 3 for gap in gaps]
    assert higher.grad.tolist() == pytest.approx(slopes, rel=1e-12)
    assert lower.grad.tolist() == pytest.approx([-slope for slope in slopes], rel=1e-12)


@pytest.mark.parametrize(("real", "low", "high"), [(True, 0.75, 1.25), (False, 0.0, 0.25)])
def test_noisy_targets_are_uniform_in_their_range(real, low, high) -> None:
    torch.manual_seed(0)
    drawn = targets(torch.zeros(20_000), real=real, labels="noisy")
    assert low <= drawn.min() < low + 1e-3
    assert high - 1e-3 < drawn.max() <= high
    assert drawn.mean().item() == pytest.approx((low + high) / 2, abs=4e-3)
    assert drawn.std().item() == pytest.approx((high - low) / math.sqrt(12), rel=0.02)


def test_noisy_cross_entropy_takes_targets_above_one_as_one() -> None:
    """Half of U[0.75, 1.25] is cut to 1, the rest has mean 0.875: 0.9375. A logit of 9 costs 9 (1 - target) or so."""
    torch.manual_seed(0)
    loss = bce(torch.full((20_000,), 9.0), real=True, labels="noisy").item()
    assert loss == pytest.approx(9 * (1 - 0.9375) + math.log1p(math.exp(-9)), rel=0.03)
    far = lsgan(torch.full((20_000,), 1.0), real=True, labels="noisy").item()
    assert far == pytest.approx(0.5**2 / 12, rel=0.05)  # the squared distance keeps them: the variance of U[0.75, 1.25]


@pytest.mark.parametrize(("adversarial", "sign"), [("bce", 0.5), ("hinge", 0.5), ("lsgan", None), ("wgan", None)])
def test_the_sign_of_real_scores_is_a_figure_where_zero_divides_real_from_generated(adversarial, sign) -> None:
    penalty = {"losses.penalty": "wgan_gp"} if adversarial == "wgan" else {}
    weights = GanConfig.from_params({"losses.adversarial": adversarial, "losses.labels": "hard", **penalty}).losses
    scores = torch.tensor([3.0, -0.5, 0.1, 2.0])  # three of four are above zero
    figures = realness_loss(weights, scores, real=True).figures
    assert (float(figures["d_sign_real"]) if "d_sign_real" in figures else None) == sign
    assert "d_sign_real" not in realness_loss(weights, scores, real=False).figures


def test_the_sign_of_pairs_compares_real_with_generated() -> None:
    changes = {"losses.adversarial": "relativistic", "losses.labels": "hard", "updates.split_discriminator": False}
    weights = GanConfig.from_params(changes).losses
    figures = paired_loss(weights, torch.tensor([3.0, -0.5, 0.1, 2.0]), torch.tensor([4.0, -1.0, 0.0, 1.0])).figures
    assert float(figures["d_sign_real"]) == 0.5
