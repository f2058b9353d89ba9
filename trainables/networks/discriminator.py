"""The discriminator or critic: a trunk of convolutions, and a head that may classify tags or take them as input."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from trainables.networks.blocks import GainLinear, PointConvTranspose2d, constrain_spectrum, initialise, norm_layer
from trainables.networks.dcgan import activated, dcgan_trunk
from trainables.networks.dense_first import matching_trunk
from trainables.networks.r3gan import r3gan_trunk
from trainables.networks.resize import unshuffle_trunk
from trainables.networks.srresnet import srresnet_trunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainables.config import DiscriminatorConfig, GanConfig

TRUNKS = {
    "dcgan": dcgan_trunk, "matching": matching_trunk, "srresnet": srresnet_trunk, "unshuffle": unshuffle_trunk,
    "r3gan": r3gan_trunk,
}  # fmt: skip


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator for ``n`` images."""

    realness: Tensor
    """Logits or critic scores ``(n,)``: higher means more real."""
    tags: list[Tensor]
    """One ``(n, classes)`` logits tensor per group; empty if it does not classify tags."""


class RealFakeHead(nn.Module):
    """E: one convolution over the whole map."""

    def __init__(self, config: DiscriminatorConfig, channels: int, base: int) -> None:
        super().__init__()
        self.realness = nn.Conv2d(channels, 1, base, bias=config.bias)

    def forward(self, features: Tensor, codes: Tensor) -> DiscriminatorOutput:
        """Feature map -> output; ignores the codes."""
        return DiscriminatorOutput(self.realness(features).flatten(), [])


class AuxiliaryClassifierHead(nn.Module):
    """A and B: linear heads on the flattened map, one for realness and one per tag group."""

    def __init__(self, channels: int, base: int, tag_sizes: Sequence[int]) -> None:
        super().__init__()
        dense = channels * base * base
        self.realness = nn.Linear(dense, 1)
        self.tags = nn.ModuleList(nn.Linear(dense, size) for size in tag_sizes)

    def forward(self, features: Tensor, codes: Tensor) -> DiscriminatorOutput:
        """Feature map -> output; ignores the codes."""
        flat = features.flatten(1)
        return DiscriminatorOutput(self.realness(flat).squeeze(1), [head(flat) for head in self.tags])


class DenseHead(nn.Module):
    """D: two dense layers on the flattened map and the tag vector; a single one could only add a bias per tag."""

    def __init__(self, config: DiscriminatorConfig, channels: int, base: int, code: int) -> None:
        super().__init__()
        hidden = 8 * config.width
        self.layers = nn.Sequential(
            nn.Linear(channels * base * base + code, hidden), *activated(config), nn.Linear(hidden, 1)
        )

    def forward(self, features: Tensor, codes: Tensor) -> DiscriminatorOutput:
        """Feature map and tag codes -> output."""
        return DiscriminatorOutput(self.layers(torch.cat([features.flatten(1), codes], dim=1)).squeeze(1), [])


class MapHead(nn.Module):
    """C and F: the tag vector is expanded to a map and concatenated with the features before a convolution.

    With ``learnt`` (F), a square linear layer and a deconvolution expand it; otherwise (C) the vector is repeated.
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

    def forward(self, features: Tensor, codes: Tensor) -> DiscriminatorOutput:
        """Feature map and tag codes -> output."""
        tags = self.spread(self.square(codes)[:, :, None, None])
        return DiscriminatorOutput(self.layers(torch.cat([features, tags], dim=1)).squeeze(1), [])


class ProjectionHead(nn.Module):
    """Miyato & Koyama 2018: realness plus the inner product of summed features and an embedding of the tags."""

    def __init__(self, channels: int, base: int, code: int) -> None:
        super().__init__()
        self.realness = nn.Linear(channels * base * base, 1)
        self.embedding = nn.Linear(code, channels, bias=False)

    def forward(self, features: Tensor, codes: Tensor) -> DiscriminatorOutput:
        """Feature map and tag codes -> output."""
        match = (self.embedding(codes) * features.mean(dim=(2, 3))).sum(dim=1)
        return DiscriminatorOutput(self.realness(features.flatten(1)).squeeze(1) + match, [])


class ProductHead(nn.Module):
    """Huang et al. 2024: the inner product of linearly mapped features and a linear map of the tags."""

    def __init__(self, channels: int, base: int, code: int) -> None:
        super().__init__()
        self.features = nn.Linear(channels * base * base, channels, bias=False)
        self.tags = GainLinear(code, channels, channels**-0.5)

    def forward(self, features: Tensor, codes: Tensor) -> DiscriminatorOutput:
        """Feature map and tag codes -> output."""
        return DiscriminatorOutput((self.features(features.flatten(1)) * self.tags(codes)).sum(dim=1), [])


class Discriminator(nn.Module):
    """Maps images ``(n, channels, size, size)`` and tag codes ``(n, code)`` to a ``DiscriminatorOutput``."""

    def __init__(self, config: GanConfig, tag_sizes: Sequence[int], code: int) -> None:
        super().__init__()
        settings = config.discriminator
        self.trunk, channels, base = TRUNKS[settings.architecture](settings, config.image_size, config.channels)
        heads: dict[str, Callable[[], nn.Module]] = {
            "none": lambda: RealFakeHead(settings, channels, base),
            "acgan": lambda: AuxiliaryClassifierHead(channels, base, tag_sizes),
            "multilabel": lambda: AuxiliaryClassifierHead(channels, base, tag_sizes),
            "concat": lambda: DenseHead(settings, channels, base, code),
            "map": lambda: MapHead(settings, channels, base, code, learnt=False),
            "combo": lambda: MapHead(settings, channels, base, code, learnt=True),
            "projection": lambda: ProjectionHead(channels, base, code),
            "product": lambda: ProductHead(channels, base, code),
        }
        self.head = heads[settings.conditioning]()
        initialise(self, settings.init)
        if settings.spectral_norm:
            constrain_spectrum(self)

    def forward(self, images: Tensor, codes: Tensor) -> DiscriminatorOutput:
        """Score each image."""
        return cast("DiscriminatorOutput", self.head(self.trunk(images), codes))
