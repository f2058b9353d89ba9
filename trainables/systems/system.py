"""What the training loop needs of a system: networks, what each of them minimises, and what else training changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor, nn

    from trainables.config import GanConfig


@dataclass(frozen=True)
class Batch:
    """``n`` real pictures with their labels, and the noise and asked tags of as many fakes.

    A translation is of these pictures, for the generator's steps too; where pictures come from two domains (H), the
    first half is from the first.
    """

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


class System(Protocol):
    """A generator, a discriminator and the losses between them. No optimiser, logger or Ray."""

    config: GanConfig
    """Learning rates, loss weights and update ratios may change while it is trained."""

    @property
    def generator(self) -> nn.Module:
        """All that the generator's optimiser trains."""

    @property
    def discriminator(self) -> nn.Module:
        """All that the discriminator's optimiser trains: two networks, where there are two domains."""

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """What one discriminator update minimises, in order; take a step on each before asking for the next."""

    def generator_loss(self, batch: Batch) -> Loss:
        """What one generator step minimises."""

    def constrain(self) -> None:
        """Bring weights back to where they may be; call it after each of the discriminator's steps."""

    def state_dict(self) -> dict[str, Any]:
        """What training changes besides the networks: tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take over what ``state_dict`` gave."""
