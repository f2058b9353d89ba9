"""Inference speed of feature networks at equal features: folded batch norms, memory layout, batch size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trainables.precision import Precision as Precision  # noqa: TC001 - offered here too

if TYPE_CHECKING:
    from collections.abc import Callable

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}

CPU_ACTIVATIONS = 64 * 2**20
"""Bytes of activations per batch. Measured: larger batches are slower, as they exceed the CPU caches."""
LARGEST_BATCH = 256


@dataclass(frozen=True)
class FeatureNetwork:
    """A network prepared for inference: images ``(n, 3, h, w)`` in [0, 255] -> features ``(n, d)``."""

    features: Callable[[Tensor], Tensor]
    weights: str
    """First 16 hex digits of the SHA-256 of the weights file."""
    resize: str
    """Description of the resize before the network."""
    batch: int


def fold_batch_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Fold a batch norm in evaluation mode into its convolution; in float64, so that only the result is rounded."""
    folded: nn.Conv2d = fuse_conv_bn_eval(convolution.double(), norm.double()).float()
    return folded


def prepare_network(network: nn.Module, device: str, precision: Precision) -> nn.Module:
    """Put the network in evaluation mode and channels-last, on its device, without gradients."""
    network = network.eval().requires_grad_(False)
    return network.to(device=device, dtype=DTYPES[precision], memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def choose_batch_size(activations: int, device: str) -> int:
    """Choose a batch size: on the CPU what fits ``CPU_ACTIVATIONS``, on a GPU an eighth of the free memory.

    Args:
        activations: bytes of the largest activations of one image.
        device: where the network runs.
    """
    budget = torch.cuda.mem_get_info(device)[0] // 8 if device.startswith("cuda") else CPU_ACTIVATIONS
    return max(1, min(LARGEST_BATCH, budget // activations))
