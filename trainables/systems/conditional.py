"""Systems A to G: one GAN composed of configurable parts, with the loss of each network.

One discriminator update yields one or two losses (A: one step on a real batch, then one on a fake batch); the training
loop takes one optimiser step per loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainables.data.augment import augment
from trainables.losses.adversarial import LOSSES, generator_loss, relativistic
from trainables.losses.tags import multilabel_bce, tag_cross_entropy, wrong_tags
from trainables.networks.conditioning import TagEncoder
from trainables.networks.discriminator import Discriminator
from trainables.networks.generator import Generator
from trainables.precision import Precision, in_precision
from trainables.systems.system import Loss
from trainables.systems.terms import GanBase, added, paired_loss, realness_loss, weighted, with_penalty, with_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs
    from trainables.networks.discriminator import DiscriminatorOutput
    from trainables.systems.system import Batch


class ConditionalGan(GanBase):
    """Generator, discriminator and losses of one configuration.

    Args:
        config: the configuration of the system.
        tag_sizes: number of classes of each tag group.
        pairs: the combinations that occur in the data, if ``tags.encoding`` is pairs.
        precision: precision of the forward passes.
    """

    def __init__(
        self, config: GanConfig, tag_sizes: Sequence[int], pairs: Pairs = (), precision: Precision = "float32"
    ) -> None:
        self.config, self.tag_sizes, self.precision = config, tuple(tag_sizes), precision
        self.encode = TagEncoder(config.tags.encoding, self.tag_sizes, pairs)
        self.generator = Generator(config, tag_sizes, pairs)
        self.discriminator = Discriminator(config, tag_sizes, self.encode.width)
        self.tag_loss = multilabel_bce if config.discriminator.conditioning == "multilabel" else tag_cross_entropy

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """Yield the losses of one discriminator update in order; take an optimizer step on each before the next."""
        real, fake = self.shown(batch)
        for loss in self.discriminator_terms:
            yield loss(real, fake, batch)

    def shown(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return real images in the generator's value range, and generated images, without gradients."""
        with torch.no_grad():
            return self._in_range(batch.images), self._draw(batch)

    @property
    def discriminator_terms(self) -> tuple[Callable[[Tensor, Tensor, Batch], Loss], ...]:
        """The losses of one discriminator update, in order: functions of real images, fakes and their batch."""
        if self.config.losses.adversarial == "relativistic":
            return (self._paired_loss,)
        if self.config.updates.split_discriminator:
            return self._real_loss, self._fake_loss
        return (self._both_losses,)

    def generator_loss(self, batch: Batch) -> Loss:
        """Return the loss of one generator step: fakes should be classified as real and as their requested tags.

        With the relativistic loss they should score higher than real images of the same tags.
        """
        weights = self.config.losses
        output = self._discriminate(self._draw(batch), batch.tags)
        if weights.adversarial == "relativistic":
            real = self._discriminate(self._in_range(batch.images), batch.tags).realness
            terms = {"adversarial": relativistic(output.realness, real)}
        else:
            terms = {"adversarial": generator_loss(weights.adversarial, output.realness)}
        if output.tags:
            terms["tag"] = self.tag_loss(output.tags, batch.tags)
        return weighted(weights, terms)

    def _both_losses(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        return added(self._real_loss(real, fake, batch), self._fake_loss(real, fake, batch))

    def _real_loss(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        output = self._discriminate(real, batch.labels)
        loss = realness_loss(self.config.losses, output.realness, real=True)
        return self._penalised(self._tagged(loss, output, batch.labels, real=True), real, fake, batch)

    def _paired_loss(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        outputs = self._discriminate(real, batch.labels), self._discriminate(fake, batch.tags)
        loss = paired_loss(self.config.losses, outputs[0].realness, outputs[1].realness)
        loss = self._tagged(loss, outputs[0], batch.labels, real=True)
        return self._penalised(self._tagged(loss, outputs[1], batch.tags, real=False), real, fake, batch)

    def _fake_loss(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        weights = self.config.losses
        output = self._discriminate(fake, batch.tags)
        loss = self._tagged(realness_loss(weights, output.realness, real=False), output, batch.tags, real=False)
        if weights.wrong_tags == "none":
            return loss
        wrong = wrong_tags(batch.labels, batch.tags, self.tag_sizes, weights.wrong_tags)
        realness = self._discriminate(real, wrong).realness
        mismatch = LOSSES[weights.adversarial](realness, real=False, labels=weights.labels)
        share = weights.wrong_tag_weight
        total = (1 - share) * loss.total + weights.adversarial_weight * share * mismatch
        return Loss(total, loss.figures | {"d_wrong_tag_loss": mismatch.detach(), "d_loss_fake": total.detach()})

    def _tagged(self, loss: Loss, output: DiscriminatorOutput, labels: Tensor, *, real: bool) -> Loss:
        if not output.tags or not (real or self.config.losses.tag_loss_on_fakes):
            return loss
        return with_tags(loss, self.config.losses, self.tag_loss(output.tags, labels), real=real)

    def _penalised(self, loss: Loss, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        def critic(images: Tensor, codes: Tensor) -> Tensor:
            realness: Tensor = self.discriminator(images, codes).realness
            return realness

        codes = self.encode(batch.labels), self.encode(batch.tags)
        return with_penalty(loss, self.config.losses, critic, (real, fake), codes, self.penalty_scale)

    def _in_range(self, images: Tensor) -> Tensor:
        return images * 0.5 + 0.5 if self.generator.unit_range else images

    def _draw(self, batch: Batch) -> Tensor:
        drawn: Tensor = in_precision(self.generator, self.precision)(batch.noise, batch.tags)
        return drawn

    def _discriminate(self, images: Tensor, labels: Tensor) -> DiscriminatorOutput:
        inputs = augment(images, self.config.training)
        output: DiscriminatorOutput = in_precision(self.discriminator, self.precision)(inputs, self.encode(labels))
        return output
