"""Real/fake losses: plain functions of logits ``(n,)`` that return a scalar."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LABEL_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "hard": ((1.0, 1.0), (0.0, 0.0)),
    "soft": ((0.8, 1.0), (0.0, 0.2)),
}
"""Ranges of the targets for real and for fake pictures; soft ones as in report A."""


def targets(logits: Tensor, *, real: bool, labels: str) -> Tensor:
    """One target per logit: the fixed label, or a fresh uniform draw from its range."""
    low, high = LABEL_RANGES[labels][0 if real else 1]
    if low == high:
        return torch.full_like(logits, low)
    return torch.empty_like(logits).uniform_(low, high)


def bce(logits: Tensor, *, real: bool, labels: str = "hard") -> Tensor:
    """Mean binary cross-entropy (Goodfellow et al. 2014) of logits ``(n,)`` against real or fake targets."""
    return F.binary_cross_entropy_with_logits(logits, targets(logits, real=real, labels=labels))
