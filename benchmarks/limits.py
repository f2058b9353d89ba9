"""How near training comes to what a processor can do: rates of large products, and where the rest of the time goes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

if TYPE_CHECKING:
    from collections.abc import Callable

MATRIX, CONVOLUTION = "matrix product", "convolution"
SIDE = 1024
CHANNELS, PIXELS, BATCH = 128, 32, 32
FLOPS = {MATRIX: 2 * SIDE**3, CONVOLUTION: 2 * BATCH * PIXELS**2 * CHANNELS**2 * 9}
"""Floating-point operations of one call."""
SLOW_PRODUCTS = "products below the convolution's rate"
OUTSIDE = "outside operations"
PRODUCTS = (
    "convolution", "slow_conv", "aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear", "aten::matmul"
)  # fmt: skip
"""Parts of the names of operations whose floating-point operations are counted."""


def large_products() -> dict[str, Callable[[], None]]:
    """Return one large matrix product and one large convolution (3 x 3, channels-last) in float32."""
    left, right = torch.randn(2, SIDE, SIDE)
    images = torch.randn(BATCH, CHANNELS, PIXELS, PIXELS).to(memory_format=torch.channels_last)
    weights = torch.randn(CHANNELS, CHANNELS, 3, 3).to(memory_format=torch.channels_last)

    def multiply() -> None:
        torch.mm(left, right)

    def convolve() -> None:
        F.conv2d(images, weights, padding=1)

    return {MATRIX: multiply, CONVOLUTION: convolve}


def largest_losses(step: Callable[[], None], ideal: float, steps: int, count: int = 3) -> dict[str, float]:
    """Return the shares of the time of a step that its largest losses take, on one thread of a CPU.

    Args:
        step: is called ``steps`` times before it is recorded, to allocate.
        ideal: share of a step that its counted operations would take at the convolution's rate. What products take
            beyond it is one loss, what is outside operations another; every other operation is a loss by its name in
            PyTorch.
        steps: number of recorded steps.
        count: number of losses.
    """
    for _ in range(steps):
        step()
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(steps):
            step()
        total = time.perf_counter() - began
    shares: dict[str, float] = {}
    for row in recorded.key_averages():
        name = SLOW_PRODUCTS if any(part in row.key for part in PRODUCTS) else row.key.removeprefix("aten::")
        shares[name] = shares.get(name, 0.0) + row.self_cpu_time_total / 1e6 / total
    shares[OUTSIDE] = 1 - sum(shares.values())
    shares[SLOW_PRODUCTS] = shares.get(SLOW_PRODUCTS, 0.0) - ideal
    return dict(sorted(shares.items(), key=lambda pair: -pair[1])[:count])
