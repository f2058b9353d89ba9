"""Real/fake losses: plain functions of logits or critic scores ``(n,)`` that return a scalar.

Each takes ``real``, whether the images should be classified as real, and ``labels``: hard, soft or noisy targets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "hard": ((1.0, 1.0), (0.0, 0.0)),
    "soft": ((0.8, 1.0), (0.0, 0.2)),
    "noisy": ((0.75, 1.25), (0.0, 0.25)),
}
"""Ranges of the targets for real and for fake images; soft ones as in report A, noisy ones as in E."""


def targets(logits: Tensor, *, real: bool, labels: str) -> Tensor:
    """Return one target per logit: the fixed label, or a uniform draw from its range."""
    low, high = LABEL_RANGES[labels][0 if real else 1]
    if low == high:
        return torch.full_like(logits, low)
    return torch.empty_like(logits).uniform_(low, high)


def bce(logits: Tensor, *, real: bool, labels: str = "hard") -> Tensor:
    """Mean binary cross-entropy (Goodfellow et al. 2014) against real or fake targets.

    Targets above 1 (noisy) are clamped to 1: above it the cross-entropy has no lower bound.
    """
    clamped = targets(logits, real=real, labels=labels).clamp(max=1.0)
    return F.binary_cross_entropy_with_logits(logits, clamped)


def lsgan(scores: Tensor, *, real: bool, labels: str = "hard") -> Tensor:
    """Mean squared distance to the targets (Mao et al. 2017)."""
    return F.mse_loss(scores, targets(scores, real=real, labels=labels))


def wgan(scores: Tensor, *, real: bool, labels: str = "hard") -> Tensor:
    """The critic's mean score, negated for real images (Arjovsky et al. 2017)."""
    return -scores.mean() if real else scores.mean()


def hinge(scores: Tensor, *, real: bool, labels: str = "hard") -> Tensor:
    """``max(0, 1 - s)`` for real and ``max(0, 1 + s)`` for fake images (Lim & Ye 2017)."""
    return F.relu(1 - scores if real else 1 + scores).mean()


def relativistic(higher: Tensor, lower: Tensor) -> Tensor:
    """Mean ``log(1 + exp(lower - higher))`` over pairs (Jolicoeur-Martineau 2019; paired as in Huang et al. 2024).

    Args:
        higher: scores ``(n,)`` that should be the higher ones: the discriminator's of real images, the generator's of
            its own.
        lower: scores ``(n,)`` of the other image of each pair.
    """
    return F.softplus(lower - higher).mean()


def gap(name: str, scores: Tensor, *, real: bool, labels: str = "hard") -> Tensor | None:
    """Return how far a discriminator's loss is above its minimum; ``None`` for a critic, whose loss has none.

    For soft and noisy labels the target is the mean of their range, so the variance of the random draw is left out.
    With BCE the gap is the divergence KL(target, prediction) in nats.
    """
    low, high = LABEL_RANGES[labels][0 if real else 1]
    if name == "bce":
        # The mean of a uniform draw that ``bce`` clamps to 1.
        target = (low + high) / 2 - max(0.0, high - 1.0) ** 2 / (2 * (high - low) or 1.0)
        least = -sum(share * math.log(share) for share in (target, 1 - target) if share > 0)
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, target)) - least
    if name == "lsgan":
        return (scores - (low + high) / 2).square().mean()
    return hinge(scores, real=real) if name == "hinge" else None


LOSSES: dict[str, Callable[..., Tensor]] = {"bce": bce, "lsgan": lsgan, "wgan": wgan, "hinge": hinge}


def generator_loss(name: str, scores: Tensor) -> Tensor:
    """Return a generator's loss: that of classifying its images as real; for hinge, the negated mean score."""
    return wgan(scores, real=True) if name == "hinge" else LOSSES[name](scores, real=True)
