"""Precision of training: float32 throughout, or bfloat16 in the forward passes of the networks.

With ``bf16`` convolutions and matrix products of a forward pass, and so of its backward pass, run in bfloat16
(autocast); their outputs are converted back to float32. Weights, running statistics, optimisers, losses and gradient
penalties are float32 in both.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from trainables.config import Precision as Precision  # noqa: TC001 - offered here too

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor


def forward_pass(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a network's forward pass; a null context for ``float32``."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def in_precision(network: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    """Wrap a network so that its forward pass runs in ``precision`` and its outputs are float32.

    Outputs are a tensor, or a tuple or list of tensors. Penalties call the network itself: bfloat16's 8 bits are too
    few for a second derivative.
    """
    if precision == "float32":
        return network

    def forward(*inputs: Tensor) -> Any:
        with forward_pass(precision, inputs[0].device):
            output = network(*inputs)
        return _all_widened(output)

    return forward


def widened(output: Tensor) -> Tensor:
    """Convert a bfloat16 tensor to float32; return others unchanged."""
    return output.float() if output.dtype == torch.bfloat16 else output


def _all_widened(output: Any) -> Any:
    if isinstance(output, torch.Tensor):
        return widened(output)
    parts = [_all_widened(part) for part in output]
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
