"""H and I: generators that translate images, and discriminators that score patches of them.

The generator is H's ResNet (Johnson et al. 2016, Zhu et al. 2017). A translating generator takes images
``(n, channels, s, s)`` in [-1, 1] and requested labels ``(n, groups)`` of all tag groups, and uses those of the
target groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from trainables.networks.blocks import constrain_spectrum, initialise, norm_layer
from trainables.networks.conditioning import TagEncoder
from trainables.networks.dcgan import activated, dcgan_trunk, up_block
from trainables.networks.discriminator import DiscriminatorOutput
from trainables.networks.srresnet import Skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainables.config import DiscriminatorConfig, GanConfig, GeneratorConfig

HALVINGS = 2
"""Number of times that the image is halved before the residual blocks."""
STRIDED = 3
"""Stride-2 convolutions of a patch discriminator; fewer if less than 6 x 6 scores would remain (H: 70 px)."""


def translating_body(config: GeneratorConfig, channels: int, code: int = 0) -> nn.Sequential:
    """H: mirrored k7, two convolutions k3s2, residual blocks, two transposed k3s2, mirrored k7, tanh.

    ``code`` is the number of constant maps that are added to the image's ``channels``. With them, the first convolution
    has no norm: instance norm would remove what is constant over the image.
    """
    width = config.width
    first = _mirrored(channels + code, width, 7, config)
    layers: list[nn.Module] = [nn.Sequential(first, nn.ReLU(inplace=True)) if code else _normed(first, width, config)]
    for _ in range(HALVINGS):
        layers.append(_normed(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=config.bias), 2 * width, config))
        width *= 2
    layers += [_residual(width, config) for _ in range(config.blocks)]
    for _ in range(HALVINGS):
        up = nn.ConvTranspose2d(width, width // 2, 3, 2, 1, output_padding=1, bias=config.bias)
        width //= 2
        layers.append(_normed(up, width, config))
    return nn.Sequential(*layers, _mirrored(width, channels, 7, config), nn.Tanh())


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
    """H: a network per direction, chosen by the requested class of the target group: A is the first, B the second."""

    translates = True

    def __init__(self, config: GanConfig, target: int) -> None:
        super().__init__()
        self.target = target
        self.a_to_b = translating_body(config.generator, config.channels)
        self.b_to_a = translating_body(config.generator, config.channels)
        initialise(self, config.generator.init)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Translate each image to the domain requested in its row; rows may request different domains."""
        to_b = labels[:, self.target] == 1
        if torch.compiler.is_exporting():  # an exported graph has no branches: compute both directions, then select
            return torch.where(to_b[:, None, None, None], self.a_to_b(images), self.b_to_a(images))
        order = to_b.int().argsort(stable=True)
        first = len(to_b) - int(to_b.sum())
        parts = zip((self.b_to_a, self.a_to_b), (order[:first], order[first:]), strict=True)
        translated = torch.cat([network(images[rows]) for network, rows in parts if len(rows)])
        return translated[order.argsort()]


class StarGenerator(nn.Module):
    """I: one network for all targets; the one-hot target vector is repeated over the image as further channels."""

    translates = True

    def __init__(self, config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int]) -> None:
        super().__init__()
        self.targets = list(targets)
        self.encode = TagEncoder("one_hot", tuple(tag_sizes[place] for place in targets))
        self.body = translating_body(config.generator, config.channels, self.encode.width)
        initialise(self, config.generator.init)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Translate each image to the target classes requested in its row."""
        code = self.encode(labels[:, self.targets]).to(images.dtype)
        maps = code[:, :, None, None].expand(-1, -1, *images.shape[2:])
        return cast("Tensor", self.body(torch.cat([images, maps], dim=1)))


def patch_trunk(config: DiscriminatorConfig, size: int, channels: int = 3) -> tuple[nn.Sequential, int]:
    """H: convolutions k4s2 that double the filters, then one k4s1; no norm on the first.

    There are three strided convolutions from 64 px, two from 32 px, one below.

    Returns:
        The trunk and its channels.
    """
    strided = min(STRIDED, (size // 8).bit_length() - 1)
    layers: list[nn.Module] = []
    for step in range(strided + 1):
        width = config.width << step
        layers.append(nn.Conv2d(channels, width, 4, 2 if step < strided else 1, 1, bias=config.bias))
        if step:
            layers.append(norm_layer(config.norm, width, config.norm_momentum))
        layers += activated(config)
        channels = width
    return nn.Sequential(*layers), channels


class PatchDiscriminator(nn.Module):
    """H: maps images ``(n, channels, s, s)`` to a realness map ``(n, h, w)``, one score for each patch."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        settings = config.discriminator
        self.trunk, channels = patch_trunk(settings, config.image_size, config.channels)
        self.realness = nn.Conv2d(channels, 1, 4, 1, 1, bias=settings.bias)
        _prepare(self, settings)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """Score each patch."""
        return DiscriminatorOutput(self.realness(self.trunk(images)).squeeze(1), [])


class StarDiscriminator(nn.Module):
    """I: a trunk k4s2 down to 4 to 7 px, a k3 convolution that scores each position of the map, and one convolution
    over the whole map for each target group.
    """

    def __init__(self, config: GanConfig, target_sizes: Sequence[int]) -> None:
        super().__init__()
        settings = config.discriminator
        self.trunk, channels, base = dcgan_trunk(settings, config.image_size, config.channels)
        self.realness = nn.Conv2d(channels, 1, 3, 1, 1, bias=settings.bias)
        self.tags = nn.ModuleList(nn.Conv2d(channels, size, base, bias=settings.bias) for size in target_sizes)
        _prepare(self, settings)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        """Map images ``(n, c, s, s)`` to realness ``(n, base, base)`` and ``(n, classes)`` logits per target group."""
        features = self.trunk(images)
        return DiscriminatorOutput(
            self.realness(features).squeeze(1), [head(features).flatten(1) for head in self.tags]
        )


def _prepare(network: nn.Module, config: DiscriminatorConfig) -> None:
    initialise(network, config.init)
    if config.spectral_norm:
        constrain_spectrum(network)
