"""B: the SRResNet body and the residual trunk (after arXiv 1708.05509). See ``dcgan`` for the terms body and trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import CodedSequential, StridedConv2d, TakesCode, norm_layer
from trainables.networks.dcgan import activated, up_block
from trainables.networks.dense_first import dense_to_map

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig

SHUFFLES = 3
"""Sub-pixel doublings: 12 -> 24 -> 48 -> 96 in the report."""
STAGES = ((4, 2), (4, 4), (4, 4), (3, 4), (3, 4), (3, 0))
"""Kernel size and number of residual blocks of each stage of the trunk. Filters double at each stage."""


class Skip(nn.Module, TakesCode):
    """Residual connection: adds the input to the output of its layers, then applies ``after``."""

    def __init__(self, *layers: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = CodedSequential(*layers)
        self.after = after or nn.Identity()

    def forward(self, images: Tensor, code: Tensor | None = None) -> Tensor:
        """Apply the layers to ``(n, channels, h, w)``; the shape is unchanged."""
        result: Tensor = self.after(images + self.layers(images, code))
        return result


def srresnet_body(config: GeneratorConfig, code: int, size: int, channels: int = 3) -> CodedSequential:
    """Dense to an eighth of the size, residual blocks under a global skip, three sub-pixel doublings, then k9."""
    doublings = min(SHUFFLES, upsampling_steps(size)[1])
    width, side = config.width, size >> doublings

    def norm() -> nn.Module:
        return norm_layer(config.norm, width, config.norm_momentum, code)

    def block() -> Skip:
        first = up_block(_conv(width, width, config), width, config, nn.ReLU(inplace=True), code)
        return Skip(*first, _conv(width, width, config), norm())

    middle = [block() for _ in range(config.blocks)]
    after = [norm(), nn.ReLU(inplace=True)]
    shuffles = [
        up_block(
            nn.Sequential(_conv(width, 4 * width, config), nn.PixelShuffle(2)),
            width,
            config,
            nn.ReLU(inplace=True),
            code,
        )
        for _ in range(doublings)
    ]
    first = up_block(dense_to_map(code, width, side), width, config, nn.ReLU(inplace=True), code)
    last = nn.Conv2d(width, channels, 9, 1, 4, bias=config.bias)
    return CodedSequential(first, Skip(*middle, *after), *shuffles, last)


def _conv(inputs: int, outputs: int, config: GeneratorConfig) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=config.bias)


def srresnet_trunk(config: DiscriminatorConfig, size: int, channels: int = 3) -> tuple[nn.Sequential, int, int]:
    """Strided convolutions with residual blocks of two k3 convolutions between them."""
    layers: list[nn.Module] = []
    for stage, (kernel, blocks) in enumerate(STAGES):
        width = config.width << stage
        layers += [StridedConv2d(channels, width, kernel, 2, 1, bias=config.bias), *_normed(config, width, stage > 0)]
        size = (size + 2 - kernel) // 2 + 1
        for _ in range(blocks):
            inner = (
                nn.Conv2d(width, width, 3, 1, 1, bias=config.bias),
                *_normed(config, width, True),
                nn.Conv2d(width, width, 3, 1, 1, bias=config.bias),
            )
            layers.append(Skip(*inner, after=activated(config)[0]))
        channels = width
    return nn.Sequential(*layers), channels, size


def _normed(config: DiscriminatorConfig, width: int, norm: bool) -> list[nn.Module]:
    return [*([norm_layer(config.norm, width, config.norm_momentum)] if norm else []), *activated(config)]
