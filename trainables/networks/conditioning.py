"""Tag inputs of networks: codes, learnt embeddings, and a table of tag combinations."""

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
    """Encodes labels ``(n, groups)`` as float codes ``(n, width)``.

    ``sizes`` are the numbers of classes of each group; ``pairs`` the combinations that have a column of their own, in
    order.
    """

    encoding: str
    sizes: tuple[int, ...]
    pairs: Pairs = ()

    @property
    def width(self) -> int:
        """Number of columns of the code."""
        if self.encoding == "pairs":
            return len(self.pairs)
        return sum(self.sizes) + {"one_hot": 0, "one_hot_unknown": 1, "one_hot_none": len(self.sizes)}[self.encoding]

    def __call__(self, labels: Tensor) -> Tensor:
        """Encode labels; a combination without a column gives zeros."""
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
    """One learnt vector per class and group, concatenated; with Gaussian noise in training mode (A).

    Maps labels ``(n, groups)`` int64, without unknown tags, to ``(n, groups * dim)``.
    """

    def __init__(self, sizes: Sequence[int], dim: int, noise: float) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        self.noise = noise
        self.width = dim * len(sizes)

    def forward(self, labels: Tensor) -> Tensor:
        """Embed labels; noise is added in training mode only, so that generation is deterministic."""
        vectors = [cast("Tensor", table(labels[:, place])) for place, table in enumerate(self.tables)]
        embedded = torch.cat(vectors, dim=1)
        if self.training and self.noise > 0:
            embedded = embedded + self.noise * torch.randn_like(embedded)
        return embedded


class LinearTags(nn.Module):
    """A linear layer without bias on the encoded tags: the sum of one learnt vector per tag (Huang et al. 2024)."""

    def __init__(self, encoder: TagEncoder, dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = dim
        self.vectors = nn.Linear(encoder.width, dim, bias=False)

    def forward(self, labels: Tensor) -> Tensor:
        """Map labels ``(n, groups)`` to ``(n, dim)``."""
        return cast("Tensor", self.vectors(self.encoder(labels)))


class CodeInput(nn.Module):
    """The encoded tags, unchanged; the encoding ``pairs`` passes through a learnt square layer and ReLU (F)."""

    def __init__(self, encoder: TagEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.width = encoder.width
        square = nn.Linear(self.width, self.width)
        self.mix = nn.Sequential(square, nn.ReLU(inplace=True)) if encoder.encoding == "pairs" else nn.Identity()

    def forward(self, labels: Tensor) -> Tensor:
        """Map labels ``(n, groups)`` to ``(n, width)``."""
        return cast("Tensor", self.mix(self.encoder(labels)))
