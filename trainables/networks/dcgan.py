"""Deconvolution bodies (A, E, F, G) and the convolution trunk of A, D, E, F and G (after Radford et al. 2016).

A *body* takes a code ``(n, width, 1, 1)`` to the raw picture ``(n, 3, size, size)`` before its last activation; a
*trunk* takes a picture to a feature map ``(n, channels, base, base)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import LEAK, PointConvTranspose2d, norm_layer

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig


def up_block(layer: nn.Module, channels: int, config: GeneratorConfig, activation: nn.Module) -> nn.Sequential:
    """A layer, its norm, an activation and, where asked for, dropout."""
    block = nn.Sequential(layer, norm_layer(config.norm, channels, config.norm_momentum), activation)
    if config.dropout:
        block.append(nn.Dropout(config.dropout))
    return block


def acgan_body(config: GeneratorConfig, code: int, size: int) -> nn.Sequential:
    """A: block 1 takes 1x1 to base x base, doublings follow, then a stride-1 block of kernel 3, then the picture."""
    base, steps = upsampling_steps(size)
    width = config.width << steps
    first = PointConvTranspose2d(code, width, base, bias=config.bias)
    blocks = [up_block(first, width, config, nn.LeakyReLU(LEAK, inplace=True))]
    for kernel, stride in [(4, 2)] * (steps - 1) + [(3, 1)]:
        layer = nn.ConvTranspose2d(width, width // 2, kernel, stride, 1, bias=config.bias)
        width //= 2
        blocks.append(up_block(layer, width, config, nn.LeakyReLU(LEAK, inplace=True)))
    return nn.Sequential(*blocks, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=config.bias))


def dcgan_body(config: GeneratorConfig, code: int, size: int) -> nn.Sequential:
    """E: block 1 takes 1x1 to base x base, every further layer doubles, the last draws the picture."""
    base, steps = upsampling_steps(size)
    width = config.width << (steps - 1)
    first = PointConvTranspose2d(code, width, base, bias=config.bias)
    return nn.Sequential(up_block(first, width, config, nn.ReLU(inplace=True)), *doublings(config, width, steps))


def doublings(config: GeneratorConfig, width: int, steps: int) -> list[nn.Module]:
    """``steps`` transposed convolutions k4s2, each with half the filters of the one before, the last with 3."""
    layers: list[nn.Module] = []
    for _ in range(steps - 1):
        layer = nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=config.bias)
        width //= 2
        layers.append(up_block(layer, width, config, nn.ReLU(inplace=True)))
    return [*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=config.bias)]


def dcgan_trunk(config: DiscriminatorConfig, size: int) -> tuple[nn.Sequential, int, int]:
    """Convolutions k4s2 that double the filters and halve the picture down to base x base; no norm on the first.

    Returns:
        The trunk, its channels and its base.
    """
    base, steps = upsampling_steps(size)
    layers: list[nn.Module] = []
    channels = 3
    for step in range(steps):
        width = config.width << step
        layers.append(nn.Conv2d(channels, width, 4, 2, 1, bias=config.bias))
        if step:
            layers.append(norm_layer(config.norm, width, config.norm_momentum))
        layers += activated(config)
        channels = width
    return nn.Sequential(*layers), channels, base


def activated(config: DiscriminatorConfig) -> list[nn.Module]:
    """The discriminator's activation and, where asked for, alpha dropout."""
    relu = nn.ReLU(inplace=True) if config.activation == "relu" else nn.LeakyReLU(LEAK, inplace=True)
    return [relu, nn.AlphaDropout(config.dropout)] if config.dropout else [relu]
