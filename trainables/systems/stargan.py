"""System I: StarGAN (Choi et al. 2018), one generator for every target class of one or more tag groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from trainables.augment import diff_augment
from trainables.losses.adversarial import generator_loss
from trainables.losses.tags import tag_cross_entropy
from trainables.networks.translation import StarDiscriminator, StarGenerator
from trainables.precision import Precision, in_precision
from trainables.systems.terms import NetworkPair, in_steps, realness_loss, weighted, with_penalty, with_tags

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainables.config import GanConfig
    from trainables.networks.discriminator import Judgement
    from trainables.systems.system import Batch, Loss


class StarGan(NetworkPair):
    """A translator that is told its targets, and a discriminator that guesses them.

    Args:
        config: what to build.
        tag_sizes: classes of each tag group.
        targets: places of the groups that a translation changes.
        precision: of the forward passes.
    """

    def __init__(
        self, config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int], precision: Precision = "float32"
    ) -> None:
        self.config, self.targets, self.precision = config, list(targets), precision
        self.generator = StarGenerator(config, tag_sizes, targets)
        self.discriminator = StarDiscriminator(config, [tag_sizes[place] for place in targets])

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """What one discriminator update minimises, in order; take a step on each before asking for the next."""
        with torch.no_grad():
            fake = self._translate(batch.pictures, batch.tags)
        yield from in_steps(
            [lambda: self._real_loss(batch, fake), lambda: self._fake_loss(batch, fake)],
            split=self.config.updates.split_discriminator,
        )

    def generator_loss(self, batch: Batch) -> Loss:
        """Translations should be called real, be classified as asked for, and come back as what they were."""
        weights = self.config.losses
        translated = self._translate(batch.pictures, batch.tags)
        judged = self._judge(translated)
        terms = {
            "adversarial": generator_loss(weights.adversarial, judged.realness),
            "tag": self._tag_loss(judged, batch.tags),
            "cycle": F.l1_loss(self._translate(translated, batch.labels), batch.pictures),
        }
        if weights.identity_weight:
            terms["identity"] = F.l1_loss(self._translate(batch.pictures, batch.labels), batch.pictures)
        return weighted(weights, terms)

    def _real_loss(self, batch: Batch, fake: Tensor) -> Loss:
        def critic(pictures: Tensor, codes: Tensor) -> Tensor:
            scores: Tensor = self.discriminator(pictures).realness
            return scores.mean(dim=(1, 2))

        weights, judged = self.config.losses, self._judge(batch.pictures)
        loss = realness_loss(weights, judged.realness, real=True)
        loss = with_tags(loss, weights, self._tag_loss(judged, batch.labels), real=True)
        return loss if weights.penalty == "none" else with_penalty(loss, weights, critic, batch.pictures, fake)

    def _fake_loss(self, batch: Batch, fake: Tensor) -> Loss:
        weights, judged = self.config.losses, self._judge(fake)
        loss = realness_loss(weights, judged.realness, real=False)
        if not weights.tag_loss_on_fakes:
            return loss
        return with_tags(loss, weights, self._tag_loss(judged, batch.tags), real=False)

    def _tag_loss(self, judged: Judgement, labels: Tensor) -> Tensor:
        return tag_cross_entropy(judged.tags, labels[:, self.targets])

    def _translate(self, pictures: Tensor, labels: Tensor) -> Tensor:
        translated: Tensor = in_precision(self.generator, self.precision)(pictures, labels)
        return translated

    def _judge(self, pictures: Tensor) -> Judgement:
        judged: Judgement = in_precision(self.discriminator, self.precision)(
            diff_augment(pictures) if self.config.training.diff_augment else pictures
        )
        return judged
