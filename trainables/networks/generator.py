"""The generator: a code of tags and noise, a body, and the last activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from trainables.networks.blocks import LEAK, initialise
from trainables.networks.conditioning import CodeInput, LinearTags, TagEmbedding, TagEncoder
from trainables.networks.dcgan import acgan_body, dcgan_body
from trainables.networks.dense_first import dense_body, matching_body
from trainables.networks.r3gan import r3gan_body
from trainables.networks.resize import resize_body
from trainables.networks.srresnet import srresnet_body

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs

BODIES = {
    "acgan": acgan_body,
    "dcgan": dcgan_body,
    "dense": dense_body,
    "matching": matching_body,
    "srresnet": srresnet_body,
    "resize": resize_body,
    "r3gan": r3gan_body,
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": lambda: nn.LeakyReLU(LEAK),
    "none": nn.Identity,
}


class Generator(nn.Module):
    """Maps noise ``(n, noise_dim)`` and labels ``(n, groups)`` to images ``(n, channels, image_size, image_size)``.

    The last activation sets the range: [-1, 1] for ``tanh``, [0, 1] for ``sigmoid``; with ``leaky_relu`` and
    ``none`` values may exceed [-1, 1] and are clamped when images are shown or scored. ``image`` rescales [0, 1] to
    [-1, 1].
    """

    translates = False

    def __init__(self, config: GanConfig, tag_sizes: Sequence[int], pairs: Pairs = ()) -> None:
        super().__init__()
        settings = config.generator
        self.noise_dim = settings.noise_dim
        self.unit_range = settings.final_activation == "sigmoid"
        self.tags: TagEmbedding | CodeInput | LinearTags | None = None
        if settings.conditioning == "embedding":
            self.tags = TagEmbedding(tag_sizes, settings.embedding_dim, settings.embedding_noise)
        elif settings.conditioning in ("code", "linear"):
            encoder = TagEncoder(config.tags.encoding, tuple(tag_sizes), pairs)
            linear = settings.conditioning == "linear"
            self.tags = LinearTags(encoder, settings.embedding_dim) if linear else CodeInput(encoder)
        code = settings.noise_dim + (self.tags.width if self.tags else 0)
        channels = config.channels
        self.body = BODIES[settings.architecture](settings, code, config.image_size << settings.oversize, channels)
        self.last = nn.Sequential()
        if settings.oversize:
            self.last.append(nn.Conv2d(channels, channels, 4, 2, 1, bias=settings.bias))
        if settings.final_norm:
            self.last.append(nn.BatchNorm2d(channels, momentum=settings.norm_momentum))
        self.last.append(ACTIVATIONS[settings.final_activation]())
        initialise(self, settings.init)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Draw one image per row, in the range of the last activation."""
        return self._draw(noise, self.tags(labels) if self.tags else None)

    def image(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Draw one image per row, in [-1, 1]."""
        return self._centred(cast("Tensor", self(noise, labels)))

    def blend(self, noise: Tensor, labels: Tensor, others: Tensor, shares: Tensor) -> Tensor:
        """Draw one image per row, in [-1, 1], for tags interpolated between two label rows.

        Tag vectors are interpolated linearly: ``shares`` ``(n,)`` in [0, 1] is 0 at ``labels`` and 1 at ``others``. A
        generator without tags draws from the noise alone.
        """
        if self.tags is None:
            return self.image(noise, labels)
        return self._centred(self._draw(noise, torch.lerp(self.tags(labels), self.tags(others), shares.unsqueeze(1))))

    def _draw(self, noise: Tensor, tags: Tensor | None) -> Tensor:
        code = noise if tags is None else torch.cat([tags, noise], dim=1)
        return cast("Tensor", self.last(self.body(code[:, :, None, None], code)))

    def _centred(self, drawn: Tensor) -> Tensor:
        return drawn * 2 - 1 if self.unit_range else drawn
