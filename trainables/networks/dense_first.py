"""Bodies that begin with a dense layer (C and D), and C's trunk. See ``dcgan`` for the terms body and trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import CodedSequential, PointConvTranspose2d, norm_layer
from trainables.networks.dcgan import activated, doublings, up_block

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig


def dense_to_map(code: int, channels: int, side: int) -> nn.Sequential:
    """Return a dense layer from ``(n, code, 1, 1)`` to ``(n, channels, side, side)``."""
    return nn.Sequential(nn.Flatten(), nn.Linear(code, channels * side * side), nn.Unflatten(1, (channels, side, side)))


def dense_body(config: GeneratorConfig, code: int, size: int, channels: int = 3) -> CodedSequential:
    """D: one dense layer to base x base, then doublings, ReLU."""
    base, steps = upsampling_steps(size)
    width = config.width << (steps - 1)
    first = up_block(dense_to_map(code, width, base), width, config, nn.ReLU(inplace=True), code)
    return CodedSequential(first, *doublings(config, width, steps, channels, code))


def matching_body(config: GeneratorConfig, code: int, size: int, channels: int = 3) -> CodedSequential:
    """C: dense to a quarter of the size, ConvT k3s2, k5s2, k5s1, k1s1; filters 16, 4, 2 and 1 times the width.

    If ``first_layer`` is convolution, a transposed convolution takes the vector to base x base, and doublings k3s2
    take that to a quarter of the size.
    """
    width, quarter = config.width, size // 4
    blocks: list[nn.Module] = []
    if config.first_layer == "dense":
        dense = dense_to_map(code, 16 * width, quarter)
        blocks.append(up_block(dense, 16 * width, config, nn.ReLU(inplace=True), code))
    else:
        base, steps = upsampling_steps(size)
        first = PointConvTranspose2d(code, 16 * width, min(base, quarter), bias=config.bias)
        blocks.append(up_block(first, 16 * width, config, nn.ReLU(inplace=True), code))
        for _ in range(steps - 2):
            blocks.append(_matching_block((16 * width, 16 * width), 3, 2, config, code))
    for inputs, outputs, kernel, stride in ((16, 4, 3, 2), (4, 2, 5, 2), (2, 1, 5, 1)):
        blocks.append(_matching_block((inputs * width, outputs * width), kernel, stride, config, code))
    return CodedSequential(*blocks, nn.ConvTranspose2d(width, channels, 1, bias=config.bias))


def _matching_block(
    channels: tuple[int, int], kernel: int, stride: int, config: GeneratorConfig, code: int
) -> CodedSequential:
    layer = nn.ConvTranspose2d(*channels, kernel, stride, kernel // 2, output_padding=stride - 1, bias=config.bias)
    return up_block(layer, channels[1], config, nn.ReLU(inplace=True), code)


def matching_trunk(config: DiscriminatorConfig, size: int, channels: int = 3) -> tuple[nn.Sequential, int, int]:
    """C: stride-2 convolutions, kernel 5 twice and then 3, filters 1, 2, 4, 4, ... times the width."""
    base, steps = upsampling_steps(size)
    layers: list[nn.Module] = []
    for step in range(steps):
        width, kernel = config.width * min(4, 1 << step), 5 if step < 2 else 3
        layers.append(nn.Conv2d(channels, width, kernel, 2, kernel // 2, bias=config.bias))
        if step:
            layers.append(norm_layer(config.norm, width, config.norm_momentum))
        layers += activated(config)
        channels = width
    return nn.Sequential(*layers), channels, base
