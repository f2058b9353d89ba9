"""Auxiliary tag losses with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.data.tags import UNKNOWN
from trainables.precision import widened

if TYPE_CHECKING:
    from collections.abc import Sequence


def tag_cross_entropy(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Sum over groups of the mean cross-entropy over the pictures whose tag of that group is known (A).

    Args:
        logits: one ``(n, classes)`` tensor per group.
        labels: ``(n, groups)`` int64, ``UNKNOWN`` where masked: such rows get exactly zero gradient.
    """
    total = labels.new_zeros((), dtype=torch.float32)
    for place, group in enumerate(map(widened, logits)):
        wanted = labels[:, place]
        summed = F.cross_entropy(group, wanted, ignore_index=UNKNOWN, reduction="sum")
        # The mean of no rows would be NaN; an all-masked batch must weigh nothing instead.
        total = total + summed / (wanted != UNKNOWN).sum().clamp_min(1)
    return total


def multilabel_bce(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Sum over groups of the mean binary cross-entropy over pictures, each class a yes or no of its own (B).

    Args:
        logits: one ``(n, classes)`` tensor per group.
        labels: ``(n, groups)`` int64, ``UNKNOWN`` where masked: such rows get exactly zero gradient.
    """
    total = labels.new_zeros((), dtype=torch.float32)
    for place, group in enumerate(map(widened, logits)):
        wanted = labels[:, place]
        known = (wanted != UNKNOWN).float()
        yes = F.one_hot(wanted.clamp_min(0), group.shape[1]).to(group.dtype)
        rows = F.binary_cross_entropy_with_logits(group, yes, reduction="none").sum(dim=1)
        total = total + (rows * known).sum() / known.sum().clamp_min(1)
    return total


def wrong_tags(labels: Tensor, pool: Tensor, sizes: Sequence[int], how: str) -> Tensor:
    """Tags ``(n, groups)`` that differ from ``labels`` in at least one group.

    Args:
        labels: ``(n, groups)``, the right tags.
        pool: ``(m, groups)``, the data's tags.
        sizes: classes of each group.
        how: ``data`` takes another picture's tags, in the data's own proportions; ``balanced`` draws every group
            uniformly over its classes (D).
    """
    if how == "data":
        wrong = pool[torch.randint(len(pool), (len(labels),), device=labels.device)]
    else:
        wrong = torch.stack([torch.randint(size, (len(labels),), device=labels.device) for size in sizes], dim=1)
    # Where the draw hit the right tags, the first group moves on to its next class.
    same = (wrong == labels).all(dim=1)
    moved = wrong.clone()
    moved[:, 0] = torch.where(same, (wrong[:, 0] + 1) % sizes[0], wrong[:, 0])
    return moved
