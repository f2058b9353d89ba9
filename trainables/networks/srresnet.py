"""B: the SRResNet body and the residual trunk (after arXiv 1708.05509). What they are, ``dcgan`` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import StridedConv2d, norm_layer
from trainables.networks.dcgan import activated, up_block
from trainables.networks.dense_first import dense_to_map

if TYPE_CHECKING:
    from trainables.config import DiscriminatorConfig, GeneratorConfig

SHUFFLES = 3
"""Sub-pixel doublings: 12 -> 24 -> 48 -> 96 in the report."""
STAGES = ((4, 2), (4, 4), (4, 4), (3, 4), (3, 4), (3, 0))
"""The trunk's strided convolutions: kernel, and residual blocks after it. Filters double at each."""


class Skip(nn.Module):
    """Adds its input to what its layers make of it, then ``after``."""

    def __init__(self, *layers: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.after = after or nn.Identity()

    def forward(self, pictures: Tensor) -> Tensor:
        """Same shape in and out."""
        result: Tensor = self.after(pictures + self.layers(pictures))
        return result


def srresnet_body(config: GeneratorConfig, code: int, size: int) -> nn.Sequential:
    """Dense to an eighth of the size, residual blocks under a global skip, three sub-pixel doublings, k9 to RGB."""
    doublings = min(SHUFFLES, upsampling_steps(size)[1])
    width, side = config.width, size >> doublings

    def block() -> Skip:
        first = up_block(_conv(width, width, config), width, config, nn.ReLU(inplace=True))
        return Skip(*first, _conv(width, width, config), norm_layer(config.norm, width, config.norm_momentum))

    middle = [block() for _ in range(config.blocks)]
    after = [norm_layer(config.norm, width, config.norm_momentum), nn.ReLU(inplace=True)]
    shuffles = [
        up_block(
            nn.Sequential(_conv(width, 4 * width, config), nn.PixelShuffle(2)), width, config, nn.ReLU(inplace=True)
        )
        for _ in range(doublings)
    ]
    first = up_block(dense_to_map(code, width, side), width, config, nn.ReLU(inplace=True))
    return nn.Sequential(first, Skip(*middle, *after), *shuffles, nn.Conv2d(width, 3, 9, 1, 4, bias=config.bias))


def _conv(inputs: int, outputs: int, config: GeneratorConfig) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 1, 1, bias=config.bias)


def srresnet_trunk(config: DiscriminatorConfig, size: int) -> tuple[nn.Sequential, int, int]:
    """Strided convolutions with residual blocks of two k3 convolutions between them."""
    layers: list[nn.Module] = []
    channels = 3
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
