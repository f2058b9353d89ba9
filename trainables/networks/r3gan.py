"""Body and trunk of R3GAN (Huang et al. 2024): residual blocks without norms between a learned basis and a pooling one.

Convolutions have no biases; activations have one per channel. See ``dcgan`` for the terms body and trunk.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.config import upsampling_steps
from trainables.networks.blocks import LEAK, CodedSequential, GainConv2d

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig

EXPANSION = 2
"""Channels of a block's middle convolution, in multiples of its input's."""
GROUP = 16
"""Channels of each group of the middle convolution; fewer where 16 does not divide them."""
BLOCKS = 2
"""Residual blocks of a stage."""


class BiasActivation(nn.Module):
    """A learned bias per channel, then LeakyReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, channels, h, w)``; the shape is unchanged."""
        return F.leaky_relu(maps + self.bias[:, None, None], LEAK)


class ResidualBlock(nn.Module):
    """``x + conv1(act(group_conv3(act(conv1(x)))))``.

    At first it is the identity: its last convolution starts at 0. The others start with the gain of the activation
    times ``depth**-0.25``, where ``depth`` is the number of blocks of the network (Fixup; Zhang et al. 2019).
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        gain, inner = math.sqrt(2 / (1 + LEAK**2)) * depth**-0.25, EXPANSION * channels
        self.layers = nn.Sequential(
            GainConv2d(channels, inner, 1, gain),
            BiasActivation(inner),
            GainConv2d(inner, inner, 3, gain, groups=inner // math.gcd(inner, GROUP)),
            BiasActivation(inner),
            GainConv2d(inner, channels, 1, 0.0),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, channels, h, w)``; the shape is unchanged."""
        return maps + cast("Tensor", self.layers(maps))


class LearnedBasis(nn.Module):
    """Maps a code ``(n, code, 1, 1)`` to ``(n, channels, side, side)``: each channel's pattern times a number.

    A linear layer without bias computes the numbers; the patterns start as N(0, 1).
    """

    def __init__(self, code: int, channels: int, side: int) -> None:
        super().__init__()
        self.patterns = nn.Parameter(torch.randn(channels, side, side))
        self.amounts = nn.Linear(code, channels, bias=False)

    def forward(self, code: Tensor) -> Tensor:
        """Scale the patterns by the amounts."""
        return self.patterns * cast("Tensor", self.amounts(code.flatten(1)))[:, :, None, None]


class Resample(nn.Module):
    """Doubles or halves the size of maps with the filter [1, 2, 1] in both directions, and zeros outside.

    Up: pixels ``a, b`` become ``a, (a + b) / 2, b, b / 2``. Down: ``(a + 2 b + c) / 4`` around every second pixel.
    """

    kernel: Tensor

    def __init__(self, *, up: bool) -> None:
        super().__init__()
        line = torch.tensor([0.5, 1.0, 0.5]) if up else torch.tensor([0.25, 0.5, 0.25])
        self.up = up
        self.register_buffer("kernel", line[:, None] * line)

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, channels, h, w)`` -> ``(n, channels, 2 h, 2 w)``, or half of each."""
        channels = maps.shape[1]
        kernel = self.kernel.to(maps.dtype).expand(channels, 1, 3, 3)
        if self.up:
            return F.conv_transpose2d(maps, kernel, stride=2, padding=1, output_padding=1, groups=channels)
        return F.conv2d(maps, kernel, stride=2, padding=1, groups=channels)


def stage_widths(width: int, max_width: int, steps: int) -> list[int]:
    """Return the channels of the ``steps + 1`` stages, the largest maps first: doubled up to ``max_width``.

    768 and 768 are the paper's networks up to 64 px, 96 and 768 those of 256 px.
    """
    return [min(width << step, max_width) for step in range(steps + 1)]


def r3gan_body(config: GeneratorConfig, code: int, size: int, channels: int = 3) -> CodedSequential:
    """A learned basis of base x base, two blocks, and for each doubling a 1x1 convolution where the width changes,
    the resampling and two blocks; the last 1x1 convolution outputs the image.
    """
    base, steps = upsampling_steps(size)
    widths = stage_widths(config.width, config.max_width, steps)[::-1]
    layers: list[nn.Module] = [LearnedBasis(code, widths[0], base), *_blocks(widths[0], steps)]
    for before, width in itertools.pairwise(widths):
        layers += [*_changed_width(before, width), Resample(up=True), *_blocks(width, steps)]
    return CodedSequential(*layers, GainConv2d(widths[-1], channels, 1))


def r3gan_trunk(config: DiscriminatorConfig, size: int, channels: int = 3) -> tuple[nn.Sequential, int, int]:
    """The body's mirror image: 1x1 from the image, blocks, resampling, 1x1; then one weight per channel and pixel sums
    each channel.

    Returns:
        The trunk, its channels and the side 1 of its map.
    """
    base, steps = upsampling_steps(size)
    widths = stage_widths(config.width, config.max_width, steps)
    layers: list[nn.Module] = [GainConv2d(channels, widths[0], 1), *_blocks(widths[0], steps)]
    for before, width in itertools.pairwise(widths):
        layers += [Resample(up=False), *_changed_width(before, width), *_blocks(width, steps)]
    last = widths[-1]
    return nn.Sequential(*layers, nn.Conv2d(last, last, base, groups=last, bias=False)), last, 1


def _blocks(channels: int, steps: int) -> list[nn.Module]:
    return [ResidualBlock(channels, BLOCKS * (steps + 1)) for _ in range(BLOCKS)]


def _changed_width(before: int, after: int) -> list[nn.Module]:
    return [] if before == after else [GainConv2d(before, after, 1)]
