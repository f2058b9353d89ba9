"""The generator: tags and noise to a code, a body, and the last activation."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from trainables.networks.blocks import LEAK, initialise
from trainables.networks.conditioning import CodeInput, TagEmbedding, TagEncoder
from trainables.networks.dcgan import acgan_body, dcgan_body
from trainables.networks.dense_first import dense_body, matching_body
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
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "leaky_relu": lambda: nn.LeakyReLU(LEAK),
}


class Generator(nn.Module):
    """Noise ``(n, noise_dim)`` and labels ``(n, groups)`` -> pictures ``(n, 3, image_size, image_size)``.

    With ``tanh`` pictures lie in [-1, 1], with ``sigmoid`` in [0, 1]; with ``leaky_relu`` they may leave [-1, 1], and
    are cut when shown or scored. ``picture`` gives [-1, 1] whatever the activation.
    """

    translates = False

    def __init__(self, config: GanConfig, tag_sizes: Sequence[int], pairs: Pairs = ()) -> None:
        super().__init__()
        own = config.generator
        self.noise_dim = own.noise_dim
        self.unit_range = own.final_activation == "sigmoid"
        self.tags: TagEmbedding | CodeInput | None = None
        if own.conditioning == "embedding":
            self.tags = TagEmbedding(tag_sizes, own.embedding_dim, own.embedding_noise)
        elif own.conditioning == "code":
            self.tags = CodeInput(TagEncoder(config.tags.encoding, tuple(tag_sizes), pairs))
        code = own.noise_dim + (self.tags.width if self.tags else 0)
        self.body = BODIES[own.architecture](own, code, config.image_size << own.oversize)
        self.last = nn.Sequential()
        if own.oversize:
            self.last.append(nn.Conv2d(3, 3, 4, 2, 1, bias=own.bias))
        if own.final_norm:
            self.last.append(nn.BatchNorm2d(3, momentum=own.norm_momentum))
        self.last.append(ACTIVATIONS[own.final_activation]())
        initialise(self, own.init)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Draw one picture per row, in the network's own range."""
        return self._draw(noise, self.tags(labels) if self.tags else None)

    def picture(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Draw one picture per row, in [-1, 1]."""
        return self._centred(cast(Tensor, self(noise, labels)))

    def blend(self, noise: Tensor, labels: Tensor, others: Tensor, shares: Tensor) -> Tensor:
        """Draw one picture per row, in [-1, 1], of tags that lie between two.

        The vectors that the tags become are mixed linearly: ``shares`` ``(n,)`` in [0, 1] is 0 at ``labels`` and 1 at
        ``others``. A generator without tags draws from the noise alone.
        """
        if self.tags is None:
            return self.picture(noise, labels)
        return self._centred(self._draw(noise, torch.lerp(self.tags(labels), self.tags(others), shares.unsqueeze(1))))

    def _draw(self, noise: Tensor, tags: Tensor | None) -> Tensor:
        code = noise if tags is None else torch.cat([tags, noise], dim=1)
        return cast(Tensor, self.last(self.body(code[:, :, None, None])))

    def _centred(self, drawn: Tensor) -> Tensor:
        return drawn * 2 - 1 if self.unit_range else drawn
