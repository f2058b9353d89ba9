"""Arithmetic of training: all in float32, or the forward passes of the networks in bfloat16.

With ``bf16`` convolutions and matrix products of a forward pass, and so of its backward pass, run in bfloat16
(autocast); what the networks say is widened again. Weights, running statistics, optimisers, losses and gradient
penalties are float32 in both.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

Precision = Literal["float32", "bf16"]


def forward_pass(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a network runs forward; with ``float32`` it does nothing at all."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def in_precision(network: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    """The network as training runs it: what it says is a tensor, or a tuple or list of such, widened for the losses.

    Penalties call the network itself: of bfloat16's 8 bits too few are left in the slope of a slope.
    """
    if precision == "float32":
        return network

    def forward(*inputs: Tensor) -> Any:
        with forward_pass(precision, inputs[0].device):
            said = network(*inputs)
        return _all_widened(said)

    return forward


def widened(output: Tensor) -> Tensor:
    """A tensor in float32 where it is bfloat16, else itself."""
    return output.float() if output.dtype == torch.bfloat16 else output


def _all_widened(said: Any) -> Any:
    if isinstance(said, torch.Tensor):
        return widened(said)
    parts = [_all_widened(part) for part in said]
    return type(said)(*parts) if hasattr(said, "_fields") else type(said)(parts)
