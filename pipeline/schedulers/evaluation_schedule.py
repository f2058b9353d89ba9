"""The training budget of a sweep: where its trials are scored, on how many images, and where they may be stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.schedulers import population_based
from pipeline.schedulers.successive_halving import milestones
from trainables.trial.context import Evaluation

if TYPE_CHECKING:
    from pipeline.settings import BudgetUnit, SweepSettings


@dataclass(frozen=True)
class Budget:
    """Limits of a sweep's training, and where its trials are scored and stopped."""

    max_kimg: int
    """Thousands of real images that a trial sees, or the recipe at the same cost."""
    earlier: tuple[int, ...]
    """Values of ``max_kimg`` before the sweep was extended, ascending."""
    eval_kimg: int | None
    """Interval of additional evaluations in kimg."""
    total_kimg: int | None
    """Cap on the training of all trials together; ``None`` for no cap."""
    seconds: float | None
    """Time limit of the sweep; ``None`` for no limit."""
    trial_seconds: float | None
    """Time limit of a trial's training; ``None`` for no limit."""
    rungs: tuple[int, ...]
    """Where the scheduler decides, in kimg, ascending."""
    evaluations: tuple[Evaluation, ...]
    """Where trials are scored, and on how many images; the last one is at ``max_kimg``."""
    unit: BudgetUnit = "kimg"
    """``flops`` or ``seconds``: every trial gets what the recipe takes for this many images."""


def resolve_budget(settings: SweepSettings) -> Budget:
    """Compute the rungs and evaluations of a sweep.

    Trials are scored at the rungs, at the end, and every ``eval_kimg``. The end of each budget is scored on all samples
    and with every score, the rest on as many samples as a decision needs.
    """
    ends = {*settings.budgets, settings.max_kimg}
    rungs = _rungs(settings)
    requested = range(settings.eval_kimg, settings.max_kimg, settings.eval_kimg) if settings.eval_kimg else ()
    early = min(settings.rung_samples, settings.samples)
    return Budget(
        max_kimg=settings.max_kimg,
        earlier=settings.budgets,
        eval_kimg=settings.eval_kimg,
        total_kimg=settings.total_kimg,
        seconds=settings.time_limit_seconds(),
        trial_seconds=settings.max_trial_seconds,
        rungs=rungs,
        evaluations=tuple(
            Evaluation(kimg, settings.samples if kimg in ends else early)
            for kimg in sorted({*rungs, *requested, *ends})
        ),
        unit=settings.budget,
    )


def _rungs(settings: SweepSettings) -> tuple[int, ...]:
    """Rungs of the sweep's first budget, and each budget that it was extended from.

    Extending leaves earlier rungs where they were, so that results recorded there still count.
    """
    first = (*settings.budgets, settings.max_kimg)[0]
    if settings.scheduler == "pbt":
        every = settings.eval_kimg or max(1, round(first / population_based.RUNGS))
        return (*range(every, first, every), *settings.budgets)
    return (*milestones(first, settings.eval_kimg), *settings.budgets)


def fits_budget(finished_kimg: float, running: int, max_kimg: int, total_kimg: float | None) -> bool:
    """Return whether one more trial may start under ``--total-kimg``.

    Each running trial is charged its full budget, so that the total is never exceeded and no trial is cut short. One
    that stops early returns the rest.

    Args:
        finished_kimg: training of the trials that have ended.
        running: number of trials that have not ended.
        max_kimg: budget of one trial.
        total_kimg: budget of all trials; ``None`` for no limit.
    """
    return total_kimg is None or finished_kimg + (running + 1) * max_kimg <= total_kimg
