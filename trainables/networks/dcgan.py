"""Deconvolution bodies (A, E, F, G) and the convolution trunk of A, D, E, F and G (after Radford et al. 2016).

A *body* takes a code ``(n, width, 1, 1)``, and the same as ``(n, width)`` for its norms, to the raw image
``(n, channels, size, size)`` before its last activation; a *trunk* takes an image to a feature map
``(n, channels, base, base)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import LEAK, CodedSequential, PointConvTranspose2d, norm_layer

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig


def up_block(
    layer: nn.Module, channels: int, config: GeneratorConfig, activation: nn.Module, code: int = 0
) -> CodedSequential:
    """Return a layer followed by its norm, which may read the code, an activation and, if configured, dropout."""
    block = CodedSequential(layer, norm_layer(config.norm, channels, config.norm_momentum, code), activation)
    if config.dropout:
        block.append(nn.Dropout(config.dropout))
    return block


def acgan_body(config: GeneratorConfig, code: int, size: int, channels: int = 3) -> CodedSequential:
    """A: block 1 takes 1x1 to base x base, doublings follow, then a stride-1 block of kernel 3, then the image."""
    base, steps = upsampling_steps(size)
    width = config.width << steps
    first = PointConvTranspose2d(code, width, base, bias=config.bias)
    blocks = [up_block(first, width, config, nn.LeakyReLU(LEAK, inplace=True), code)]
    for kernel, stride in [(4, 2)] * (steps - 1) + [(3, 1)]:
        layer = nn.ConvTranspose2d(width, width // 2, kernel, stride, 1, bias=config.bias)
        width //= 2
        blocks.append(up_block(layer, width, config, nn.LeakyReLU(LEAK, inplace=True), code))
    return CodedSequential(*blocks, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=config.bias))


def dcgan_body(config: GeneratorConfig, code: int, size: int, channels: int = 3) -> CodedSequential:
    """E: block 1 takes 1x1 to base x base, every further layer doubles the size, the last one outputs the image."""
    base, steps = upsampling_steps(size)
    width = config.width << (steps - 1)
    first = PointConvTranspose2d(code, width, base, bias=config.bias)
    start = up_block(first, width, config, nn.ReLU(inplace=True), code)
    return CodedSequential(start, *doublings(config, width, steps, channels, code))


def doublings(config: GeneratorConfig, width: int, steps: int, channels: int, code: int) -> list[nn.Module]:
    """``steps`` transposed convolutions k4s2, each with half the filters of the one before, the last ``channels``."""
    layers: list[nn.Module] = []
    for _ in range(steps - 1):
        layer = nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=config.bias)
        width //= 2
        layers.append(up_block(layer, width, config, nn.ReLU(inplace=True), code))
    return [*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=config.bias)]


def dcgan_trunk(config: DiscriminatorConfig, size: int, channels: int = 3) -> tuple[nn.Sequential, int, int]:
    """Convolutions k4s2 that double the filters and halve the image down to base x base; no norm on the first.

    Returns:
        The trunk, its channels and its base.
    """
    base, steps = upsampling_steps(size)
    layers, width = strided_layers(config, channels, steps)
    return nn.Sequential(*layers), width, base


def strided_layers(config: DiscriminatorConfig, channels: int, steps: int) -> tuple[list[nn.Module], int]:
    """Return ``steps`` convolutions k4s2 on maps of ``channels`` channels, and the channels of the last."""
    layers: list[nn.Module] = []
    for step in range(steps):
        width = config.width << step
        layers.append(nn.Conv2d(channels, width, 4, 2, 1, bias=config.bias))
        if step:
            layers.append(norm_layer(config.norm, width, config.norm_momentum))
        layers += activated(config)
        channels = width
    return layers, channels


def activated(config: DiscriminatorConfig) -> list[nn.Module]:
    """Return the discriminator's activation and, if configured, alpha dropout."""
    relu = nn.ReLU(inplace=True) if config.activation == "relu" else nn.LeakyReLU(LEAK, inplace=True)
    return [relu, nn.AlphaDropout(config.dropout)] if config.dropout else [relu]
