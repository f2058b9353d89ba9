"""Training of several trials as one batched program: trials share the structure; weights, scalars and random numbers
stay per trial.

Small networks leave a GPU idle between many small operations. Here each parameter of K trials is stacked in one
tensor, and ``vmap`` runs one forward pass of all trials. Each trial's parameters are views of its part of the stack, so
that optimizer, moving average and checkpoints stay per trial; results equal those of training alone up to rounding.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from trainables.config import OptimizerConfig
from trainables.fused.rng_streams import PerTrialRng, memory_order
from trainables.systems.conditional import ConditionalGan
from trainables.systems.system import Batch
from trainables.training.loop import CHECK_EVERY, NORM_EVERY, OutOfTime, gradient_norm
from trainables.training.running_means import RunningMeans
from trainables.training.schedules import with_sections
from trainables.trial.trial_clock import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainables.config import GanConfig
    from trainables.fused.rng_streams import RngStream
    from trainables.systems.system import Loss
    from trainables.training.loop import TrainingLoop

    Outcome = dict[str, float] | Exception

WEIGHTS = ("adversarial_weight", "tag_weight", "penalty_weight", "penalty_noise", "wrong_tag_weight")
"""Scalars of a loss that may differ between the trials of a batched program."""
AUGMENT = "augment_probability"
PER_TRIAL_PARAMS = frozenset({
    *(f"losses.{name}" for name in (*WEIGHTS, "weight_clip", "penalty_decay", "penalty_final_share")),
    *(f"optimizer.{field.name}" for field in dataclasses.fields(OptimizerConfig)),
    *(f"training.{name}" for name in ("ema_decay", "ema_halflife", "flip", "extra_data")),
})  # fmt: skip
"""Parameters in which fused trials may differ: ``WEIGHTS``, and those that act on each trial separately."""
TRIALS = -1
"""Stands for the dimension of trials in an order of dimensions."""


def fusable(one: GanConfig, other: GanConfig) -> bool:
    """Return whether two configurations differ only in ``PER_TRIAL_PARAMS`` and can train as one batched program.

    Translating systems are trained one by one.
    """
    params, others = one.to_params(), other.to_params()
    # vmap cannot batch the buffers that spectral norm writes; dropout masks follow the memory order, which differs for
    # SRResNet.
    alone = one.translates or one.discriminator.spectral_norm
    alone |= one.training.augment_target > 0  # it adapts to figures of its own trial
    alone |= any(part.architecture == "srresnet" and part.dropout > 0 for part in (one.generator, one.discriminator))
    return not alone and all(params[name] == others[name] for name in params if name not in PER_TRIAL_PARAMS)


def go_together(one: TrainingLoop, other: TrainingLoop) -> bool:
    """Return whether two loops can be trained as one batched program.

    With lazy penalties, their next penalty must come at the same step.
    """
    return (
        isinstance(one.system, ConditionalGan)
        and isinstance(other.system, ConditionalGan)
        and fusable(one.config, other.config)
        and one.device == other.device
        and one.system.precision == other.system.precision == "float32"  # vmap does not support autocast
        and one.system.encode == other.system.encode
        and one.penalty_phase == other.penalty_phase
    )


@dataclass
class TrainingSegment:
    """Training of one loop up to its next evaluation.

    ``images`` is the total number of real images that its discriminator has seen at the end, ``seconds`` the time
    limit by its ``clock``. ``on_check`` is called after each check for finite losses; during the call the loop's
    tensors have their own memory and its ``stream`` is active.
    """

    loop: TrainingLoop
    stream: RngStream
    images: int
    seconds: float = math.inf
    on_check: Callable[[], None] = lambda: None
    clock: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self._began, self._before = self.clock(), self.loop.images_seen

    def look(self) -> Outcome | None:
        """Return what ``TrainingLoop.train_until`` would return or raise now, or None to continue."""
        loop = self.loop
        try:
            with self.clock.running():
                if loop.images_seen > self._before and loop.updates % CHECK_EVERY == 0:
                    loop.require_finite()
                    with self.stream.active():
                        self.on_check()
            if self.clock() - self._began > self.seconds:
                raise OutOfTime(f"{loop.images_seen / 1000:.1f} kimg trained")
            if loop.images_seen < self.images:
                return None
            return loop.end_interval(loop.images_seen - self._before, self.clock() - self._began)
        except Exception as reason:
            return reason


class FusedLoop:
    """Trains the loops of several segments together.

    Raises:
        ValueError: the loops cannot form one program; see ``go_together``.
    """

    def __init__(self, segments: Sequence[TrainingSegment]) -> None:
        if not all(go_together(segments[0].loop, segment.loop) for segment in segments[1:]):
            raise ValueError("these loops are in bf16 or differ in more than scalars: they cannot be trained as one")
        self.segments = tuple(segments)

    def train(self) -> dict[int, Outcome]:
        """Train every loop by the same number of updates: to the next check or the end of one of them.

        The elapsed time is divided evenly between the trials.

        Returns:
            The outcome of each segment that has ended, by its index.
        """
        unfinished = [segment for segment in self.segments if segment.loop.images_seen < segment.images]
        if len(unfinished) == len(self.segments):
            began = time.monotonic()
            self._train(min(_updates_left(segment.loop, segment.images) for segment in unfinished))
            for segment in unfinished:
                segment.clock.add((time.monotonic() - began) / len(unfinished))
        outcomes = {index: segment.look() for index, segment in enumerate(self.segments)}
        return {index: outcome for index, outcome in outcomes.items() if outcome is not None}

    def _train(self, updates: int) -> None:
        loops, streams = [segment.loop for segment in self.segments], [segment.stream for segment in self.segments]
        for loop in loops:
            loop.generator.train()
            loop.discriminator.train()
        if len(loops) == 1:
            with streams[0].active():
                for _ in range(updates):
                    loops[0]._update(loops[0]._figures)
                    loops[0].updates += 1
        else:
            with BatchedNetworks(loops, streams).joined() as stack:
                for _ in range(updates):
                    stack.update()
        if loops[0].device.type == "cuda":
            torch.cuda.synchronize(loops[0].device)  # otherwise queued work would count for another trial


def _updates_left(loop: TrainingLoop, images: int) -> int:
    """Return the number of updates to the loop's next check or its end."""
    return min(
        CHECK_EVERY - loop.updates % CHECK_EVERY, math.ceil((images - loop.images_seen) / loop.images_per_update)
    )


