"""H and I: networks that make pictures of pictures, and discriminators that judge patches of them.

The generator is H's ResNet (Johnson et al. 2016, Zhu et al. 2017). A translating generator takes pictures
``(n, 3, s, s)`` in [-1, 1] and asked labels ``(n, groups)`` of all tag groups, and heeds those of the target groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from trainables.networks.blocks import constrain_spectrum, initialise, norm_layer
from trainables.networks.conditioning import TagEncoder
from trainables.networks.dcgan import activated, dcgan_trunk, up_block
from trainables.networks.discriminator import Judgement
from trainables.networks.srresnet import Skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainables.config import DiscriminatorConfig, GanConfig, GeneratorConfig

HALVINGS = 2
"""Of the picture on its way to the residual blocks."""
STRIDED = 3
"""Stride-2 convolutions of a patch discriminator, fewer where less than 6 x 6 judgements would be left (H: 70 px)."""


def translating_body(config: GeneratorConfig, code: int = 0) -> nn.Sequential:
    """H: mirrored k7, two convolutions k3s2, residual blocks, two transposed k3s2, mirrored k7, tanh.

    With a ``code`` of so many maps beside the colours, each of one value, the first convolution has no norm: what is
    the same everywhere would leave instance norm as nothing.
    """
    width = config.width
    first = _mirrored(3 + code, width, 7, config)
    layers: list[nn.Module] = [nn.Sequential(first, nn.ReLU(inplace=True)) if code else _normed(first, width, config)]
    for _ in range(HALVINGS):
        layers.append(_normed(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=config.bias), 2 * width, config))
        width *= 2
    layers += [_residual(width, config) for _ in range(config.blocks)]
    for _ in range(HALVINGS):
        up = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1, bias=config.bias)
        width //= 2
        layers.append(_normed(up, width, config))
    return nn.Sequential(*layers, _mirrored(width, 3, 7, config), nn.Tanh())


def _mirrored(inputs: int, outputs: int, kernel: int, config: GeneratorConfig) -> nn.Sequential:
    return nn.Sequential(nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, bias=config.bias))


def _normed(layer: nn.Module, channels: int, config: GeneratorConfig) -> nn.Sequential:
    return up_block(layer, channels, config, nn.ReLU(inplace=True))


def _residual(width: int, config: GeneratorConfig) -> nn.Module:
    return Skip(
        _normed(_mirrored(width, width, 3, config), width, config),
        _mirrored(width, width, 3, config),
        norm_layer(config.norm, width, config.norm_momentum),
    )


class CycleGenerator(nn.Module):
    """H: a network for each direction; the asked class of the target group, the first (A) or the second (B), picks."""

    translates = True

    def __init__(self, config: GanConfig, target: int) -> None:
        super().__init__()
        self.target = target
        self.a_to_b = translating_body(config.generator)
        self.b_to_a = translating_body(config.generator)
        initialise(self, config.generator.init)

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Translate each picture to the domain that its row asks for; rows may ask for different ones."""
        to_b = labels[:, self.target] == 1
        if torch.compiler.is_exporting():  # an exported graph has no branches: both directions, then a choice
            return torch.where(to_b[:, None, None, None], self.a_to_b(pictures), self.b_to_a(pictures))
        order = to_b.int().argsort(stable=True)
        first = len(to_b) - int(to_b.sum())
        parts = zip((self.b_to_a, self.a_to_b), (order[:first], order[first:]), strict=True)
        translated = torch.cat([network(pictures[rows]) for network, rows in parts if len(rows)])
        return translated[order.argsort()]


class StarGenerator(nn.Module):
    """I: one network for all targets; the one-hot target vector is repeated over the picture and joins its colours."""

    translates = True

    def __init__(self, config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int]) -> None:
        super().__init__()
        self.targets = list(targets)
        self.encode = TagEncoder("one_hot", tuple(tag_sizes[place] for place in targets))
        self.body = translating_body(config.generator, self.encode.width)
        initialise(self, config.generator.init)

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """Translate each picture to the target classes that its row asks for."""
        code = self.encode(labels[:, self.targets]).to(pictures.dtype)
        maps = code[:, :, None, None].expand(-1, -1, *pictures.shape[2:])
        return cast(Tensor, self.body(torch.cat([pictures, maps], dim=1)))


def patch_trunk(config: DiscriminatorConfig, size: int) -> tuple[nn.Sequential, int]:
    """H: convolutions k4s2 that double the filters, then one k4s1; no norm on the first. With the channels it ends in.

    Three strided ones from 64 px, two from 32 px, one below.
    """
    strided = min(STRIDED, (size // 8).bit_length() - 1)
    layers: list[nn.Module] = []
    channels = 3
    for step in range(strided + 1):
        width = config.width << step
        layers.append(nn.Conv2d(channels, width, 4, 2 if step < strided else 1, 1, bias=config.bias))
        if step:
            layers.append(norm_layer(config.norm, width, config.norm_momentum))
        layers += activated(config)
        channels = width
    return nn.Sequential(*layers), channels


class PatchDiscriminator(nn.Module):
    """H: pictures ``(n, 3, s, s)`` -> a judgement whose realness is a map ``(n, h, w)``, one score for each patch."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        own = config.discriminator
        self.trunk, channels = patch_trunk(own, config.image_size)
        self.realness = nn.Conv2d(channels, 1, 4, 1, 1, bias=own.bias)
        _prepare(self, own)

    def forward(self, pictures: Tensor) -> Judgement:
        """Judge each patch."""
        return Judgement(self.realness(self.trunk(pictures)).squeeze(1), [])


class StarDiscriminator(nn.Module):
    """I: a trunk k4s2 down to 4 to 7 px, a k3 convolution that judges each place of the map, and one convolution over
    the whole map for each target group.
    """

    def __init__(self, config: GanConfig, target_sizes: Sequence[int]) -> None:
        super().__init__()
        own = config.discriminator
        self.trunk, channels, base = dcgan_trunk(own, config.image_size)
        self.realness = nn.Conv2d(channels, 1, 3, 1, 1, bias=own.bias)
        self.tags = nn.ModuleList(nn.Conv2d(channels, size, base, bias=own.bias) for size in target_sizes)
        _prepare(self, own)

    def forward(self, pictures: Tensor) -> Judgement:
        """Pictures ``(n, 3, s, s)`` -> realness ``(n, base, base)`` and ``(n, classes)`` logits per target group."""
        features = self.trunk(pictures)
        return Judgement(self.realness(features).squeeze(1), [head(features).flatten(1) for head in self.tags])


def _prepare(network: nn.Module, config: DiscriminatorConfig) -> None:
    initialise(network, config.init)
    if config.spectral_norm:
        constrain_spectrum(network)
