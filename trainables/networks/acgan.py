"""The networks of system A: a deconvolution generator with tag embeddings, and a discriminator with tag heads.

At 64 px and width 64 they are the report's layers; at other sizes blocks are left out or added before the last ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from trainables.config import upsampling_steps
from trainables.networks.blocks import LEAK, PointConvTranspose2d, initialise
from trainables.networks.conditioning import TagEmbedding, one_hot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainables.config import DiscriminatorConfig, GeneratorConfig


def _up(layer: nn.ConvTranspose2d, momentum: float) -> nn.Sequential:
    norm = nn.BatchNorm2d(layer.out_channels, momentum=momentum)
    return nn.Sequential(layer, norm, nn.LeakyReLU(LEAK, inplace=True))


class Generator(nn.Module):
    """Noise ``(n, noise_dim)`` and labels ``(n, groups)`` -> pictures ``(n, 3, image_size, image_size)``.

    With ``tanh`` pictures lie in [-1, 1]; with ``leaky_relu`` they may leave it, and are cut when shown or scored.
    """

    def __init__(self, config: GeneratorConfig, image_size: int, tag_sizes: Sequence[int]) -> None:
        super().__init__()
        self.noise_dim = config.noise_dim
        self.embedding = TagEmbedding(tag_sizes, config.embedding_dim, config.embedding_noise)
        base, steps = upsampling_steps(image_size)
        steps += config.oversize  # one more doubling, undone by the last convolution
        width, momentum = config.width << steps, config.norm_momentum
        # Block 1 takes 1x1 to base x base. The last doubling belongs to the block that draws the picture, and a
        # stride-1 block of kernel 3 stands before it.
        blocks = [_up(PointConvTranspose2d(config.noise_dim + self.embedding.width, width, base), momentum)]
        for _ in range(steps - 1):
            blocks.append(_up(nn.ConvTranspose2d(width, width // 2, 4, 2, 1), momentum))
            width //= 2
        blocks.append(_up(nn.ConvTranspose2d(width, width // 2, 3, 1, 1), momentum))
        self.blocks = nn.Sequential(*blocks)
        self.draw = nn.Sequential(nn.ConvTranspose2d(width // 2, 3, 4, 2, 1))
        if config.oversize:
            self.draw.append(nn.Conv2d(3, 3, 4, 2, 1))
        if config.final_norm:
            self.draw.append(nn.BatchNorm2d(3, momentum=momentum))
        self.draw.append(nn.Tanh() if config.final_activation == "tanh" else nn.LeakyReLU(LEAK))
        initialise(self)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Draw one picture per row."""
        code = torch.cat([noise, self.embedding(labels)], dim=1)
        pictures: Tensor = self.draw(self.blocks(code[:, :, None, None]))
        return pictures


class Judgement(NamedTuple):
    """What a discriminator says of ``n`` pictures."""

    realness: Tensor
    """Logits ``(n,)``: above 0 means real."""
    tags: list[Tensor]
    """One ``(n, classes)`` logits tensor per group; empty when tags are inputs rather than outputs."""


class Discriminator(nn.Module):
    """Pictures ``(n, 3, image_size, image_size)`` and labels ``(n, groups)`` -> ``Judgement``.

    With ``acgan`` conditioning the labels are not looked at: the heads guess them.
    """

    def __init__(self, config: DiscriminatorConfig, image_size: int, tag_sizes: Sequence[int]) -> None:
        super().__init__()
        self.tag_sizes = tuple(tag_sizes)
        base, steps = upsampling_steps(image_size)
        layers: list[nn.Module] = []
        channels = 3
        for step in range(steps):
            width = config.width << step
            layers.append(nn.Conv2d(channels, width, 4, 2, 1))
            if step > 0:
                layers.append(nn.BatchNorm2d(width, momentum=config.norm_momentum))
            layers.append(nn.LeakyReLU(LEAK, inplace=True))
            channels = width
        self.features = nn.Sequential(*layers, nn.Flatten())
        dense = channels * base * base
        self.takes_tags = config.conditioning == "concat"
        self.realness: nn.Module
        if self.takes_tags:
            # A lone linear layer could only add a bias per tag: one hidden layer lets tags and features meet.
            self.realness = nn.Sequential(
                nn.Linear(dense + sum(tag_sizes), channels),
                nn.LeakyReLU(LEAK, inplace=True),
                nn.Linear(channels, 1),
            )
            self.heads = nn.ModuleList()
        else:
            self.realness = nn.Linear(dense, 1)
            self.heads = nn.ModuleList(nn.Linear(dense, size) for size in tag_sizes)
        initialise(self)

    def forward(self, pictures: Tensor, labels: Tensor) -> Judgement:
        """Judge each picture."""
        features = self.features(pictures)
        seen = torch.cat([features, one_hot(labels, self.tag_sizes)], dim=1) if self.takes_tags else features
        return Judgement(self.realness(seen).squeeze(1), [head(features) for head in self.heads])
