"""How far a trial is trained, where it is scored on how many pictures, and where it may be stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.schedulers import population
from pipeline.schedulers.halving import milestones
from trainables.trial import Evaluation

if TYPE_CHECKING:
    from pipeline.settings import SweepSettings


def rungs(settings: SweepSettings) -> tuple[int, ...]:
    """Where a scheduler decides, in kimg: those of the sweep's first budget, and each budget that it was extended from.

    Extending leaves earlier rungs where they were, so that what was recorded there still counts.
    """
    first = (*settings.budgets, settings.max_kimg)[0]
    if settings.scheduler == "pbt":
        every = settings.eval_kimg or max(1, round(first / population.RUNGS))
        return (*range(every, first, every), *settings.budgets)
    return (*milestones(first, settings.eval_kimg), *settings.budgets)


def evaluations(settings: SweepSettings) -> tuple[Evaluation, ...]:
    """Where trials are scored: at the rungs, at the end, and every ``eval_kimg`` if the user asks for it.

    The end of a budget is scored on all samples and with every score, the rest on as many as a decision needs.
    """
    ends = {*settings.budgets, settings.max_kimg}
    asked = range(settings.eval_kimg, settings.max_kimg, settings.eval_kimg) if settings.eval_kimg else ()
    early = min(settings.rung_samples, settings.samples)
    points = sorted({*rungs(settings), *asked, *ends})
    return tuple(Evaluation(kimg, settings.samples if kimg in ends else early) for kimg in points)


def room_for_a_trial(finished_kimg: float, running: int, max_kimg: int, total_kimg: float | None) -> bool:
    """Whether one more trial may begin under ``--total-kimg``.

    Each trial that runs counts with its full budget: however well it does, the total holds, and no trial has to be cut
    off for it. One that is stopped early gives back what it leaves.

    Args:
        finished_kimg: what trials that have ended were trained for.
        running: how many have not ended.
        max_kimg: budget of each.
        total_kimg: what all may use; ``None`` for any amount.
    """
    return total_kimg is None or finished_kimg + (running + 1) * max_kimg <= total_kimg
