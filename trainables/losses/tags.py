"""Auxiliary tag losses with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.data.tags import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence


def tag_cross_entropy(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Sum over groups of the mean cross-entropy over the pictures whose tag of that group is known (A).

    Args:
        logits: one ``(n, classes)`` tensor per group.
        labels: ``(n, groups)`` int64, ``UNKNOWN`` where masked: such rows get exactly zero gradient.
    """
    total = labels.new_zeros((), dtype=torch.float32)
    for place, group in enumerate(logits):
        wanted = labels[:, place]
        summed = F.cross_entropy(group.float(), wanted, ignore_index=UNKNOWN, reduction="sum")
        # The mean of no rows would be NaN; an all-masked batch must weigh nothing instead.
        total = total + summed / (wanted != UNKNOWN).sum().clamp_min(1)
    return total
