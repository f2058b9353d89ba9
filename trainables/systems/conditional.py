"""A tag-conditional GAN composed of its parts: what each network minimises. No optimiser, logger or Ray.

One discriminator update yields one or two losses (A: one step on a real batch, then one on a fake batch); the loop
takes one optimiser step per loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from trainables.losses.adversarial import bce
from trainables.losses.tags import tag_cross_entropy
from trainables.networks.acgan import Discriminator, Generator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from trainables.config import GanConfig


@dataclass(frozen=True)
class Batch:
    """``n`` real pictures with their labels, and the noise and asked tags of as many fakes."""

    pictures: Tensor
    """``(n, 3, s, s)`` in [-1, 1]."""
    labels: Tensor
    """``(n, groups)``, ``UNKNOWN`` where masked."""
    noise: Tensor
    """``(n, noise_dim)``, standard normal."""
    tags: Tensor
    """``(n, groups)``, drawn from the data's distribution, every one known."""


class Loss(NamedTuple):
    """A scalar to minimise and the figures worth logging, all still on the device."""

    total: Tensor
    figures: dict[str, Tensor]


class ConditionalGan:
    """Generator and discriminator of one configuration and the losses between them."""

    def __init__(self, config: GanConfig, tag_sizes: Sequence[int]) -> None:
        self.config = config
        self.generator = Generator(config.generator, config.image_size, tag_sizes)
        self.discriminator = Discriminator(config.discriminator, config.image_size, tag_sizes)

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """What one discriminator update minimises, in order; take a step on each before asking for the next."""
        if self.config.updates.split_discriminator:
            yield self._real_loss(batch)
            yield self._fake_loss(batch)
        else:
            real, fake = self._real_loss(batch), self._fake_loss(batch)
            yield Loss(real.total + fake.total, real.figures | fake.figures)

    def generator_loss(self, batch: Batch) -> Loss:
        """Fakes should be called real and classified as the tags that were asked for."""
        weights = self.config.losses
        realness, heads = self.discriminator(self.generator(batch.noise, batch.tags), batch.tags)
        adversarial = bce(realness, real=True)
        total = weights.adversarial_weight * adversarial
        figures = {"g_adversarial_loss": adversarial.detach()}
        if heads:
            tags = tag_cross_entropy(heads, batch.tags)
            total = total + weights.tag_weight * tags
            figures["g_tag_loss"] = tags.detach()
        return Loss(total, figures | {"g_loss": total.detach()})

    def _real_loss(self, batch: Batch) -> Loss:
        return self._judge(batch.pictures, batch.labels, real=True)

    def _fake_loss(self, batch: Batch) -> Loss:
        with torch.no_grad():
            fakes = self.generator(batch.noise, batch.tags)
        return self._judge(fakes, batch.tags, real=False)

    def _judge(self, pictures: Tensor, labels: Tensor, *, real: bool) -> Loss:
        weights, kind = self.config.losses, "real" if real else "fake"
        realness, heads = self.discriminator(pictures, labels)
        adversarial = bce(realness, real=real, labels=weights.labels)
        total = weights.adversarial_weight * adversarial
        figures = {
            f"d_adversarial_loss_{kind}": adversarial.detach(),
            f"d_score_{kind}": realness.detach().sigmoid().mean(),
        }
        if heads and (real or weights.tag_loss_on_fakes):
            tags = tag_cross_entropy(heads, labels)
            total = total + weights.tag_weight * tags
            figures[f"d_tag_loss_{kind}"] = tags.detach()
        return Loss(total, figures | {f"d_loss_{kind}": total.detach()})