class BatchedNetworks:
    """Weights of several loops, stacked in one tensor per parameter for a number of updates."""

    def __init__(self, loops: Sequence[TrainingLoop], streams: Sequence[RngStream]) -> None:
        self.loops, self.streams = loops, streams
        self.generators = _Networks([loop.generator for loop in loops])
        self.discriminators = _Networks([loop.discriminator for loop in loops])
        self.system = cast("ConditionalGan", copy.copy(loops[0].system))
        self.both = nn.ModuleDict({"generator": self.system.generator, "discriminator": self.system.discriminator})
        self.weights: dict[str, Tensor] = {}
        self.figures = RunningMeans()

    @contextlib.contextmanager
    def joined(self) -> Iterator[BatchedNetworks]:
        """Make the loops' parameters views of the stack inside the block; copy them to their own memory after it."""
        stacks = (self.generators, self.discriminators)
        try:
            for stack in stacks:
                stack.share()
            yield self
        finally:
            for stack in stacks:
                stack.part()
            for index, loop in enumerate(self.loops):
                loop._figures.take(self.figures, index)

    def update(self) -> None:
        """Run ``TrainingLoop._update`` for all loops at once."""
        updates = self.loops[0].config.updates
        for loop in self.loops:
            loop._follow_schedules()
        self.weights = _varying([loop.system.config for loop in self.loops], self.loops[0].device)
        for step in range(updates.discriminator_steps):
            batch = self._draw(lambda loop: loop._draw_batch())
            self.system.penalty_scale = self.loops[0].penalty_scale(step)
            for loop in self.loops:
                loop.images_seen += loop.config.training.batch_size
            real, fake = self._run(lambda system, *fields: system.shown(Batch(*fields)), batch)
            for index in range(len(self.system.discriminator_terms)):
                loss = self._run(
                    lambda system, real, fake, *fields, index=index: system.discriminator_terms[index](
                        real, fake, Batch(*fields)
                    ),
                    (real, fake, *batch),
                    learning=self.discriminators,
                )
                self._step(loss, self.discriminators, "discriminator")
                for loop in self.loops:
                    loop.system.constrain()
        self._measure("discriminator")
        for _ in range(updates.generator_steps):
            codes = self._draw(lambda loop: loop._draw_generator_batch())
            loss = self._run(
                lambda system, *fields: system.generator_loss(Batch(*fields)), codes, learning=self.generators
            )
            self._step(loss, self.generators, "generator")
        self._measure("generator")
        for loop in self.loops:
            loop._update_average()
            loop.updates += 1

    def _draw(self, draw: Callable[[TrainingLoop], Batch]) -> tuple[Tensor, ...]:
        drawn = []
        for loop, stream in zip(self.loops, self.streams, strict=True):
            with stream.active():
                drawn.append(draw(loop))
        fields = ("images", "labels", "noise", "tags")
        return tuple(_stack([getattr(batch, field) for batch in drawn]) for field in fields)

    def _run(self, function: Callable[..., Any], inputs: Sequence[Tensor], learning: _Networks | None = None) -> Any:
        """Call ``function(system, *inputs)`` for all trials at once; only the weights of ``learning`` get gradients."""

        def run_trial(trial: Tensor, state: dict[str, Tensor], weights: dict[str, Tensor], *tensors: Tensor) -> Any:
            self.system.config = _with_weights(self.loops[0].system.config, weights)
            with PerTrialRng(self.streams, trial):
                return functional_call(_Calling(self.both, function, self.system), state, tensors)

        state = {}
        for name, networks in (("generator", self.generators), ("discriminator", self.discriminators)):
            for part, tensor in networks.tensors.items():
                state[f"both.{name}.{part}"] = tensor if networks is learning else tensor.detach()
        trials = torch.arange(len(self.loops), device=self.loops[0].device)
        return vmap(run_trial, randomness="error")(trials, state, self.weights, *inputs)

    def _step(self, loss: Loss, networks: _Networks, name: str) -> None:
        networks.clear_gradients()
        loss.total.sum().backward()  # type: ignore[no-untyped-call]
        networks.hand_gradients()
        for loop in self.loops:
            getattr(loop, f"{name}_optimizer").step()
        self.figures.add(loss.figures)

    def _measure(self, name: str) -> None:
        for loop in self.loops:
            if loop.updates % NORM_EVERY == 0:
                loop._figures.add({f"{name[0]}_gradient_norm": gradient_norm(getattr(loop, name))})


