"""The discriminator or critic: a trunk of convolutions, and a head that may guess the tags or be told them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from trainables.networks.blocks import PointConvTranspose2d, constrain_spectrum, initialise, norm_layer
from trainables.networks.dcgan import activated, dcgan_trunk
from trainables.networks.dense_first import matching_trunk
from trainables.networks.srresnet import srresnet_trunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainables.config import DiscriminatorConfig, GanConfig

TRUNKS = {"dcgan": dcgan_trunk, "matching": matching_trunk, "srresnet": srresnet_trunk}


class Judgement(NamedTuple):
    """What a discriminator says of ``n`` pictures."""

    realness: Tensor
    """Logits or critic scores ``(n,)``: higher means more real."""
    tags: list[Tensor]
    """One ``(n, classes)`` logits tensor per group; empty when it does not guess tags."""


class PlainHead(nn.Module):
    """E: one convolution over the whole map."""

    def __init__(self, config: DiscriminatorConfig, channels: int, base: int) -> None:
        super().__init__()
        self.realness = nn.Conv2d(channels, 1, base, bias=config.bias)

    def forward(self, features: Tensor, codes: Tensor) -> Judgement:
        """Feature map -> judgement; the codes are not looked at."""
        return Judgement(self.realness(features).flatten(), [])


class GuessingHead(nn.Module):
    """A and B: linear heads on the flattened map, one for realness and one per tag group."""

    def __init__(self, channels: int, base: int, tag_sizes: Sequence[int]) -> None:
        super().__init__()
        dense = channels * base * base
        self.realness = nn.Linear(dense, 1)
        self.tags = nn.ModuleList(nn.Linear(dense, size) for size in tag_sizes)

    def forward(self, features: Tensor, codes: Tensor) -> Judgement:
        """Feature map -> judgement; the codes are not looked at."""
        flat = features.flatten(1)
        return Judgement(self.realness(flat).squeeze(1), [head(flat) for head in self.tags])


class DenseHead(nn.Module):
    """D: the tag vector joins the flattened map; two dense layers, since one alone could only add a bias per tag."""

    def __init__(self, config: DiscriminatorConfig, channels: int, base: int, code: int) -> None:
        super().__init__()
        hidden = 8 * config.width
        self.layers = nn.Sequential(
            nn.Linear(channels * base * base + code, hidden), *activated(config), nn.Linear(hidden, 1)
        )

    def forward(self, features: Tensor, codes: Tensor) -> Judgement:
        """Feature map and tag codes -> judgement."""
        return Judgement(self.layers(torch.cat([features.flatten(1), codes], dim=1)).squeeze(1), [])


class MapHead(nn.Module):
    """C and F: the tag vector becomes a map, joins the features, and a convolution sees both.

    ``learnt`` (F): a square linear layer and a deconvolution make the map; else (C) the vector is repeated.
    """

    def __init__(self, config: DiscriminatorConfig, channels: int, base: int, code: int, *, learnt: bool) -> None:
        super().__init__()
        hidden = 8 * config.width
        self.base = base
        self.square = nn.Sequential(nn.Linear(code, code), *activated(config)) if learnt else nn.Identity()
        self.spread = (
            nn.Sequential(PointConvTranspose2d(code, code, base, bias=config.bias), *activated(config))
            if learnt
            else nn.Upsample(scale_factor=base)
        )
        self.layers = nn.Sequential(
            nn.Conv2d(channels + code, hidden, base, bias=config.bias),
            norm_layer(config.norm, hidden, config.norm_momentum),
            *activated(config),
            nn.Flatten(),
            nn.Linear(hidden, 1),
        )

    def forward(self, features: Tensor, codes: Tensor) -> Judgement:
        """Feature map and tag codes -> judgement."""
        tags = self.spread(self.square(codes)[:, :, None, None])
        return Judgement(self.layers(torch.cat([features, tags], dim=1)).squeeze(1), [])


class ProjectionHead(nn.Module):
    """Miyato & Koyama 2018: realness plus the inner product of summed features and an embedding of the tags."""

    def __init__(self, channels: int, base: int, code: int) -> None:
        super().__init__()
        self.realness = nn.Linear(channels * base * base, 1)
        self.embedding = nn.Linear(code, channels, bias=False)

    def forward(self, features: Tensor, codes: Tensor) -> Judgement:
        """Feature map and tag codes -> judgement."""
        match = (self.embedding(codes) * features.mean(dim=(2, 3))).sum(dim=1)
        return Judgement(self.realness(features.flatten(1)).squeeze(1) + match, [])


class Discriminator(nn.Module):
    """Pictures ``(n, 3, image_size, image_size)`` and tag codes ``(n, code)`` -> ``Judgement``."""

    def __init__(self, config: GanConfig, tag_sizes: Sequence[int], code: int) -> None:
        super().__init__()
        own = config.discriminator
        self.trunk, channels, base = TRUNKS[own.architecture](own, config.image_size)
        heads: dict[str, Callable[[], nn.Module]] = {
            "none": lambda: PlainHead(own, channels, base),
            "acgan": lambda: GuessingHead(channels, base, tag_sizes),
            "multilabel": lambda: GuessingHead(channels, base, tag_sizes),
            "concat": lambda: DenseHead(own, channels, base, code),
            "map": lambda: MapHead(own, channels, base, code, learnt=False),
            "combo": lambda: MapHead(own, channels, base, code, learnt=True),
            "projection": lambda: ProjectionHead(channels, base, code),
        }
        self.head = heads[own.conditioning]()
        initialise(self, own.init)
        if own.spectral_norm:
            constrain_spectrum(self)

    def forward(self, pictures: Tensor, codes: Tensor) -> Judgement:
        """Judge each picture."""
        return cast(Judgement, self.head(self.trunk(pictures), codes))
