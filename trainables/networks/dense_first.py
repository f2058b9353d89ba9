"""Bodies that begin with a dense layer (C and D), and C's trunk. What bodies and trunks are, ``dcgan`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import PointConvTranspose2d, norm_layer
from trainables.networks.dcgan import activated, doublings, up_block

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig


def dense_to_map(code: int, channels: int, side: int) -> nn.Sequential:
    """A dense layer from ``(n, code, 1, 1)`` to ``(n, channels, side, side)``."""
    return nn.Sequential(nn.Flatten(), nn.Linear(code, channels * side * side), nn.Unflatten(1, (channels, side, side)))


def dense_body(config: GeneratorConfig, code: int, size: int) -> nn.Sequential:
    """D: one dense layer to base x base, then doublings, ReLU."""
    base, steps = upsampling_steps(size)
    width = config.width << (steps - 1)
    first = up_block(dense_to_map(code, width, base), width, config, nn.ReLU(inplace=True))
    return nn.Sequential(first, *doublings(config, width, steps))


def matching_body(config: GeneratorConfig, code: int, size: int) -> nn.Sequential:
    """C: dense to a quarter of the size, ConvT k3s2, k5s2, k5s1, k1s1; filters 16, 4, 2 and 1 times the width.

    With ``first_layer`` convolution a valid convolution takes the vector to base x base and doublings k3s2 from there
    to a quarter of the size.
    """
    width, quarter = config.width, size // 4
    blocks: list[nn.Module] = []
    if config.first_layer == "dense":
        blocks.append(up_block(dense_to_map(code, 16 * width, quarter), 16 * width, config, nn.ReLU(inplace=True)))
    else:
        base, steps = upsampling_steps(size)
        first = PointConvTranspose2d(code, 16 * width, min(base, quarter), bias=config.bias)
        blocks.append(up_block(first, 16 * width, config, nn.ReLU(inplace=True)))
        for _ in range(steps - 2):
            blocks.append(_matching_block(16 * width, 16 * width, 3, 2, config))
    for inputs, outputs, kernel, stride in ((16, 4, 3, 2), (4, 2, 5, 2), (2, 1, 5, 1)):
        blocks.append(_matching_block(inputs * width, outputs * width, kernel, stride, config))
    return nn.Sequential(*blocks, nn.ConvTranspose2d(width, 3, 1, bias=config.bias))


def _matching_block(inputs: int, outputs: int, kernel: int, stride: int, config: GeneratorConfig) -> nn.Sequential:
    layer = nn.ConvTranspose2d(
        inputs, outputs, kernel, stride, kernel // 2, output_padding=stride - 1, bias=config.bias
    )
    return up_block(layer, outputs, config, nn.ReLU(inplace=True))


def matching_trunk(config: DiscriminatorConfig, size: int) -> tuple[nn.Sequential, int, int]:
    """C: stride-2 convolutions, kernel 5 twice and then 3, filters 1, 2, 4, 4, ... times the width."""
    base, steps = upsampling_steps(size)
    layers: list[nn.Module] = []
    channels = 3
    for step in range(steps):
        width, kernel = config.width * min(4, 1 << step), 5 if step < 2 else 3
        layers.append(nn.Conv2d(channels, width, kernel, 2, kernel // 2, bias=config.bias))
        if step:
            layers.append(norm_layer(config.norm, width, config.norm_momentum))
        layers += activated(config)
        channels = width
    return nn.Sequential(*layers), channels, base
