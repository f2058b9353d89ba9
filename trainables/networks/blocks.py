"""Pieces that networks share: layers, initialisation, parameter counts, batch-norm statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

LEAK = 0.2
"""Slope of every LeakyReLU of the reports (A, B, E, F, H)."""


class PointConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of a 1x1 input, ``(n, inputs, 1, 1)`` -> ``(n, outputs, kernel, kernel)``.

    There it is one matrix product, which on a CPU takes a tenth of the general routine's time; in channels-last order
    neither weights nor result are copied.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)

    def forward(self, point: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Spread each point over ``kernel x kernel`` pixels."""
        kernel = self.kernel_size[0]
        product = point.flatten(1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        spread = product.view(-1, kernel, kernel, self.out_channels).permute(0, 3, 1, 2)
        return spread if self.bias is None else spread + self.bias[:, None, None]


def initialise(network: nn.Module, std: float = 0.02) -> None:
    """Normal initialisation of Radford et al. 2016: weights N(0, ``std``), norm scales N(1, ``std``), biases 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)


def count_parameters(network: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@torch.no_grad()
def settle_batch_norm(network: nn.Module, draw: Callable[[], object], batches: int = 16) -> None:
    """Replace the running statistics of every batch norm by the mean over ``batches`` calls of ``draw``.

    Standing statistics (Brock et al. 2019): a moving average of the weights, or a momentum of 0.5 as in A, leaves
    running statistics that fit no network in particular. ``draw`` must run ``network`` once on a fresh batch; all
    else stays in evaluation mode, so that pictures no longer depend on the batch they are drawn in.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for the cumulative mean
        norm.train()
    for _ in range(batches if norms else 0):
        draw()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
