"""Several trials trained as one batched program: equal structure, each with its own weights, scalars and randomness.

Small networks leave a GPU idle between many small operations. Here the weights of K trials lie in one tensor, and one
``vmap`` runs a forward pass of all of them; each trial's own parameters are views of its part, so that its optimiser,
its moving average and its checkpoints stay its own, and its numbers are those it has alone up to rounding.
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

from trainables.loop import CHECK_EVERY, NORM_EVERY, OutOfTime, _gradient_norm, _Means
from trainables.stopwatch import Stopwatch
from trainables.streams import EachDraws, memory_order
from trainables.systems.conditional import ConditionalGan
from trainables.systems.system import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainables.config import GanConfig, LossConfig
    from trainables.loop import TrainingLoop
    from trainables.streams import Stream
    from trainables.systems.system import Loss

    Outcome = dict[str, float] | Exception

WEIGHTS = ("adversarial_weight", "tag_weight", "penalty_weight", "penalty_noise", "wrong_tag_weight")
"""Scalars of a loss that differ from trial to trial inside the batched program."""
FREE = frozenset({
    *(f"losses.{name}" for name in (*WEIGHTS, "weight_clip")),
    *(f"optimizer.{name}" for name in ("name", "generator_lr", "discriminator_lr", "beta1", "beta2", "decay")),
    *(f"training.{name}" for name in ("ema_decay", "flip", "extra_data")),
})  # fmt: skip
"""Parameters in which fused trials may differ: those, and what each trial does by itself."""
TRIALS = -1
"""Stands for the dimension of trials in an order of dimensions."""


def fusable(one: GanConfig, other: GanConfig) -> bool:
    """Whether two configurations can be trained as one batched program: all is equal but the values of ``FREE``.

    Systems that translate are trained one by one.
    """
    mine, theirs = one.to_params(), other.to_params()
    # With spectral norm torch writes into buffers in a way that cannot be batched; the masks of dropout follow the
    # order of memory, which SRResNet has to itself.
    alone = one.translates or one.discriminator.spectral_norm
    alone |= any(part.architecture == "srresnet" and part.dropout > 0 for part in (one.generator, one.discriminator))
    return not alone and all(mine[name] == theirs[name] for name in mine if name not in FREE)


def go_together(one: TrainingLoop, other: TrainingLoop) -> bool:
    """Whether two loops can be trained as one batched program."""
    return (
        isinstance(one.system, ConditionalGan)
        and isinstance(other.system, ConditionalGan)
        and fusable(one.config, other.config)
        and one.device == other.device
        and one.system.precision == other.system.precision == "float32"  # vmap and autocast do not go together
        and one.system.encode == other.system.encode
    )


@dataclass
class Course:
    """A loop on its way to its next score.

    ``images`` is how many real pictures its discriminator shall have seen in all, ``seconds`` how long it may take by
    its ``clock``. ``on_check`` is called whenever the loop was found to be finite; within it all state is the loop's
    own and its ``stream`` is active.
    """

    loop: TrainingLoop
    stream: Stream
    images: int
    seconds: float = math.inf
    on_check: Callable[[], None] = lambda: None
    clock: Stopwatch = field(default_factory=Stopwatch)

    def __post_init__(self) -> None:
        self._began, self._before = self.clock(), self.loop.images

    def look(self) -> Outcome | None:
        """What ``TrainingLoop.train_until`` would return or raise now, by the time of this loop alone; None: go on."""
        loop = self.loop
        try:
            with self.clock.running():
                if loop.images > self._before and loop.updates % CHECK_EVERY == 0:
                    loop.require_finite()
                    with self.stream.active():
                        self.on_check()
            if self.clock() - self._began > self.seconds:
                raise OutOfTime(f"{loop.images / 1000:.1f} kimg trained")
            if loop.images < self.images:
                return None
            return loop.end_interval(loop.images - self._before, self.clock() - self._began)
        except Exception as reason:
            return reason


class FusedLoop:
    """Trains the loops of several courses together.

    Raises:
        ValueError: loops that do not go together.
    """

    def __init__(self, courses: Sequence[Course]) -> None:
        if not all(go_together(courses[0].loop, course.loop) for course in courses[1:]):
            raise ValueError("these loops are in bf16 or differ in more than scalars: they cannot be trained as one")
        self.courses = tuple(courses)

    def train(self) -> dict[int, Outcome]:
        """Train every loop by equally many updates: to the next look at one of them, or to the end of one.

        The time that it takes is shared out evenly.

        Returns:
            By place, the outcome of each course that has ended, and that shall not be trained any further.
        """
        short = [course for course in self.courses if course.loop.images < course.images]
        if len(short) == len(self.courses):
            began = time.monotonic()
            self._train(min(_updates_left(course.loop, course.images) for course in short))
            for course in short:
                course.clock.add((time.monotonic() - began) / len(short))
        looks = {place: course.look() for place, course in enumerate(self.courses)}
        return {place: outcome for place, outcome in looks.items() if outcome is not None}

    def _train(self, updates: int) -> None:
        loops, streams = [course.loop for course in self.courses], [course.stream for course in self.courses]
        for loop in loops:
            loop.generator.train()
            loop.discriminator.train()
        if len(loops) == 1:
            with streams[0].active():
                for _ in range(updates):
                    loops[0]._update(loops[0]._figures)
                    loops[0].updates += 1
        else:
            with _Stack(loops, streams).joined() as stack:
                for _ in range(updates):
                    stack.update()
        if loops[0].device.type == "cuda":
            torch.cuda.synchronize(loops[0].device)  # what was only asked for would be another's time


def _updates_left(loop: TrainingLoop, images: int) -> int:
    """Updates to the next look at the loop, or to its end."""
    return min(CHECK_EVERY - loop.updates % CHECK_EVERY, math.ceil((images - loop.images) / loop.images_per_update))


class _Stack:
    """The weights of several loops in one tensor per parameter, for some updates."""

    def __init__(self, loops: Sequence[TrainingLoop], streams: Sequence[Stream]) -> None:
        self.loops, self.streams = loops, streams
        self.generators = _Networks([loop.generator for loop in loops])
        self.discriminators = _Networks([loop.discriminator for loop in loops])
        self.system = cast(ConditionalGan, copy.copy(loops[0].system))
        self.both = nn.ModuleDict({"generator": self.system.generator, "discriminator": self.system.discriminator})
        self.weights = _varying([loop.config.losses for loop in loops], loops[0].device)
        self.figures = _Means()

    @contextlib.contextmanager
    def joined(self) -> Iterator[_Stack]:
        """Within, the loops' parameters are views of the stack; after it they are their own again."""
        networks = (self.generators, self.discriminators)
        try:
            for one in networks:
                one.share()
            yield self
        finally:
            for one in networks:
                one.part()
            for place, loop in enumerate(self.loops):
                loop._figures.take(self.figures, place)

    def update(self) -> None:
        """``TrainingLoop.update`` of every loop."""
        updates = self.loops[0].config.updates
        for loop in self.loops:
            loop._decay()
        for _ in range(updates.discriminator_steps):
            batch = self._draw(lambda loop: loop._draw_batch())
            for loop in self.loops:
                loop.images += loop.config.training.batch_size
            real, fake = self._run(lambda system, *of: system.shown(Batch(*of)), batch)
            for term in range(len(self.system.discriminator_terms)):
                loss = self._run(
                    lambda system, real, fake, *of, term=term: system.discriminator_terms[term](real, fake, Batch(*of)),
                    (real, fake, *batch), learning=self.discriminators,
                )  # fmt: skip
                self._step(loss, self.discriminators, "discriminator")
                for loop in self.loops:
                    loop.system.constrain()
        self._measure("discriminator")
        for _ in range(updates.generator_steps):
            codes = self._draw(lambda loop: loop._draw_codes())
            loss = self._run(lambda system, *of: system.generator_loss(Batch(*of)), codes, learning=self.generators)
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
        fields = ("pictures", "labels", "noise", "tags")
        return tuple(_together([getattr(batch, field) for batch in drawn]) for field in fields)

    def _run(self, what: Callable[..., Any], given: Sequence[Tensor], learning: _Networks | None = None) -> Any:
        """``what(system, *given)`` of every trial at once; only the weights of ``learning`` get gradients."""

        def one(state: dict[str, Tensor], weights: dict[str, Tensor], *tensors: Tensor) -> Any:
            self.system.config = _with_weights(self.loops[0].config, weights)
            with EachDraws(self.streams):
                return functional_call(_Calling(self.both, what, self.system), state, tensors)

        state = {}
        for name, networks in (("generator", self.generators), ("discriminator", self.discriminators)):
            for part, tensor in networks.tensors.items():
                state[f"both.{name}.{part}"] = tensor if networks is learning else tensor.detach()
        return vmap(one, randomness="error")(state, self.weights, *given)

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
                loop._figures.add({f"{name[0]}_gradient_norm": _gradient_norm(getattr(loop, name))})


