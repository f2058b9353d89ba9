"""Pieces that networks share: layers, norms, initialisation, parameter counts, batch-norm statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainables.precision import widened

if TYPE_CHECKING:
    from collections.abc import Callable

LEAK = 0.2
"""Slope of every LeakyReLU of the reports (A, B, E, F, H)."""


class PointConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of a 1x1 input, ``(n, inputs, 1, 1)`` -> ``(n, outputs, kernel, kernel)``.

    There it is one matrix product, which on a CPU takes a tenth of the general routine's time; in channels-last order
    neither weights nor result are copied.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, bias=bias)

    def forward(self, point: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Spread each point over ``kernel x kernel`` pixels."""
        kernel = self.kernel_size[0]
        product = point.flatten(1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        spread = product.view(-1, kernel, kernel, self.out_channels).permute(0, 3, 1, 2)
        return spread if self.bias is None else spread + self.bias[:, None, None]


class StridedConv2d(nn.Conv2d):
    """A strided convolution that may meet maps of a single pixel.

    There oneDNN's gradient in bfloat16 is whatever lay in memory, at the places of the kernel that only touch padding
    (torch 2.15); so that one is computed in float32.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` -> ``(n, outputs, h', w')``."""
        if maps.shape[2] * maps.shape[3] > 1 or not torch.is_autocast_enabled(maps.device.type):
            return super().forward(maps)
        with torch.autocast(maps.device.type, enabled=False):
            return super().forward(widened(maps))


class PixelwiseInstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm that leaves a map of a single pixel, which has no variance of its own, to scale and shift."""

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape in and out."""
        if maps.shape[2] * maps.shape[3] > 1:
            return super().forward(maps)
        return maps * self.weight[:, None, None] + self.bias[:, None, None]


def norm_layer(kind: str, channels: int, momentum: float) -> nn.Module:
    """``batch``, ``instance``, ``layer`` (over channels and pixels) or ``none``; all but none with scale and shift."""
    if kind == "batch":
        return nn.BatchNorm2d(channels, momentum=momentum)
    if kind == "instance":
        return PixelwiseInstanceNorm2d(channels, affine=True)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


def initialise(network: nn.Module, kind: str = "normal") -> None:
    """``normal`` (Radford et al. 2016): weights N(0, 0.02), norm scales N(1, 0.02); ``lecun``: weights N(0, 1/fan-in)
    (C), scales 1. Biases and shifts are 0 in both.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            weight = module.weight
            # A transposed convolution's weights are (inputs, outputs, k, k), all others (outputs, inputs, ...).
            across = 0 if isinstance(module, nn.ConvTranspose2d) else 1
            fan_in = weight.numel() // weight.shape[1 - across]
            with torch.no_grad():
                weight.normal_(0.0, 0.02 if kind == "normal" else fan_in**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)):
            nn.init.normal_(module.weight, 1.0, 0.02 if kind == "normal" else 0.0)
            nn.init.zeros_(module.bias)


def constrain_spectrum(network: nn.Module) -> None:
    """Spectral norm (Miyato et al. 2018) on every convolution and linear layer; call it after ``initialise``."""
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            spectral_norm(module)


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
