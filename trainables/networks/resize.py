"""lightgan: a body of resize and convolution, and a trunk on unshuffled pixels. See ``dcgan`` for body and trunk.

Doubling by interpolation gives every pixel the same number of inputs; transposed convolutions do not, which shows as a
checkerboard (Odena et al. 2016).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import LEAK, CodedSequential, PointConvTranspose2d
from trainables.networks.dcgan import strided_layers, up_block

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig

GRAIN = 8
"""Filters of the hidden blocks before the last are rounded up to multiples of it, which vector units like."""


def resize_filters(width: int, steps: int) -> list[int]:
    """Return the filters of each block from the smallest map on: each has 1.5 times those of the next.

    A width of 40 and 3 doublings give 96, 64 and 40.
    """
    return [width if not up else -(-width * 3**up // (2**up * GRAIN)) * GRAIN for up in reversed(range(steps))]


def resize_body(config: GeneratorConfig, code: int, size: int, channels: int = 3) -> CodedSequential:
    """Code to base x base, then doublings each followed by a convolution k3, the last one bilinear, then k5."""
    base, steps = upsampling_steps(size)
    filters = resize_filters(config.width, steps)
    first = PointConvTranspose2d(code, filters[0], base, bias=config.bias)
    blocks = [up_block(first, filters[0], config, nn.LeakyReLU(LEAK, inplace=True), code)]
    for inputs, outputs in pairwise(filters):
        layer = nn.Sequential(
            nn.Upsample(scale_factor=2, mode=config.upsampling), nn.Conv2d(inputs, outputs, 3, 1, 1, bias=config.bias)
        )
        blocks.append(up_block(layer, outputs, config, nn.LeakyReLU(LEAK, inplace=True), code))
    image = nn.Conv2d(filters[-1], channels, 5, 1, 2, bias=config.bias)
    return CodedSequential(*blocks, nn.Upsample(scale_factor=2, mode="bilinear"), image)


def unshuffle_trunk(config: DiscriminatorConfig, size: int, channels: int = 3) -> tuple[nn.Sequential, int, int]:
    """Each 2 x 2 pixels become one with 4 times the channels; then convolutions k4s2 as in ``dcgan_trunk``."""
    base, steps = upsampling_steps(size)
    layers, width = strided_layers(config, 4 * channels, steps - 1)
    return nn.Sequential(nn.PixelUnshuffle(2), *layers), width, base
