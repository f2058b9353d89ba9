"""Which trials are stopped early: one rule a file, and one adapter to Ray Tune."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.schedulers.halving import asha, hyperband, mo_asha
from pipeline.schedulers.median import MedianRule
from pipeline.schedulers.population import PopulationRule
from pipeline.schedulers.rule import KeepAll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from pipeline.schedulers.rule import StoppingRule
    from pipeline.schedulers.tune import RuleScheduler

TWO_OBJECTIVES = ("mo-asha",)
"""Schedulers that need a tag accuracy."""
TO_THE_END = ("pbt", "none")
"""Schedulers that let every trial use its whole budget."""


RULES: Mapping[str, Callable[[Sequence[int], int], StoppingRule]] = {
    "asha": lambda rungs, max_kimg: asha(rungs),
    "mo-asha": lambda rungs, max_kimg: mo_asha(rungs),
    "hyperband": lambda rungs, max_kimg: hyperband(rungs),
    # Nobody is judged before the first rung that ASHA would have.
    "median": lambda rungs, max_kimg: MedianRule(next(iter(rungs), max_kimg)),
    "pbt": lambda rungs, max_kimg: PopulationRule(rungs),
    "none": lambda rungs, max_kimg: KeepAll(),
}
"""A rule for rungs and a budget, both in kimg."""


def make_scheduler(name: str, rungs: Sequence[int], max_kimg: int) -> RuleScheduler:
    """The scheduler of that name for Ray Tune."""
    from pipeline.schedulers.tune import RuleScheduler

    return RuleScheduler(RULES[name](rungs, max_kimg), max_kimg)


def replay(scheduler: RuleScheduler, results: Iterable[tuple[str, int, Mapping[str, Any]]]) -> None:
    """Rebuild a scheduler after a restart, so that it decides as if there had been none.

    Args:
        scheduler: a new one of the same sweep.
        results: key, kimg and scores of every recorded result, in the order in which they were recorded.
    """
    scheduler.rule.replay(results)
