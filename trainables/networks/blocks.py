"""Parts that networks share: layers, norms, initialisation, parameter counts, batch-norm statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from trainables.precision import widened

if TYPE_CHECKING:
    from collections.abc import Callable

LEAK = 0.2
"""Negative slope of every LeakyReLU in the reports (A, B, E, F, H)."""


class PointConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution of a 1x1 input, ``(n, inputs, 1, 1)`` -> ``(n, outputs, kernel, kernel)``.

    For such inputs it is one matrix product, which takes a tenth of the general routine's time on a CPU; in
    channels-last order neither weights nor result are copied.
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
    """A strided convolution that accepts maps of a single pixel.

    For these, oneDNN's bfloat16 gradient is uninitialised memory at the kernel positions that only touch padding
    (torch 2.15), so they are computed in float32.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` -> ``(n, outputs, h', w')``."""
        if maps.shape[2] * maps.shape[3] > 1 or not torch.is_autocast_enabled(maps.device.type):
            return super().forward(maps)
        with torch.autocast(maps.device.type, enabled=False):
            return super().forward(widened(maps))


class PixelwiseInstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm that only scales and shifts a map of a single pixel, which has no variance."""

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise maps ``(n, channels, h, w)``; the shape is unchanged."""
        if maps.shape[2] * maps.shape[3] > 1:
            return super().forward(maps)
        return maps * self.weight[:, None, None] + self.bias[:, None, None]


class GainConv2d(nn.Conv2d):
    """A convolution without bias and of the same size; the initialisation ``residual`` scales its weights by ``gain``.

    The kernel is odd.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: float = 1.0, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.gain = gain


class GainLinear(nn.Linear):
    """A linear layer without bias; the initialisation ``residual`` scales its weights by ``gain``."""

    def __init__(self, inputs: int, outputs: int, gain: float) -> None:
        super().__init__(inputs, outputs, bias=False)
        self.gain = gain


class TakesCode:
    """Marks modules whose ``forward`` takes a code ``(n, code)`` as second input."""


class ConditionalBatchNorm2d(nn.Module, TakesCode):
    """Batch norm whose scales and shifts are linear functions of a code (Dumoulin et al. 2017; Brock et al. 2019)."""

    def __init__(self, channels: int, momentum: float, code: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, momentum=momentum, affine=False)
        self.affine = nn.Linear(code, 2 * channels)

    def forward(self, maps: Tensor, code: Tensor) -> Tensor:
        """Normalise maps ``(n, channels, h, w)`` and scale and shift them by codes ``(n, code)``."""
        affine: Tensor = self.affine(code)
        scale, shift = affine[:, :, None, None].chunk(2, dim=1)
        normed: Tensor = self.norm(maps)
        return normed * (1 + scale) + shift


class CodedSequential(nn.Sequential, TakesCode):
    """A sequence that also passes the code to those of its layers that take one."""

    def forward(self, maps: Tensor, code: Tensor | None = None) -> Tensor:
        """Apply the layers in order."""
        for layer in self:
            maps = layer(maps, code) if isinstance(layer, TakesCode) else layer(maps)
        return maps


def norm_layer(kind: str, channels: int, momentum: float, code: int = 0) -> nn.Module:
    """Return the norm ``batch``, ``instance`` or ``layer`` (over channels and pixels), affine, or ``none``.

    ``conditional_batch`` takes codes of width ``code`` as second input.
    """
    if kind == "conditional_batch":
        return ConditionalBatchNorm2d(channels, momentum, code)
    if kind == "batch":
        return nn.BatchNorm2d(channels, momentum=momentum)
    if kind == "instance":
        return PixelwiseInstanceNorm2d(channels, affine=True)
    return nn.GroupNorm(1, channels) if kind == "layer" else nn.Identity()


def initialise(network: nn.Module, kind: str = "normal") -> None:
    """Initialise all weights in place.

    ``normal`` (Radford et al. 2016): weights N(0, 0.02), norm scales N(1, 0.02). ``lecun`` (C): weights with variance
    1/fan-in, norm scales 1. ``residual`` (Huang et al. 2024): as ``lecun``, times the gain of layers that have one.
    Biases and shifts are 0 in all.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            weight = module.weight
            # A transposed convolution's weights are (inputs, outputs, k, k), all others (outputs, inputs, ...).
            across = 0 if isinstance(module, nn.ConvTranspose2d) else 1
            fan_in = weight.numel() // weight.shape[1 - across]
            with torch.no_grad():
                weight.normal_(0.0, 0.02 if kind == "normal" else fan_in**-0.5)
                if kind == "residual" and isinstance(module, (GainConv2d, GainLinear)):
                    weight.mul_(module.gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)) and module.weight is not None:
            nn.init.normal_(module.weight, 1.0, 0.02 if kind == "normal" else 0.0)
            nn.init.zeros_(module.bias)


def constrain_spectrum(network: nn.Module) -> None:
    """Add spectral norm (Miyato et al. 2018) to every convolution and linear layer; call it after ``initialise``."""
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            spectral_norm(module)


def count_parameters(network: nn.Module) -> int:
    """Return the number of trainable scalars."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@torch.no_grad()
def recalibrate_batch_norm(network: nn.Module, draw: Callable[[], object], batches: int = 16) -> None:
    """Replace the running statistics of every batch norm by the mean over ``batches`` calls of ``draw``.

    Standing statistics (Brock et al. 2019): with a moving average of the weights, or with a momentum of 0.5 as in A,
    the running statistics do not match the weights. ``draw`` must run ``network`` once on a fresh batch. All other
    layers stay in evaluation mode, so that an image does not depend on the rest of its batch.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # selects the cumulative mean
        norm.train()
    for _ in range(batches if norms else 0):
        draw()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
