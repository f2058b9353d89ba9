"""Random numbers of several trials in one process: each trial draws from its own stream, as if it ran alone.

``vmap`` itself draws for all trials at once, from one state. Here a ``torch.autograd.Function`` with its own ``vmap``
rule, torch's public interface to the batched tensors, draws once per trial.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ALPHA = 1.7580993408473766
"""Constant of alpha dropout: the negative of SELU's lower limit (Klambauer et al. 2017)."""


class RngStream:
    """A trial's state of torch's global random generators; starts from their current state."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._states = self._read()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Draw from this stream inside the block; restore the global state after it."""
        outside = self._read()
        self._write(self._states)
        try:
            yield
        finally:
            self._states = self._read()
            self._write(outside)

    def _read(self) -> list[Tensor]:
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    def _write(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(states[1], self.device)


class PerTrialRng(TorchFunctionMode):
    """Inside ``vmap`` over trials, makes every draw once per trial from its stream, in the order of training alone.

    ``vmap`` does not support ``torch.autograd.grad`` and ``requires_grad_``; here they act on all trials at once. No
    trial's output depends on another's input, so the gradient of the sum over trials is each trial's gradient.

    Args:
        streams: the streams of the trials, in the order of the batch.
        batched: any tensor that ``vmap`` batches; draws without a tensor argument get the batch from it.
    """

    def __init__(self, streams: Sequence[RngStream], batched: Tensor) -> None:
        super().__init__()
        self.streams, self.batched = streams, batched
        self._instead: dict[Any, Callable[..., Any]] = {
            **{draw: self._drawn(draw) for draw in (torch.rand, torch.randn, torch.randint)},
            **{draw: self._drawn_like(draw) for draw in (torch.rand_like, torch.randn_like)},
            Tensor.uniform_: self._uniform,
            F.dropout: self._dropout,
            F.alpha_dropout: self._alpha_dropout,
            Tensor.requires_grad_: _require_grad,
            torch.autograd.grad: _gradients,
        }

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._instead.get(func, func)(*args, **(kwargs or {}))

    def _each(self, draw: Callable[[Tensor], Tensor], like: Tensor | None = None) -> Tensor:
        """Call ``draw`` once per trial, with that trial's part of ``like``, and batch the results."""

        def draw_all(tensors: Sequence[Tensor], dimensions: Sequence[int | None]) -> tuple[Tensor, int]:
            part = tensors[0] if dimensions[0] is None else tensors[0].select(dimensions[0], 0)
            drawn = []
            for stream in self.streams:
                with stream.active():
                    drawn.append(draw(part))
            return torch.stack(drawn), 0

        drawn: Tensor = _outside_vmap(draw_all, self.batched if like is None else like, self.batched)
        return drawn

    def _drawn(self, draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *args, **kwargs: self._each(lambda _: draw(*args, **kwargs))

    def _drawn_like(self, draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda tensor: self._each(lambda part: draw(_empty_like(part)), tensor)

    def _uniform(self, tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        return tensor.copy_(self._each(lambda part: _empty_like(part).uniform_(low, high), tensor))

    def _dropout(self, tensor: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return tensor
        return tensor * self._each(lambda part: F.dropout(_empty_maps(part).fill_(1.0), p), tensor)

    def _alpha_dropout(self, tensor: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
        """Set dropped activations to SELU's lower limit; scale and shift preserve mean and variance."""
        if not training or p == 0:
            return tensor
        kept = self._each(lambda part: _empty_maps(part).bernoulli_(1 - p), tensor)
        scale = ((ALPHA**2 * p + 1) * (1 - p)) ** -0.5
        shifted: Tensor = tensor * (kept * scale) + ((kept - 1) * (ALPHA * scale) + ALPHA * scale * p)
        return shifted


class _OutsideVmap(torch.autograd.Function):
    """Calls ``function(tensors, dimensions)`` with tensors of all trials and the dimension of trials in each.

    A dimension is ``None`` for a tensor that is not batched. ``function`` returns its result and the dimension of
    trials in it. torch passes a ``vmap`` rule the batched tensors, and differentiates the operations of the rule.
    """

    @staticmethod
    def forward(function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Reject calls outside ``vmap``."""
        raise RuntimeError("draws of fused trials are made inside torch.func.vmap over the trials")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Save nothing: autograd differentiates the operations of ``vmap``."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], function: Callable[..., Any], *tensors: Tensor) -> Any:
        """Call the function; the first of ``in_dims`` is ``None``, for the function itself."""
        return function(tensors, in_dims[1:])


def _outside_vmap(function: Callable[..., Any], *tensors: Tensor) -> Any:
    return _OutsideVmap.apply(function, *tensors)


def _empty_like(part: Tensor) -> Tensor:
    """Return an empty, dense tensor in the memory order of one trial's part, since draws fill tensors in that order."""
    order = memory_order(part)
    dense = torch.empty([part.shape[dimension] for dimension in order], dtype=part.dtype, device=part.device)
    return dense.permute([order.index(dimension) for dimension in range(len(order))])


def _empty_maps(part: Tensor) -> Tensor:
    """Return ``_empty_like``, but feature maps channels-last as in training alone: grouped convolutions may differ."""
    empty = _empty_like(part)
    return empty.contiguous(memory_format=torch.channels_last) if empty.dim() == 4 else empty


def memory_order(tensor: Tensor) -> list[int]:
    """Return the dimensions of a tensor by descending stride."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda dimension: -strides[dimension])


def _require_grad(tensor: Tensor) -> Tensor:
    def require(tensors: Sequence[Tensor], dimensions: Sequence[int | None]) -> tuple[Tensor, int | None]:
        return tensors[0].requires_grad_(), dimensions[0]

    required: Tensor = _outside_vmap(require, tensor)
    return required


def _gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], *, create_graph: bool, **defaults: Any
) -> tuple[Tensor, ...]:
    """Run ``torch.autograd.grad``; its other options keep their ``defaults``."""

    def differentiate(tensors: Sequence[Tensor], dimensions: Sequence[int | None]) -> tuple[Any, Any]:
        output, *points = tensors
        return torch.autograd.grad(output.sum(), points, create_graph=create_graph), tuple(dimensions[1:])

    gradients: tuple[Tensor, ...] = _outside_vmap(differentiate, *outputs, *inputs)
    return gradients
