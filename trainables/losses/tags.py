"""Tag classification losses that ignore unknown tags, and draws of wrong tags."""

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
    """Sum over groups of the mean cross-entropy over the images whose tag of that group is known (A).

    Args:
        logits: one ``(n, classes)`` tensor per group.
        labels: ``(n, groups)`` int64, ``UNKNOWN`` where masked; masked rows get exactly zero gradient.
    """
    total = labels.new_zeros((), dtype=torch.float32)
    for place, group in enumerate(map(widened, logits)):
        targets = labels[:, place]
        summed = F.cross_entropy(group, targets, ignore_index=UNKNOWN, reduction="sum")
        # The mean over no rows would be NaN; a batch without known tags must contribute 0 instead.
        total = total + summed / (targets != UNKNOWN).sum().clamp_min(1)
    return total


def multilabel_bce(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Sum over groups of the mean binary cross-entropy over images, with every class predicted separately (B).

    Args:
        logits: one ``(n, classes)`` tensor per group.
        labels: ``(n, groups)`` int64, ``UNKNOWN`` where masked; masked rows get exactly zero gradient.
    """
    total = labels.new_zeros((), dtype=torch.float32)
    for place, group in enumerate(map(widened, logits)):
        targets = labels[:, place]
        known = (targets != UNKNOWN).float()
        one_hot = F.one_hot(targets.clamp_min(0), group.shape[1]).to(group.dtype)
        rows = F.binary_cross_entropy_with_logits(group, one_hot, reduction="none").sum(dim=1)
        total = total + (rows * known).sum() / known.sum().clamp_min(1)
    return total


def wrong_tags(labels: Tensor, pool: Tensor, sizes: Sequence[int], how: str) -> Tensor:
    """Draw tags ``(n, groups)`` that differ from ``labels`` in at least one group.

    Args:
        labels: ``(n, groups)``, the right tags.
        pool: ``(m, groups)``, the tags of the data.
        sizes: number of classes of each group.
        how: ``data`` takes another image's tags, in the proportions of the data; ``balanced`` draws every group
            uniformly over its classes (D).
    """
    if how == "data":
        wrong = pool[torch.randint(len(pool), (len(labels),), device=labels.device)]
    else:
        wrong = torch.stack([torch.randint(size, (len(labels),), device=labels.device) for size in sizes], dim=1)
    # If the draw equals the right tags, replace the class of the first group by the next one.
    same = (wrong == labels).all(dim=1)
    corrected = wrong.clone()
    corrected[:, 0] = torch.where(same, (wrong[:, 0] + 1) % sizes[0], wrong[:, 0])
    return corrected
