"""System H: CycleGAN (Zhu et al. 2017), unpaired translation between two domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.data.augment import augment
from trainables.errors import UsageError
from trainables.losses.adversarial import generator_loss
from trainables.networks.translation import CycleGenerator, PatchDiscriminator
from trainables.precision import Precision, in_precision
from trainables.systems.image_pool import ImagePool
from trainables.systems.system import Loss
from trainables.systems.terms import GanBase, in_steps, realness_loss, weighted, with_penalty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainables.config import GanConfig
    from trainables.systems.system import Batch


class CycleGan(GanBase):
    """Two translators, and a discriminator for each domain. Domains A and B are the two classes of the target group.

    Every loss and figure is the mean over the domains or directions: half of the paper's sums.

    Args:
        config: the configuration of the system.
        tag_sizes: number of classes of each tag group.
        targets: the index of the group that a translation changes.
        precision: precision of the forward passes.

    Raises:
        UsageError: there is more than one target group, or it does not have two classes.
    """

    def __init__(
        self, config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int], precision: Precision = "float32"
    ) -> None:
        sizes = [tag_sizes[place] for place in targets]
        if sizes != [2]:
            raise UsageError(
                "cyclegan translates between the two classes of one tag group; the data would have it change "
                f"{len(sizes)}, of {' and '.join(map(str, sizes))} classes: choose the two kinds of images with "
                "--domain-a and --domain-b, or a group of two with --attributes"
            )
        self.config, self.precision = config, precision
        self.generator = CycleGenerator(config, targets[0])
        self.discriminator: nn.ModuleList = nn.ModuleList(PatchDiscriminator(config) for _ in "AB")
        self.pools = [ImagePool(config.training.pool_size) for _ in "AB"]
        """Pools of the images translated to A, and to B."""

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """Yield the losses of one discriminator update in order; take an optimizer step on each before the next."""
        a, b = real = batch.images.chunk(2)
        with torch.no_grad():
            a_to_b, b_to_a = self._translators()
            translated = (b_to_a(b), a_to_b(a))
        fake = [pool.exchange(images) for pool, images in zip(self.pools, translated, strict=True)]
        yield from in_steps(
            [
                lambda: _mean([self._real_loss(domain, real[domain], fake[domain]) for domain in range(2)]),
                lambda: _mean([self._fake_loss(domain, fake[domain]) for domain in range(2)]),
            ],
            split=self.config.updates.split_discriminator,
        )

    def generator_loss(self, batch: Batch) -> Loss:
        """Return the loss of one generator step: adversarial, cycle and identity terms.

        Translations should be classified as real, be restored by the translation back, and leave images of the
        requested domain unchanged.
        """
        weights, (a_to_b, b_to_a) = self.config.losses, self._translators()
        a, b = batch.images.chunk(2)
        translated = (b_to_a(b), a_to_b(a))
        adversarial = [
            generator_loss(weights.adversarial, self._realness(domain, translated[domain])) for domain in range(2)
        ]
        terms = {
            "adversarial": torch.stack(adversarial).mean(),
            "cycle": (F.l1_loss(b_to_a(translated[1]), a) + F.l1_loss(a_to_b(translated[0]), b)) / 2,
        }
        if weights.identity_weight:
            terms["identity"] = (F.l1_loss(b_to_a(a), a) + F.l1_loss(a_to_b(b), b)) / 2
        return weighted(weights, terms)

    def state_dict(self) -> dict[str, Any]:
        """Return the images in the pools."""
        return {"pools": [pool.images for pool in self.pools]}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore the pools from ``state_dict``."""
        for pool, images in zip(self.pools, state["pools"], strict=True):
            pool.images = None if images is None else images.to(device)

    def _translators(self) -> list[Callable[[Tensor], Tensor]]:
        """Return the translators from A to B and from B to A, in the precision of training."""
        return [in_precision(network, self.precision) for network in (self.generator.a_to_b, self.generator.b_to_a)]

    def _real_loss(self, domain: int, real: Tensor, fake: Tensor) -> Loss:
        def critic(images: Tensor, codes: Tensor) -> Tensor:
            scores: Tensor = self.discriminator[domain](images).realness
            return scores.mean(dim=(1, 2))

        weights = self.config.losses
        loss = realness_loss(weights, self._realness(domain, real), real=True)
        return with_penalty(loss, weights, critic, (real, fake), scale=self.penalty_scale)

    def _fake_loss(self, domain: int, fake: Tensor) -> Loss:
        return realness_loss(self.config.losses, self._realness(domain, fake), real=False)

    def _realness(self, domain: int, images: Tensor) -> Tensor:
        inputs = augment(images, self.config.training)
        realness: Tensor = in_precision(self.discriminator[domain], self.precision)(inputs).realness
        return realness


def _mean(losses: Sequence[Loss]) -> Loss:
    figures = {name: torch.stack([loss.figures[name] for loss in losses]).mean() for name in losses[0].figures}
    return Loss(torch.stack([loss.total for loss in losses]).mean(), figures)
