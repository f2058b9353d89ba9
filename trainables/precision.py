"""Arithmetic of training: all in float32, or the forward passes of the networks in bfloat16.

With ``bf16`` convolutions and matrix products of a forward pass, and so of its backward pass, run in bfloat16
(autocast); what the networks say is widened again. Weights, running statistics, optimisers, losses and gradient
penalties are float32 in both.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

Precision = Literal["float32", "bf16"]


def forward_pass(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a network runs forward; with ``float32`` it does nothing at all."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def widened(output: Tensor) -> Tensor:
    """A network's output for the losses: float32 where it is bfloat16, else itself."""
    return output.float() if output.dtype == torch.bfloat16 else output
