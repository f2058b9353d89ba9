"""How long a generator takes for one picture, on the machine and in the company in which its trial ran."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

WARMING: Final = 2
"""Runs that also plan and allocate, and do not count."""
RUNS: Final = 15
ENOUGH_SECONDS: Final = 0.25
"""No further run after this time: large networks are not run as often."""


def latency_ms(
    run: Callable[[Tensor, Tensor], object],
    inputs: tuple[Tensor, Tensor],
    device: str,
    clock: Callable[[], float],
) -> float:
    """Median milliseconds that ``run`` takes for the first of its inputs alone, once it is warm.

    Args:
        run: inputs of any number -> pictures.
        inputs: ``(n, ...)`` each, n at least 1, on ``device``.
        device: where ``run`` runs; a GPU has to finish before a run counts as done.
        clock: seconds from any start.
    """
    first, second = (given[:1] for given in inputs)
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
