"""System I: StarGAN (Choi et al. 2018), one generator for every target class of one or more tag groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.data.augment import augment
from trainables.losses.adversarial import generator_loss
from trainables.losses.tags import tag_cross_entropy
from trainables.networks.translation import StarDiscriminator, StarGenerator
from trainables.precision import Precision, in_precision
from trainables.systems.terms import GanBase, in_steps, realness_loss, weighted, with_penalty, with_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainables.config import GanConfig
    from trainables.networks.discriminator import DiscriminatorOutput
    from trainables.systems.system import Batch, Loss


class StarGan(GanBase):
    """A translator conditioned on target classes, and a discriminator that classifies them.

    Args:
        config: the configuration of the system.
        tag_sizes: number of classes of each tag group.
        targets: indices of the groups that a translation changes.
        precision: precision of the forward passes.
    """

    def __init__(
        self, config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int], precision: Precision = "float32"
    ) -> None:
        self.config, self.targets, self.precision = config, list(targets), precision
        self.generator = StarGenerator(config, tag_sizes, targets)
        self.discriminator = StarDiscriminator(config, [tag_sizes[place] for place in targets])

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """Yield the losses of one discriminator update in order; take an optimizer step on each before the next."""
        with torch.no_grad():
            fake = self._translate(batch.images, batch.tags)
        yield from in_steps(
            [lambda: self._real_loss(batch, fake), lambda: self._fake_loss(batch, fake)],
            split=self.config.updates.split_discriminator,
        )

    def generator_loss(self, batch: Batch) -> Loss:
        """Return the loss of one generator step: adversarial, tag and cycle terms.

        Translations should be classified as real and as the requested classes, and be restored by the translation
        back.
        """
        weights = self.config.losses
        translated = self._translate(batch.images, batch.tags)
        output = self._discriminate(translated)
        terms = {
            "adversarial": generator_loss(weights.adversarial, output.realness),
            "tag": self._tag_loss(output, batch.tags),
            "cycle": F.l1_loss(self._translate(translated, batch.labels), batch.images),
        }
        if weights.identity_weight:
            terms["identity"] = F.l1_loss(self._translate(batch.images, batch.labels), batch.images)
        return weighted(weights, terms)

    def _real_loss(self, batch: Batch, fake: Tensor) -> Loss:
        def critic(images: Tensor, codes: Tensor) -> Tensor:
            scores: Tensor = self.discriminator(images).realness
            return scores.mean(dim=(1, 2))

        weights, output = self.config.losses, self._discriminate(batch.images)
        loss = realness_loss(weights, output.realness, real=True)
        loss = with_tags(loss, weights, self._tag_loss(output, batch.labels), real=True)
        return with_penalty(loss, weights, critic, (batch.images, fake), scale=self.penalty_scale)

    def _fake_loss(self, batch: Batch, fake: Tensor) -> Loss:
        weights, output = self.config.losses, self._discriminate(fake)
        loss = realness_loss(weights, output.realness, real=False)
        if not weights.tag_loss_on_fakes:
            return loss
        return with_tags(loss, weights, self._tag_loss(output, batch.tags), real=False)

    def _tag_loss(self, output: DiscriminatorOutput, labels: Tensor) -> Tensor:
        return tag_cross_entropy(output.tags, labels[:, self.targets])

    def _translate(self, images: Tensor, labels: Tensor) -> Tensor:
        translated: Tensor = in_precision(self.generator, self.precision)(images, labels)
        return translated

    def _discriminate(self, images: Tensor) -> DiscriminatorOutput:
        output: DiscriminatorOutput = in_precision(self.discriminator, self.precision)(
            augment(images, self.config.training)
        )
        return output
