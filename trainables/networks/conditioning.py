"""How tags enter a network: codes, learnt embeddings, and the vocabulary's table of combinations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

Pairs = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TagEncoder:
    """Labels ``(n, groups)`` -> float codes ``(n, width)``.

    ``sizes`` are the classes of each group; ``pairs`` the combinations that have a place of their own, in order.
    """

    encoding: str
    sizes: tuple[int, ...]
    pairs: Pairs = ()

    @property
    def width(self) -> int:
        """Places of the code."""
        if self.encoding == "pairs":
            return len(self.pairs)
        return sum(self.sizes) + {"one_hot": 0, "one_hot_unknown": 1, "one_hot_none": len(self.sizes)}[self.encoding]

    def __call__(self, labels: Tensor) -> Tensor:
        """Encode; a combination without a place gives zeros."""
        if self.encoding == "pairs":
            return self._encode_pairs(labels)
        columns = []
        for place, size in enumerate(self.sizes):
            label = labels[:, place]
            known = (label >= 0).unsqueeze(1)
            columns.append(F.one_hot(label.clamp_min(0), size) * known)
            if self.encoding == "one_hot_none":
                columns.append((~known).long())
        if self.encoding == "one_hot_unknown":
            columns.append((labels < 0).any(dim=1, keepdim=True).long())
        return torch.cat(columns, dim=1).to(torch.get_default_dtype())

    @cached_property
    def _table(self) -> Tensor:
        return torch.tensor(self.pairs, dtype=torch.long, device="cpu").view(len(self.pairs), len(self.sizes))

    def _encode_pairs(self, labels: Tensor) -> Tensor:
        return (labels.unsqueeze(1) == self._table.to(labels.device)).all(dim=2).to(torch.get_default_dtype())


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


class CodeInput(nn.Module):
    """The encoded tags as they are, or for pairs through a learnt square layer and ReLU (F)."""

    def __init__(self, encoder: TagEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = encoder.width
        square = nn.Linear(self.width, self.width)
        self.mix = nn.Sequential(square, nn.ReLU(inplace=True)) if encoder.encoding == "pairs" else nn.Identity()

    def forward(self, labels: Tensor) -> Tensor:
        """Labels ``(n, groups)`` -> ``(n, width)``."""
        return cast(Tensor, self.mix(self.encoder(labels)))