class _Calling(nn.Module):
    """Lets ``functional_call`` put a trial's weights in place while any function of the system runs."""

    def __init__(self, both: nn.ModuleDict, what: Callable[..., Any], system: ConditionalGan) -> None:
        super().__init__()
        self.both, self.what, self.system = both, what, system

    def forward(self, *given: Tensor) -> Any:
        """What the function returns."""
        return self.what(self.system, *given)


class _Networks:
    """One network of every trial: each parameter and buffer ``(k, ...)``, in the order of memory that one alone has."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.parameters = [dict(network.named_parameters()) for network in networks]
        buffers = [dict(network.named_buffers()) for network in networks]
        self.own = [one | other for one, other in zip(buffers, self.parameters, strict=True)]
        self.tensors: dict[str, Tensor] = {}
        for name, first in self.own[0].items():
            shape, strides = (len(networks), *first.shape), (first.numel(), *first.stride())
            stacked = torch.empty_strided(shape, strides, dtype=first.dtype, device=first.device)
            for place, tensors in enumerate(self.own):
                stacked[place] = tensors[name].detach()
            self.tensors[name] = stacked.requires_grad_(first.requires_grad)

    def share(self) -> None:
        """Make the networks' own tensors views of the stack."""
        for place, tensors in enumerate(self.own):
            for name, tensor in tensors.items():
                tensor.data = self.tensors[name].detach()[place]

    def part(self) -> None:
        """Give the networks memory of their own again: a view would be stored with all that it is a view of."""
        for place, tensors in enumerate(self.own):
            for name, tensor in tensors.items():
                tensor.data = self.tensors[name].detach()[place].clone()
        for parameters in self.parameters:
            for parameter in parameters.values():
                parameter.grad = None

    def clear_gradients(self) -> None:
        for tensor in self.tensors.values():
            tensor.grad = None

    def hand_gradients(self) -> None:
        """Give each network its part of the gradients."""
        for place, parameters in enumerate(self.parameters):
            for name, parameter in parameters.items():
                gradient = self.tensors[name].grad
                parameter.grad = None if gradient is None else gradient[place]


