"""Latency of a generator for one image, measured on its trial's machine, beside the same other trials."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WARMING: Final = 2
"""Warm-up runs, which are not measured."""
RUNS: Final = 15
ENOUGH_SECONDS: Final = 0.25
"""Total seconds after which no further run starts, so that large networks are run less often."""


def latency_ms(
    run: Callable[[Tensor, Tensor], object],
    inputs: tuple[Tensor, Tensor],
    device: str,
    clock: Callable[[], float],
) -> float:
    """Return the median milliseconds that ``run`` takes for the first of its inputs, after warm-up.

    Args:
        run: maps a batch of inputs to images.
        inputs: two tensors ``(n, ...)`` on ``device``, n at least 1.
        device: the device that ``run`` uses; a GPU is synchronized before and after each run.
        clock: seconds from any start.
    """
    first, second = (tensor[:1] for tensor in inputs)
    times: list[float] = []
    for turn in range(WARMING + RUNS):
        _finish(device)
        began = clock()
        run(first, second)
        _finish(device)
        if turn >= WARMING:
            times.append(max(0.0, clock() - began))
        if sum(times) > ENOUGH_SECONDS:
            break
    return 1000 * statistics.median(times)


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
