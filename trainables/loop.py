"""The training loop: update ratio, optimisers, moving average of the generator, divergence stop.

The data stay one uint8 tensor on the device and batches are drawn by index, so no worker process decodes pictures
while cores are needed for training. Nothing is read back from the device within a step, save every
``CHECK_EVERY`` updates to see whether training has diverged.
"""

from __future__ import annotations

import copy
import math
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from trainables.augment import rotate
from trainables.systems.system import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import nn

    from trainables.config import GanConfig, OptimizerConfig
    from trainables.systems.system import Loss, System

Network = TypeVar("Network", bound="nn.Module")

CHECK_EVERY = 25
"""Updates between two looks at whether the losses are still finite; each look waits for the device."""
LOSS_LIMIT = 1e4
"""A loss beyond this has exploded: the reports' losses stay below 100."""
LEARNT = ("generator", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")
"""Networks, then optimisers: what training changes."""
NORM_EVERY = 8
"""Updates between two measurements of the gradient norms."""


class Diverged(Exception):  # noqa: N818 - a state of training, not a fault of the program
    """Training has left the finite range or exploded; the text says which figure did and when."""


class OutOfTime(Exception):  # noqa: N818 - likewise
    """Training has taken longer than it may."""


@dataclass(frozen=True)
class TrainingData:
    """What the loop draws from: all on one device.

    ``pictures`` is ``(n, s, s, 3)`` uint8 and ``labels`` ``(n, groups)``; ``tags`` ``(m, groups)`` are the complete
    labels that generated pictures are asked for, in the data's own proportions. ``domains`` are indices ``(k,)`` of
    pictures: a batch has its full size of each (H: two kinds that have no pairs); without any, of all pictures.
    """

    pictures: Tensor
    labels: Tensor
    tags: Tensor
    domains: tuple[Tensor, ...] = ()


class TrainingLoop:
    """Trains a system; counts progress in real images shown to the discriminator.

    ``budget`` is the number of images that linear decay of the learning rates ends at.
    """

    def __init__(self, system: System, data: TrainingData, config: GanConfig, budget: int | None = None) -> None:
        self.system, self.data, self.config = system, data, config
        self.device = data.pictures.device
        self.generator = placed(system.generator, config.generator.architecture, self.device)
        self.discriminator = placed(system.discriminator, config.discriminator.architecture, self.device)
        self.average = copy.deepcopy(self.generator) if config.training.ema_decay else self.generator
        rates = config.optimizer
        self.generator_optimizer = make_optimizer(rates, self.generator, rates.generator_lr)
        self.discriminator_optimizer = make_optimizer(rates, self.discriminator, rates.discriminator_lr)
        self.budget = budget
        self.images = 0
        self.updates = 0
        self._figures = _Means()

    def train_until(
        self, images: int, seconds: float = math.inf, on_check: Callable[[], None] = lambda: None
    ) -> dict[str, float]:
        """Train until the discriminator has seen ``images`` real pictures in all, for ``seconds`` at most.

        ``on_check`` is called every ``CHECK_EVERY`` updates, when training was found to be finite; what
        ``state_dict`` gives then leads to the same end as not stopping.

        Returns:
            The mean of every figure since the last call, and ``images_per_second``.

        Raises:
            Diverged: a loss became NaN, infinite, or larger than ``LOSS_LIMIT``.
            OutOfTime: after the update that was under way.
        """
        self.generator.train()
        self.discriminator.train()
        figures = self._figures
        start, before = time.perf_counter(), self.images
        while self.images < images:
            self._update(figures)
            self.updates += 1
            if self.updates % CHECK_EVERY == 0:
                self.require_finite()
                on_check()
            if time.perf_counter() - start > seconds:
                raise OutOfTime(f"{self.images / 1000:.1f} kimg trained")
        return self.end_interval(self.images - before, time.perf_counter() - start)

    def end_interval(self, images: int, seconds: float) -> dict[str, float]:
        """What ``train_until`` returns after so many images in so many seconds, or ``Diverged``."""
        self.require_finite()
        if not all(bool(weight.isfinite().all()) for weight in self.generator.parameters()):
            raise Diverged(f"weights of the generator are not finite after {self.images / 1000:.1f} kimg")
        figures, self._figures = self._figures, _Means()
        return figures.means() | {"images_per_second": images / max(seconds, 1e-9)}

    def _update(self, figures: _Means) -> None:
        measure = self.updates % NORM_EVERY == 0
        self._decay()
        for _ in range(self.config.updates.discriminator_steps):
            batch = self._draw_batch()
            self.images += len(batch.pictures)
            for loss in self.system.discriminator_losses(batch):
                self._step(loss, self.discriminator, self.discriminator_optimizer)
                self.system.constrain()
                figures.add(loss.figures)
        if measure:
            figures.add({"d_gradient_norm": _gradient_norm(self.discriminator)})
        # Gradients of the discriminator are not needed here: without them a generator step is a fifth cheaper.
        self.discriminator.requires_grad_(False)
        for _ in range(self.config.updates.generator_steps):
            codes = self._draw_batch() if self.config.translates else self._draw_codes()
            loss = self.system.generator_loss(codes)
            self._step(loss, self.generator, self.generator_optimizer)
            figures.add(loss.figures)
        self.discriminator.requires_grad_(True)
        if measure:
            figures.add({"g_gradient_norm": _gradient_norm(self.generator)})
        self._update_average()

    @staticmethod
    def _step(loss: Loss, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        network.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @property
    def images_per_update(self) -> int:
        """Real pictures that one update shows the discriminator: a batch of each domain, where there are several."""
        pictures = self.config.training.batch_size * max(1, len(self.data.domains))
        return pictures * self.config.updates.discriminator_steps

    def _draw_batch(self) -> Batch:
        chosen = self._draw_pictures()
        pictures = self.data.pictures[chosen].permute(0, 3, 1, 2).to(torch.get_default_dtype()).div_(127.5).sub_(1.0)
        if self.config.training.flip:
            mirrored = torch.rand(len(pictures), device=self.device) < 0.5
            pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        if self.config.training.rotate:
            pictures = rotate(pictures, self.config.training.rotate)
        codes = self._draw_codes()
        return Batch(pictures, self.data.labels[chosen], codes.noise, codes.tags)

    def _draw_pictures(self) -> Tensor:
        if not self.data.domains:
            return self._draw_indices(len(self.data.pictures))
        return torch.cat([domain[self._draw_indices(len(domain))] for domain in self.data.domains])

    def _draw_codes(self) -> Batch:
        tags = self.data.tags[self._draw_indices(len(self.data.tags))]
        noise = torch.randn(len(tags), self.config.generator.noise_dim, device=self.device)
        empty = noise.new_empty(0)
        return Batch(empty, empty, noise, tags)

    def _draw_indices(self, count: int) -> Tensor:
        return torch.randint(count, (self.config.training.batch_size,), device=self.device)

    def _decay(self) -> None:
        rates = self.config.optimizer
        if rates.decay == "none" or not self.budget:
            return
        share = min(1.0, 2.0 * max(0.0, 1.0 - self.images / self.budget))
        for optimizer, rate in self._rates():
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def _update_average(self) -> None:
        if self.average is self.generator:
            return
        # A young average must forget its random start: the decay grows with the number of updates.
        decay = min(self.config.training.ema_decay, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            torch._foreach_lerp_(
                _floats(self.average.state_dict().values()),
                _floats(self.generator.state_dict().values()),
                1.0 - decay,
            )

    def require_finite(self) -> None:
        """Raise ``Diverged`` when a figure since the last look is not finite, or a loss has exploded."""
        for name, value in self._figures.worst().items():
            # A critic's score and a gradient's norm have no scale of their own; NaN compares as false.
            limit = LOSS_LIMIT if "loss" in name else sys.float_info.max
            if not value <= limit:
                what = f"{name} exceeded {LOSS_LIMIT:g}" if value < float("inf") else f"{name} is {value}"
                raise Diverged(f"{what} after {self.images / 1000:.1f} kimg")

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on as if training had never stopped, random state included."""
        state: dict[str, Any] = {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "average": self.average.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "system": self.system.state_dict(),
            "images": self.images,
            "updates": self.updates,
            "figures": self._figures.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def adopt(self, state: dict[str, Any]) -> None:
        """Take over networks, moving average and optimisers of another loop's ``state_dict``, and nothing else.

        Raises:
            ValueError: its networks have other shapes; nothing has changed then.
        """
        for name in LEARNT[:3]:
            own = {part: tensor.shape for part, tensor in getattr(self, name).state_dict().items()}
            if own != {part: tensor.shape for part, tensor in state[name].items()}:
                raise ValueError(f"its {name} has another shape")
        for name in LEARNT:
            if name != "average" or self.average is not self.generator:
                getattr(self, name).load_state_dict(state[name])

    def reconfigure(self, config: GanConfig) -> None:
        """Go on with other learning rates, loss weights and update ratios; the networks stay as they are."""
        self.config = self.system.config = config
        for optimizer, rate in self._rates():
            for group in optimizer.param_groups:
                group.update(optimizer_options(config.optimizer, rate))  # another trial's came with its state

    def _rates(self) -> tuple[tuple[torch.optim.Optimizer, float], ...]:
        rates = self.config.optimizer
        return (
            (self.generator_optimizer, rates.generator_lr),
            (self.discriminator_optimizer, rates.discriminator_lr),
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` gave."""
        for name in LEARNT:
            getattr(self, name).load_state_dict(state[name])
        self.system.load_state_dict(state.get("system", {}), self.device)
        self.images, self.updates = int(state["images"]), int(state["updates"])
        self._figures.load_state_dict(state["figures"], self.device)
        torch.set_rng_state(state["random"].cpu())
        if "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), self.device)


def placed(network: Network, architecture: str, device: torch.device) -> Network:
    """The network on its device, in the order of memory that is fastest there: channels-last.

    Not so the many narrow convolutions of SRResNet on a CPU (measured: a fifth slower in channels-last).
    """
    plain = architecture == "srresnet" and device.type == "cpu"
    order = torch.contiguous_format if plain else torch.channels_last
    return network.to(device, memory_format=order)  # type: ignore[call-overload, no-any-return]


def make_optimizer(config: OptimizerConfig, network: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Adam with the configured betas, or RMSprop."""
    options = optimizer_options(config, rate)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(network.parameters(), **options)
    # Fused, a step goes through memory once: a fifth of the time on a CPU. It reads gradients and moments in the order
    # of the weights' memory, which autograd and checkpoints keep.
    return torch.optim.Adam(network.parameters(), fused=True, **options)


def optimizer_options(config: OptimizerConfig, rate: float) -> dict[str, Any]:
    """All that a configuration sets of its optimiser; the rest are torch's defaults."""
    return {"lr": rate} if config.name == "rmsprop" else {"lr": rate, "betas": (config.beta1, config.beta2)}


def _floats(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.is_floating_point()]


def _gradient_norm(network: nn.Module) -> Tensor:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


class _Means:
    """Running means of scalars that stay on the device until asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = defaultdict(int)
        self._worst: dict[str, Tensor] = {}

    def add(self, figures: dict[str, Tensor]) -> None:
        for name, value in figures.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] += 1
            worst = value.abs()  # NaN stays NaN
            self._worst[name] = torch.maximum(self._worst[name], worst) if name in self._worst else worst

    def worst(self) -> dict[str, float]:
        """Largest magnitude of each figure since the last look."""
        worst, self._worst = self._worst, {}
        return _read(worst)

    def take(self, others: _Means, place: int) -> None:
        """Add what was counted of trial number ``place`` in means of several, whose values are ``(k,)``."""
        for name, sums in others._sums.items():
            worst = others._worst[name][place]
            self._sums[name] = self._sums[name] + sums[place] if name in self._sums else sums[place]
            self._counts[name] += others._counts[name]
            self._worst[name] = torch.maximum(self._worst[name], worst) if name in self._worst else worst

    def state_dict(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "counts": dict(self._counts), "worst": dict(self._worst)}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self._sums, self._worst = (
            {name: value.to(device) for name, value in state[part].items()} for part in ("sums", "worst")
        )
        self._counts = defaultdict(int, state["counts"])

    def means(self) -> dict[str, float]:
        return {name: value / self._counts[name] for name, value in _read(self._sums).items()}


def _read(figures: dict[str, Tensor]) -> dict[str, float]:
    # One transfer for all of them rather than one per figure.
    values = torch.stack([value.double() for value in figures.values()]).tolist() if figures else []
    return dict(zip(figures, values, strict=True))