def _together(tensors: Sequence[Tensor]) -> Tensor:
    """``(k, ...)``, each in the order of memory it has; pictures with the trials beside the channels, where grouped
    convolutions want them.
    """
    if tensors[0].dim() < 4:
        return torch.stack(list(tensors))
    order = memory_order(tensors[0])
    before = order.index(1)
    stacked = torch.stack([one.permute(order) for one in tensors], dim=before)
    places = [*order[:before], TRIALS, *order[before:]]
    return stacked.permute([places.index(place) for place in (TRIALS, 0, 1, 2, 3)])


def _varying(losses: Sequence[LossConfig], device: torch.device) -> dict[str, Tensor]:
    """The weights that are not equal in all trials, each ``(k,)``; one that is equal stays the number it is."""
    values = {name: [getattr(one, name) for one in losses] for name in WEIGHTS}
    kind = torch.get_default_dtype()
    return {name: torch.tensor(of, dtype=kind, device=device) for name, of in values.items() if len(set(of)) > 1}


def _with_weights(config: GanConfig, weights: dict[str, Tensor]) -> GanConfig:
    """The configuration with tensors in place of some numbers, which no validation would let pass."""
    changed = copy.copy(config)
    object.__setattr__(changed, "losses", dataclasses.replace(config.losses, **cast(Any, weights)))
    return changed
