"""Systems A to G: one GAN composed of parts, with what each network minimises.

One discriminator update yields one or two losses (A: one step on a real batch, then one on a fake batch); the loop
takes one optimiser step per loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainables.augment import diff_augment
from trainables.losses.adversarial import LOSSES, generator_loss
from trainables.losses.tags import multilabel_bce, tag_cross_entropy, wrong_tags
from trainables.networks.conditioning import TagEncoder
from trainables.networks.discriminator import Discriminator
from trainables.networks.generator import Generator
from trainables.precision import Precision, in_precision
from trainables.systems.system import Loss
from trainables.systems.terms import NetworkPair, added, realness_loss, weighted, with_penalty, with_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs
    from trainables.networks.discriminator import Judgement
    from trainables.systems.system import Batch


class ConditionalGan(NetworkPair):
    """Generator and discriminator of one configuration and the losses between them.

    Args:
        config: what to build.
        tag_sizes: classes of each tag group.
        pairs: the combinations that occur in the data, for ``tags.encoding`` pairs.
        precision: of the forward passes.
    """

    def __init__(
        self, config: GanConfig, tag_sizes: Sequence[int], pairs: Pairs = (), precision: Precision = "float32"
    ) -> None:
        self.config, self.tag_sizes, self.precision = config, tuple(tag_sizes), precision
        self.encode = TagEncoder(config.tags.encoding, self.tag_sizes, pairs)
        self.generator = Generator(config, tag_sizes, pairs)
        self.discriminator = Discriminator(config, tag_sizes, self.encode.width)
        self.adversarial = LOSSES[config.losses.adversarial]
        self.tag_loss = multilabel_bce if config.discriminator.conditioning == "multilabel" else tag_cross_entropy

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """What one discriminator update minimises, in order; take a step on each before asking for the next."""
        real, fake = self.shown(batch)
        for loss in self.discriminator_terms:
            yield loss(real, fake, batch)

    def shown(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Real pictures in the generator's own range, and its fakes, without gradients."""
        real = batch.pictures * 0.5 + 0.5 if self.generator.unit_range else batch.pictures
        with torch.no_grad():
            return real, self._draw(batch)

    @property
    def discriminator_terms(self) -> tuple[Callable[[Tensor, Tensor, Batch], Loss], ...]:
        """The losses of one discriminator update, in order, each of real pictures, fakes and their batch."""
        if self.config.updates.split_discriminator:
            return self._real_loss, self._fake_loss
        return (self._both_losses,)

    def generator_loss(self, batch: Batch) -> Loss:
        """Fakes should be called real and classified as the tags that were asked for."""
        weights = self.config.losses
        judged = self._judge(self._draw(batch), batch.tags)
        terms = {"adversarial": generator_loss(weights.adversarial, judged.realness)}
        if judged.tags:
            terms["tag"] = self.tag_loss(judged.tags, batch.tags)
        return weighted(weights, terms)

    def _both_losses(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        return added(self._real_loss(real, fake, batch), self._fake_loss(real, fake, batch))

    def _real_loss(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        def critic(pictures: Tensor, codes: Tensor) -> Tensor:
            realness: Tensor = self.discriminator(pictures, codes).realness
            return realness

        loss = self._discriminator_loss(self._judge(real, batch.labels), batch.labels, real=True)
        if self.config.losses.penalty == "none":
            return loss
        return with_penalty(loss, self.config.losses, critic, real, fake, self.encode(batch.labels))

    def _fake_loss(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        weights = self.config.losses
        loss = self._discriminator_loss(self._judge(fake, batch.tags), batch.tags, real=False)
        if weights.wrong_tags == "none":
            return loss
        wrong = wrong_tags(batch.labels, batch.tags, self.tag_sizes, weights.wrong_tags)
        mismatch = self.adversarial(self._judge(real, wrong).realness, real=False, labels=weights.labels)
        share = weights.wrong_tag_weight
        total = (1 - share) * loss.total + weights.adversarial_weight * share * mismatch
        return Loss(total, loss.figures | {"d_wrong_tag_loss": mismatch.detach(), "d_loss_fake": total.detach()})

    def _discriminator_loss(self, judged: Judgement, labels: Tensor, *, real: bool) -> Loss:
        weights = self.config.losses
        loss = realness_loss(weights, judged.realness, real=real)
        if not judged.tags or not (real or weights.tag_loss_on_fakes):
            return loss
        return with_tags(loss, weights, self.tag_loss(judged.tags, labels), real=real)

    def _draw(self, batch: Batch) -> Tensor:
        drawn: Tensor = in_precision(self.generator, self.precision)(batch.noise, batch.tags)
        return drawn

    def _judge(self, pictures: Tensor, labels: Tensor) -> Judgement:
        seen = diff_augment(pictures) if self.config.training.diff_augment else pictures
        judged: Judgement = in_precision(self.discriminator, self.precision)(seen, self.encode(labels))
        return judged
