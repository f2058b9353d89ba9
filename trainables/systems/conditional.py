"""Systems A to G: one GAN composed of parts, with what each network minimises. No optimiser, logger or Ray.

One discriminator update yields one or two losses (A: one step on a real batch, then one on a fake batch); the loop
takes one optimiser step per loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from trainables.augment import diff_augment
from trainables.losses import penalties
from trainables.losses.adversarial import LOSSES, gap, generator_loss
from trainables.losses.tags import multilabel_bce, tag_cross_entropy, wrong_tags
from trainables.networks.conditioning import TagEncoder
from trainables.networks.discriminator import Discriminator, Judgement
from trainables.networks.generator import Generator
from trainables.precision import forward_pass, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from trainables.config import GanConfig
    from trainables.networks.conditioning import Pairs
    from trainables.precision import Precision


AT_FLOOR = 0.01
"""A discriminator's loss this near to its least is at its floor: with BCE it is 99% sure of nearly every picture, and a
generator's gradient has all but gone."""


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
    """Generator and discriminator of one configuration and the losses between them.

    Args:
        config: what to build.
        tag_sizes: classes of each tag group.
        pairs: the combinations that occur in the data, for ``tags.encoding`` pairs.
        precision: of the forward passes in training.
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
        adversarial = generator_loss(weights.adversarial, judged.realness)
        total = weights.adversarial_weight * adversarial
        figures = {"g_adversarial_loss": adversarial.detach()}
        if judged.tags:
            tags = self.tag_loss(judged.tags, batch.tags)
            total = total + weights.tag_weight * tags
            figures["g_tag_loss"] = tags.detach()
        return Loss(total, figures | {"g_loss": total.detach()})

    def constrain(self) -> None:
        """Clip the critic's weights, where asked for; call it after each of its steps."""
        clip = self.config.losses.weight_clip
        if clip > 0:
            with torch.no_grad():
                torch._foreach_clamp_min_(list(self.discriminator.parameters()), -clip)
                torch._foreach_clamp_max_(list(self.discriminator.parameters()), clip)

    def _both_losses(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        one, other = self._real_loss(real, fake, batch), self._fake_loss(real, fake, batch)
        return Loss(one.total + other.total, one.figures | other.figures)

    def _real_loss(self, real: Tensor, fake: Tensor, batch: Batch) -> Loss:
        weights = self.config.losses
        judged = self._judge(real, batch.labels)
        loss = self._discriminator_loss(judged, batch.labels, real=True)
        if weights.penalty == "none":
            return loss
        penalty = self._penalty(real, fake, self.encode(batch.labels))
        return Loss(
            loss.total + weights.penalty_weight * penalty, loss.figures | {"d_gradient_penalty": penalty.detach()}
        )

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
        weights, kind = self.config.losses, "real" if real else "fake"
        adversarial = self.adversarial(judged.realness, real=real, labels=weights.labels)
        total = weights.adversarial_weight * adversarial
        score = judged.realness.detach()
        figures = {
            f"d_adversarial_loss_{kind}": adversarial.detach(),
            f"d_score_{kind}": (score.sigmoid() if weights.adversarial == "bce" else score).mean(),
        }
        above = gap(weights.adversarial, judged.realness.detach(), real=real, labels=weights.labels)
        if above is not None:
            figures[f"d_at_floor_{kind}"] = (above <= AT_FLOOR).float()
        if judged.tags and (real or weights.tag_loss_on_fakes):
            tags = self.tag_loss(judged.tags, labels)
            total = total + weights.tag_weight * tags
            figures[f"d_tag_loss_{kind}"] = tags.detach()
        return Loss(total, figures | {f"d_loss_{kind}": total.detach()})

    def _draw(self, batch: Batch) -> Tensor:
        with forward_pass(self.precision, batch.noise.device):
            drawn: Tensor = self.generator(batch.noise, batch.tags)
        return widened(drawn)

    def _judge(self, pictures: Tensor, labels: Tensor) -> Judgement:
        seen = diff_augment(pictures) if self.config.training.diff_augment else pictures
        with forward_pass(self.precision, pictures.device):
            judged: Judgement = self.discriminator(seen, self.encode(labels))
        return Judgement(widened(judged.realness), [widened(tags) for tags in judged.tags])

    def _penalty(self, real: Tensor, fake: Tensor, codes: Tensor) -> Tensor:
        def critic(pictures: Tensor, tags: Tensor) -> Tensor:
            # In float32 always: of bfloat16's 8 bits too few are left in the slope of a slope.
            realness: Tensor = self.discriminator(pictures, tags).realness
            return realness

        losses = self.config.losses
        if losses.penalty == "dragan":
            return penalties.dragan(critic, real, codes, losses.penalty_noise)
        if losses.penalty == "r1":
            return penalties.r1(critic, real, codes)
        return penalties.wgan_gp(critic, real, fake, codes, on_tags=losses.penalty_on_tags)
