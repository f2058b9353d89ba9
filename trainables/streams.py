"""Random numbers of several trials in one process: each draws from its own stream what it would draw alone."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ALPHA = 1.7580993408473766
"""Of alpha dropout: minus the value that SELU saturates at (Klambauer et al. 2017)."""


class Stream:
    """A trial's place in torch's random numbers, of which a process has only one; begins where the process stands."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._states = self._read()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Whatever is drawn within comes from this stream; the process then goes on as if nothing had been drawn."""
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


class EachDraws(TorchFunctionMode):
    """Inside ``vmap`` over trials, every draw is made once per trial, from its stream, in the order it has alone.

    ``torch.autograd.grad`` and ``requires_grad_``, which ``vmap`` refuses, act on all trials at once: no trial's
    output depends on another's input, so the gradient of their sum is each one's own.
    """

    def __init__(self, streams: Sequence[Stream]) -> None:
        super().__init__()
        self.streams = streams
        self._instead: dict[Any, Callable[..., Any]] = {
            **{draw: self._drawn(draw) for draw in (torch.rand, torch.randn, torch.randint)},
            **{draw: self._drawn_like(draw) for draw in (torch.rand_like, torch.randn_like)},
            Tensor.uniform_: self._uniform,
            F.dropout: self._dropout,
            F.alpha_dropout: self._alpha_dropout,
            Tensor.requires_grad_: _require_grad,
            Tensor.requires_grad.__get__: lambda tensor: _functorch.get_unwrapped(tensor).requires_grad,  # type: ignore[attr-defined]
            torch.autograd.grad: _gradients,
        }

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._instead.get(func, func)(*args, **(kwargs or {}))

    def _each(self, draw: Callable[[], Tensor]) -> Tensor:
        drawn = []
        with temporarily_pop_interpreter_stack():
            for stream in self.streams:
                with stream.active():
                    drawn.append(draw())
            stacked = torch.stack(drawn)
        return _batched(stacked, 0)

    def _drawn(self, draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *args, **kwargs: self._each(lambda: draw(*args, **kwargs))

    def _drawn_like(self, draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda tensor: self._each(lambda: draw(_alone(tensor)))

    def _uniform(self, tensor: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        return tensor.copy_(self._each(lambda: _alone(tensor).uniform_(low, high)))

    def _dropout(self, tensor: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return tensor
        return tensor * self._each(lambda: F.dropout(_maps(tensor).fill_(1.0), p))

    def _alpha_dropout(self, tensor: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
        """Dropped activations take SELU's lowest value; scale and shift keep mean and variance."""
        if not training or p == 0:
            return tensor
        kept = self._each(lambda: _maps(tensor).bernoulli_(1 - p))
        scale = ((ALPHA**2 * p + 1) * (1 - p)) ** -0.5
        shifted: Tensor = tensor * (kept * scale) + ((kept - 1) * (ALPHA * scale) + ALPHA * scale * p)
        return shifted


def _batched(stacked: Tensor, dimension: int) -> Tensor:
    """A tensor with a dimension of trials as ``vmap`` sees it, without that dimension."""
    return _functorch._add_batch_dim(stacked, dimension, _functorch.current_level())


def _alone(tensor: Tensor) -> Tensor:
    """An empty tensor like one trial's part, with its order in memory: draws fill tensors in that order."""
    inner, dimension = _functorch.get_unwrapped(tensor), _functorch.maybe_get_bdim(tensor)
    one = inner.select(dimension, 0) if dimension >= 0 else inner
    order = memory_order(one)
    dense = torch.empty([one.shape[place] for place in order], dtype=one.dtype, device=one.device)
    return dense.permute([order.index(place) for place in range(len(order))])


def _maps(tensor: Tensor) -> Tensor:
    """The same of maps inside a network, which alone are in channels-last order; grouped convolutions may change it."""
    found = _alone(tensor)
    return found.contiguous(memory_format=torch.channels_last) if found.dim() == 4 else found


def memory_order(tensor: Tensor) -> list[int]:
    """The dimensions of a tensor, the slowest first."""
    strides = tensor.stride()
    return sorted(range(tensor.dim()), key=lambda place: -strides[place])


def _require_grad(tensor: Tensor) -> Tensor:
    inner = _functorch.get_unwrapped(tensor)
    with temporarily_pop_interpreter_stack():
        inner.requires_grad_()
    return tensor


def _gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], *, create_graph: bool, **rest: Any
) -> tuple[Tensor, ...]:
    output, *places = (_functorch.get_unwrapped(tensor) for tensor in (*outputs, *inputs))
    with temporarily_pop_interpreter_stack():
        gradients = torch.autograd.grad(output.sum(), places, create_graph=create_graph)
    dimensions = [_functorch.maybe_get_bdim(tensor) for tensor in inputs]
    return tuple(_batched(one, dimension) for one, dimension in zip(gradients, dimensions, strict=True))
