"""System H: CycleGAN (Zhu et al. 2017), which translates between two domains that have no pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.augment import diff_augment
from trainables.errors import UsageError
from trainables.losses.adversarial import generator_loss
from trainables.networks.translation import CycleGenerator, PatchDiscriminator
from trainables.precision import Precision, in_precision
from trainables.systems.image_pool import ImagePool
from trainables.systems.system import Loss
from trainables.systems.terms import NetworkPair, in_steps, realness_loss, weighted, with_penalty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainables.config import GanConfig
    from trainables.systems.system import Batch


class CycleGan(NetworkPair):
    """Two translators and a discriminator for each domain: A and B, the classes of the one target group.

    Every loss and figure is the mean over the domains or directions: half of the paper's sums.

    Args:
        config: what to build.
        tag_sizes: classes of each tag group.
        targets: the place of the group that a translation changes.
        precision: of the forward passes.

    Raises:
        UsageError: there are several such groups, or it has more than two classes.
    """

    def __init__(
        self, config: GanConfig, tag_sizes: Sequence[int], targets: Sequence[int], precision: Precision = "float32"
    ) -> None:
        sizes = [tag_sizes[place] for place in targets]
        if sizes != [2]:
            raise UsageError(
                "cyclegan translates between the two classes of one tag group; the data would have it change "
                f"{len(sizes)}, of {' and '.join(map(str, sizes))} classes: choose the two kinds of pictures with "
                "--domain-a and --domain-b, or a group of two with --attributes"
            )
        self.config, self.precision = config, precision
        self.generator = CycleGenerator(config, targets[0])
        self.discriminator: nn.ModuleList = nn.ModuleList(PatchDiscriminator(config) for _ in "AB")
        self.pools = [ImagePool(config.training.pool_size) for _ in "AB"]
        """Of pictures translated to A, and to B."""

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """What one discriminator update minimises, in order; take a step on each before asking for the next."""
        a, b = real = batch.pictures.chunk(2)
        with torch.no_grad():
            a_to_b, b_to_a = self._translators()
            translated = (b_to_a(b), a_to_b(a))
        fake = [pool.exchange(pictures) for pool, pictures in zip(self.pools, translated, strict=True)]
        yield from in_steps(
            [
                lambda: _mean([self._real_loss(domain, real[domain], fake[domain]) for domain in range(2)]),
                lambda: _mean([self._fake_loss(domain, fake[domain]) for domain in range(2)]),
            ],
            split=self.config.updates.split_discriminator,
        )

    def generator_loss(self, batch: Batch) -> Loss:
        """Translations should be called real, come back as what they were, and leave alone what is there already."""
        weights, (a_to_b, b_to_a) = self.config.losses, self._translators()
        a, b = batch.pictures.chunk(2)
        translated = (b_to_a(b), a_to_b(a))
        called = [
            generator_loss(weights.adversarial, self._realness(domain, translated[domain])) for domain in range(2)
        ]
        terms = {
            "adversarial": torch.stack(called).mean(),
            "cycle": (F.l1_loss(b_to_a(translated[1]), a) + F.l1_loss(a_to_b(translated[0]), b)) / 2,
        }
        if weights.identity_weight:
            terms["identity"] = (F.l1_loss(b_to_a(a), a) + F.l1_loss(a_to_b(b), b)) / 2
        return weighted(weights, terms)

    def state_dict(self) -> dict[str, Any]:
        """The pictures in the pools."""
        return {"pools": [pool.pictures for pool in self.pools]}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Fill the pools with what ``state_dict`` gave."""
        for pool, pictures in zip(self.pools, state["pools"], strict=True):
            pool.pictures = None if pictures is None else pictures.to(device)

    def _translators(self) -> list[Callable[[Tensor], Tensor]]:
        """From A to B, and from B to A, as training runs them."""
        return [in_precision(one, self.precision) for one in (self.generator.a_to_b, self.generator.b_to_a)]

    def _real_loss(self, domain: int, real: Tensor, fake: Tensor) -> Loss:
        def critic(pictures: Tensor, codes: Tensor) -> Tensor:
            scores: Tensor = self.discriminator[domain](pictures).realness
            return scores.mean(dim=(1, 2))

        weights = self.config.losses
        loss = realness_loss(weights, self._realness(domain, real), real=True)
        return loss if weights.penalty == "none" else with_penalty(loss, weights, critic, real, fake)

    def _fake_loss(self, domain: int, fake: Tensor) -> Loss:
        return realness_loss(self.config.losses, self._realness(domain, fake), real=False)

    def _realness(self, domain: int, pictures: Tensor) -> Tensor:
        seen = diff_augment(pictures) if self.config.training.diff_augment else pictures
        realness: Tensor = in_precision(self.discriminator[domain], self.precision)(seen).realness
        return realness


def _mean(losses: Sequence[Loss]) -> Loss:
    figures = {name: torch.stack([loss.figures[name] for loss in losses]).mean() for name in losses[0].figures}
    return Loss(torch.stack([loss.total for loss in losses]).mean(), figures)
