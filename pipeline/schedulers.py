"""Which trials are stopped early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from analysis import schema

if TYPE_CHECKING:
    from ray.tune.schedulers import TrialScheduler

REDUCTION = 3
"""ASHA keeps the best third at each rung."""


def make_scheduler(name: str, max_kimg: int, eval_kimg: int) -> TrialScheduler:
    """``asha`` (Li et al. 2020) on kimg with rungs at a ninth, a third and all of the budget, or ``none``."""
    if name == "none":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    return ASHAScheduler(
        time_attr=schema.KIMG,
        metric=schema.DISTANCE,
        mode="min",
        max_t=max_kimg,
        grace_period=max(eval_kimg, max_kimg // REDUCTION**2, 1),
        reduction_factor=REDUCTION,
    )
