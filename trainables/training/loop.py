"""Training loop: update ratio, optimizers, moving average of the generator, divergence check.

The data stay one uint8 tensor on the device and batches are drawn by index, so no worker process decodes images
while cores are needed for training. Nothing is read back from the device within a step; only every ``CHECK_EVERY``
updates, to detect divergence. Data too large for the device stay in host memory or a memory map (``HostPixels``); the
indices of each batch are then read back.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainables.data.augment import rotate
from trainables.losses.penalties import lazy_scale
from trainables.systems.system import Batch
from trainables.training.optimizers import make_optimizer, optimizer_options
from trainables.training.running_means import RunningMeans
from trainables.training.schedules import (
    average_decay,
    learning_rate_share,
    scheduled_beta2,
    scheduled_config,
    with_sections,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from trainables.config import GanConfig
    from trainables.data.tensors import HostPixels
    from trainables.systems.system import Loss, System

Network = TypeVar("Network", bound="nn.Module")

CHECK_EVERY = 25
"""Number of updates between two checks for finite losses; each check synchronizes with the device."""
LOSS_LIMIT = 1e4
"""Limit above which a loss counts as exploded; losses in the reports stay below 100."""
LEARNT = ("generator", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")
"""Attributes with networks and optimizers, which training changes."""
NORM_EVERY = 8
"""Updates between two measurements of the gradient norms."""


class Diverged(Exception):  # noqa: N818 - a state of training, not a program error
    """A loss became non-finite or exploded; the message says which figure and when."""


class OutOfTime(Exception):  # noqa: N818 - a state of training, not a program error
    """Training has exceeded its time limit."""


@dataclass(frozen=True)
class TrainingData:
    """Training data on one device.

    ``images`` is ``(n, s, s, 3)`` uint8 and ``labels`` ``(n, groups)``; ``tags`` ``(m, groups)`` are the complete
    labels that generated images are conditioned on, in the proportions of the data. ``domains`` are indices ``(k,)`` of
    images: a batch has ``batch_size`` images of each domain (H: two unpaired domains), or of all images if there are
    none.
    """

    images: Tensor | HostPixels
    labels: Tensor
    tags: Tensor
    domains: tuple[Tensor, ...] = ()


class TrainingLoop:
    """Trains a system and counts the real images that its discriminator has seen (``images_seen``).

    ``budget`` is the number of images at which schedules end; without one, nothing is scheduled.
    """

    def __init__(self, system: System, data: TrainingData, config: GanConfig, budget: int | None = None) -> None:
        self.system, self.data, self.config = system, data, config
        self.device = data.labels.device
        self.generator = to_device(system.generator, config.generator.architecture, self.device)
        self.discriminator = to_device(system.discriminator, config.discriminator.architecture, self.device)
        self.average = copy.deepcopy(self.generator) if config.training.averages else self.generator
        rates = config.optimizer
        self.generator_optimizer = make_optimizer(rates, self.generator, rates.generator_lr)
        self.discriminator_optimizer = make_optimizer(rates, self.discriminator, rates.discriminator_lr)
        self.budget = budget
        self.images_seen = 0
        self.updates = 0
        self.augment_probability = torch.zeros((), device=self.device)
        """Where it adapts to the discriminator's overfitting."""
        self._figures = RunningMeans()

    def train_until(
        self, images: int, seconds: float = math.inf, on_check: Callable[[], None] = lambda: None
    ) -> dict[str, float]:
        """Train until the discriminator has seen ``images`` real images in all, for ``seconds`` at most.

        ``on_check`` is called every ``CHECK_EVERY`` updates, after the check for finite losses; resuming from the
        ``state_dict`` of that moment gives the same result as not stopping.

        Returns:
            The mean of every figure since the last call, and ``images_per_second``.

        Raises:
            Diverged: a loss became NaN, infinite, or larger than ``LOSS_LIMIT``.
            OutOfTime: ``seconds`` have passed; raised after the current update.
        """
        self.generator.train()
        self.discriminator.train()
        figures = self._figures
        start, before = time.perf_counter(), self.images_seen
        while self.images_seen < images:
            self._update(figures)
            self.updates += 1
            if self.updates % CHECK_EVERY == 0:
                self.require_finite()
                on_check()
            if time.perf_counter() - start > seconds:
                raise OutOfTime(f"{self.images_seen / 1000:.1f} kimg trained")
        return self.end_interval(self.images_seen - before, time.perf_counter() - start)

    def end_interval(self, images: int, seconds: float) -> dict[str, float]:
        """Return what ``train_until`` returns after ``images`` images in ``seconds`` seconds.

        Raises:
            Diverged: as ``train_until``.
        """
        self.require_finite()
        if not all(bool(weight.isfinite().all()) for weight in self.generator.parameters()):
            raise Diverged(f"weights of the generator are not finite after {self.images_seen / 1000:.1f} kimg")
        figures, self._figures = self._figures, RunningMeans()
        return figures.means() | {"images_per_second": images / max(seconds, 1e-9)}

    def _update(self, figures: RunningMeans) -> None:
        measure = self.updates % NORM_EVERY == 0
        self._follow_schedules()
        for step in range(self.config.updates.discriminator_steps):
            batch = self._draw_batch()
            self.images_seen += len(batch.images)
            self.system.penalty_scale = self.penalty_scale(step)
            for loss in self.system.discriminator_losses(batch):
                self._step(loss, self.discriminator, self.discriminator_optimizer)
                self.system.constrain()
                figures.add(loss.figures)
                self._adapt_augmentation(loss.figures)
        if measure:
            figures.add({"d_gradient_norm": gradient_norm(self.discriminator)})
        # A generator step needs no gradients of the discriminator: without them it is a fifth cheaper.
        self.discriminator.requires_grad_(False)
        for _ in range(self.config.updates.generator_steps):
            loss = self.system.generator_loss(self._draw_generator_batch())
            self._step(loss, self.generator, self.generator_optimizer)
            figures.add(loss.figures)
        self.discriminator.requires_grad_(True)
        if measure:
            figures.add({"g_gradient_norm": gradient_norm(self.generator)})
        self._update_average()

    def _adapt_augmentation(self, figures: dict[str, Tensor]) -> None:
        """Move the probability of augmentation by one batch: up if the discriminator is too sure of real images."""
        training = self.config.training
        if not training.augment_target or "d_sign_real" not in figures:
            return
        step = self.images_per_step / (training.augment_kimg * 1000)
        moved = self.augment_probability + step * (figures["d_sign_real"] - training.augment_target).sign()
        self.augment_probability = moved.clamp(0.0, training.augment_probability)
        self._figures.add({"augment_probability": self.augment_probability})
        self._show_augmentation()

    def _show_augmentation(self) -> None:
        """Give the system the adaptive probability, a tensor, so that nothing is read back from the device."""
        if self.config.training.augment_target:
            training = dataclasses.replace(self.system.config.training, augment_probability=self.augment_probability)  # type: ignore[arg-type]
            self.system.config = with_sections(self.system.config, {"training": training})

    @staticmethod
    def _step(loss: Loss, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        network.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @property
    def images_per_update(self) -> int:
        """Real images per update: a batch of each domain, for every discriminator step."""
        return self.images_per_step * self.config.updates.discriminator_steps

    @property
    def images_per_step(self) -> int:
        """Real images per discriminator step: a batch of each domain."""
        return self.config.training.batch_size * max(1, len(self.data.domains))

    @property
    def penalty_phase(self) -> int:
        """Discriminator steps since the last that is a multiple of ``losses.penalty_every``."""
        return self.updates * self.config.updates.discriminator_steps % self.config.losses.penalty_every

    def penalty_scale(self, step: int) -> int:
        """Return the factor of the gradient penalty at discriminator step ``step`` of the current update."""
        return lazy_scale(self.config.losses.penalty_every, self.penalty_phase + step)

    def _draw_generator_batch(self) -> Batch:
        return self._draw_batch() if self.config.generator_sees_images else self._draw_codes()

    def _draw_batch(self) -> Batch:
        chosen = self._draw_images()
        images = self.data.images[chosen].permute(0, 3, 1, 2).to(torch.get_default_dtype()).div_(127.5).sub_(1.0)
        if self.config.training.flip:
            mirrored = torch.rand(len(images), device=self.device) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.config.training.rotate:
            images = rotate(images, self.config.training.rotate)
        codes, labels = self._draw_codes(), self.data.labels[chosen]
        paired = self.config.losses.adversarial == "relativistic"
        return Batch(images, labels, codes.noise, labels if paired else codes.tags)

    def _draw_images(self) -> Tensor:
        if not self.data.domains:
            return self._draw_indices(len(self.data.images))
        return torch.cat([domain[self._draw_indices(len(domain))] for domain in self.data.domains])

    def _draw_codes(self) -> Batch:
        tags = self.data.tags[self._draw_indices(len(self.data.tags))]
        noise = torch.randn(len(tags), self.config.generator.noise_dim, device=self.device)
        empty = noise.new_empty(0)
        return Batch(empty, empty, noise, tags)

    def _draw_indices(self, count: int) -> Tensor:
        return torch.randint(count, (self.config.training.batch_size,), device=self.device)

    def _follow_schedules(self) -> None:
        if not self.budget:
            self._show_augmentation()
            return
        rates, done = self.config.optimizer, min(1.0, self.images_seen / self.budget)
        share, beta2 = learning_rate_share(rates, done), scheduled_beta2(rates, done)
        for optimizer, rate in self._rates():
            for group in optimizer.param_groups:
                group.update(optimizer_options(rates, rate * share, beta2))
        self.system.config = scheduled_config(self.config, done)
        self._show_augmentation()

    def _update_average(self) -> None:
        if self.average is self.generator:
            return
        decay = average_decay(self.config.training, self.updates, self.images_seen, self.images_per_update)
        average, weights = (_floats(network.state_dict().values()) for network in (self.average, self.generator))
        get_ema_multi_avg_fn(decay)(average, weights, None)  # type: ignore[no-untyped-call]

    def require_finite(self) -> None:
        """Raise ``Diverged`` if a figure since the last check is not finite or a loss has exploded."""
        for name, value in self._figures.worst().items():
            # Critic scores and gradient norms have no fixed scale; NaN compares as false.
            limit = LOSS_LIMIT if "loss" in name else sys.float_info.max
            if not value <= limit:
                what = f"{name} exceeded {LOSS_LIMIT:g}" if value < float("inf") else f"{name} is {value}"
                raise Diverged(f"{what} after {self.images_seen / 1000:.1f} kimg")

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to resume exactly, random state included."""
        state: dict[str, Any] = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "system": self.system.state_dict(),
            "images": self.images_seen,
            "updates": self.updates,
            "augment_probability": self.augment_probability,
            "figures": self._figures.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def adopt(self, state: dict[str, Any]) -> None:
        """Copy networks, moving average and optimizers from another loop's ``state_dict``.

        Raises:
            ValueError: the networks have other shapes; nothing has been changed.
        """
        for name in LEARNT[:3]:
            shapes = {part: tensor.shape for part, tensor in getattr(self, name).state_dict().items()}
            if shapes != {part: tensor.shape for part, tensor in state[name].items()}:
                raise ValueError(f"its {name} has another shape")
        for name in LEARNT:
            if name != "average" or self.average is not self.generator:
                getattr(self, name).load_state_dict(state[name])
        self._take_augmentation(state)

    def _take_augmentation(self, state: dict[str, Any]) -> None:
        if "augment_probability" in state:  # checkpoints of earlier versions have none
            self.augment_probability = state["augment_probability"].to(self.device)

    def reconfigure(self, config: GanConfig) -> None:
        """Continue with other learning rates, loss weights and update ratios; the networks stay unchanged."""
        self.config = self.system.config = config
        for optimizer, rate in self._rates():
            for group in optimizer.param_groups:
                group.update(optimizer_options(config.optimizer, rate))  # ``adopt`` loads another trial's options

    def _rates(self) -> tuple[tuple[torch.optim.Optimizer, float], ...]:
        rates = self.config.optimizer
        return (
            (self.generator_optimizer, rates.generator_lr),
            (self.discriminator_optimizer, rates.discriminator_lr),
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name in LEARNT:
            getattr(self, name).load_state_dict(state[name])
        self.system.load_state_dict(state.get("system", {}), self.device)
        self.images_seen, self.updates = int(state["images"]), int(state["updates"])
        self._take_augmentation(state)
        self._figures.load_state_dict(state["figures"], self.device)
        torch.set_rng_state(state["random"].cpu())
        if "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), self.device)


def to_device(network: Network, architecture: str, device: torch.device) -> Network:
    """Move a network to a device in its fastest memory format.

    This is channels-last, except for SRResNet on a CPU, whose many narrow convolutions are a fifth slower in it
    (measured).
    """
    contiguous = architecture == "srresnet" and device.type == "cpu"
    order = torch.contiguous_format if contiguous else torch.channels_last
    return network.to(device, memory_format=order)  # type: ignore[call-overload, no-any-return]


def _floats(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.is_floating_point()]


def gradient_norm(network: nn.Module) -> Tensor:
    """Return the L2 norm of all gradients of a network, a scalar on its device."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return get_total_norm(gradients)
