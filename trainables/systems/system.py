"""Interface between the training loop and a system: networks, losses, and further state that training changes."""

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
    """``n`` real images with their labels, and the noise and requested tags of as many fakes.

    Systems that translate, and the relativistic loss, use these images in the generator's steps too. If images come
    from two domains (H), the first half is from the first domain.
    """

    images: Tensor
    """``(n, 3, s, s)`` in [-1, 1]."""
    labels: Tensor
    """``(n, groups)``, ``UNKNOWN`` where masked."""
    noise: Tensor
    """``(n, noise_dim)``, standard normal."""
    tags: Tensor
    """``(n, groups)``, drawn from the data's distribution, without unknown tags; with the relativistic loss, the labels
    of the images."""


class Loss(NamedTuple):
    """A scalar to minimise, and the figures to log, all on the device."""

    total: Tensor
    figures: dict[str, Tensor]


class System(Protocol):
    """A generator, a discriminator and their losses, independent of optimisers, loggers and Ray."""

    config: GanConfig
    """Learning rates, loss weights and update ratios may change during training."""
    penalty_scale: int
    """Factor of the gradient penalty in the next discriminator step; 0 leaves it out."""

    @property
    def generator(self) -> nn.Module:
        """The module that the generator's optimiser trains."""

    @property
    def discriminator(self) -> nn.Module:
        """The module that the discriminator's optimiser trains; two networks if there are two domains."""

    def discriminator_losses(self, batch: Batch) -> Iterator[Loss]:
        """Yield the losses of one discriminator update in order; take an optimizer step on each before the next."""

    def generator_loss(self, batch: Batch) -> Loss:
        """Return the loss of one generator step."""

    def constrain(self) -> None:
        """Enforce constraints on the weights; call it after each of the discriminator's steps."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that training changes besides the networks: tensors and plain values."""

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what ``state_dict`` returned."""
