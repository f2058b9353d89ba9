"""How tags enter a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence


class TagEmbedding(nn.Module):
    """One learnt vector per class and group, concatenated; in training with fresh Gaussian noise (A).

    Labels ``(n, groups)`` int64, every one known -> ``(n, groups * dim)``.
    """

    def __init__(self, sizes: Sequence[int], dim: int, noise: float) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        self.noise = noise
        self.width = dim * len(sizes)

    def forward(self, labels: Tensor) -> Tensor:
        """Embed; noise only in training mode, so that a generator in use is deterministic."""
        vectors = [cast(Tensor, table(labels[:, place])) for place, table in enumerate(self.tables)]
        embedded = torch.cat(vectors, dim=1)
        if self.training and self.noise > 0:
            embedded = embedded + self.noise * torch.randn_like(embedded)
        return embedded


def one_hot(labels: Tensor, sizes: Sequence[int]) -> Tensor:
    """Labels ``(n, groups)`` -> float ``(n, sum(sizes))``; an unknown tag gives zeros in its group's places."""
    columns = []
    for place, size in enumerate(sizes):
        label = labels[:, place]
        known = (label >= 0).unsqueeze(1)
        columns.append(F.one_hot(label.clamp_min(0), size) * known)
    return torch.cat(columns, dim=1).float()