class _Calling(nn.Module):
    """Module that lets ``functional_call`` swap in a trial's weights while a function of the system runs."""

    def __init__(self, both: nn.ModuleDict, function: Callable[..., Any], system: ConditionalGan) -> None:
        super().__init__()
        self.both, self.function, self.system = both, function, system

    def forward(self, *inputs: Tensor) -> Any:
        """Return the function's result."""
        return self.function(self.system, *inputs)


class _Networks:
    """One network of all trials: each parameter and buffer ``(k, ...)``, in the memory order of a single network."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.parameters = [dict(network.named_parameters()) for network in networks]
        buffers = [dict(network.named_buffers()) for network in networks]
        self.states = [named | parameters for named, parameters in zip(buffers, self.parameters, strict=True)]
        self.tensors: dict[str, Tensor] = {}
        for name, first in self.states[0].items():
            shape, strides = (len(networks), *first.shape), (first.numel(), *first.stride())
            stacked = torch.empty_strided(shape, strides, dtype=first.dtype, device=first.device)
            for index, tensors in enumerate(self.states):
                stacked[index] = tensors[name].detach()
            self.tensors[name] = stacked.requires_grad_(first.requires_grad)

    def share(self) -> None:
        """Make the networks' tensors views of the stack."""
        for index, tensors in enumerate(self.states):
            for name, tensor in tensors.items():
                tensor.data = self.tensors[name].detach()[index]

    def part(self) -> None:
        """Copy the networks' tensors to memory of their own: saving a view would store the whole stack."""
        for index, tensors in enumerate(self.states):
            for name, tensor in tensors.items():
                tensor.data = self.tensors[name].detach()[index].clone()
        for parameters in self.parameters:
            for parameter in parameters.values():
                parameter.grad = None

    def clear_gradients(self) -> None:
        for tensor in self.tensors.values():
            tensor.grad = None

    def hand_gradients(self) -> None:
        """Assign each network its part of the gradients."""
        for index, parameters in enumerate(self.parameters):
            for name, parameter in parameters.items():
                gradient = self.tensors[name].grad
                parameter.grad = None if gradient is None else gradient[index]


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Stack to ``(k, ...)`` in the tensors' memory order. For images, the trials lie next to the channels in memory, as
    grouped convolutions need.
    """
    if tensors[0].dim() < 4:
        return torch.stack(list(tensors))
    order = memory_order(tensors[0])
    before = order.index(1)
    stacked = torch.stack([tensor.permute(order) for tensor in tensors], dim=before)
    dimensions = [*order[:before], TRIALS, *order[before:]]
    return stacked.permute([dimensions.index(dimension) for dimension in (TRIALS, 0, 1, 2, 3)])


def _varying(configs: Sequence[GanConfig], device: torch.device) -> dict[str, Tensor]:
    """Return the weights that differ among trials, each ``(k,)``; equal ones stay plain numbers."""
    scalars = {name: [getattr(config.losses, name) for config in configs] for name in WEIGHTS}
    # Differs only by schedule, between trials of different progress.
    scalars[AUGMENT] = [config.training.augment_probability for config in configs]
    dtype = torch.get_default_dtype()
    return {
        name: torch.tensor(values, dtype=dtype, device=device)
        for name, values in scalars.items()
        if len(set(values)) > 1
    }


def _with_weights(config: GanConfig, weights: dict[str, Tensor]) -> GanConfig:
    """Return the configuration with tensors in place of some numbers, bypassing validation."""
    losses, training = (
        {name: value for name, value in weights.items() if (name == AUGMENT) is of_training}
        for of_training in (False, True)
    )
    return with_sections(config, {
        "losses": dataclasses.replace(config.losses, **cast("Any", losses)),
        "training": dataclasses.replace(config.training, **cast("Any", training)),
    })  # fmt: skip
