"""Asynchronous successive halving: ASHA, with brackets (Hyperband) and for two objectives (MO-ASHA)."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

from analysis import schema
from pipeline.schedulers.base import StoppingRule
from pipeline.schedulers.pareto_order import pareto_rank, scalar_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.schedulers.base import Costs

    Rank = Callable[[np.ndarray], int]

REDUCTION = 3
"""The best third of the trials continues at each rung."""
RUNGS = 2
"""Number of rungs: at a ninth and a third of the budget."""


def milestones(max_kimg: int, eval_kimg: int | None = None) -> tuple[int, ...]:
    """Return rungs in kimg: a ninth and a third of the budget, but none at its end.

    With ``eval_kimg``, they are rounded to a multiple of it.
    """
    every = eval_kimg or 1
    shares = [max_kimg / REDUCTION**power / every for power in range(RUNGS, 0, -1)]
    rungs = dict.fromkeys(max(1, math.floor(share + 0.5)) * every for share in shares)
    return tuple(rung for rung in rungs if rung < max_kimg)


class Rung:
    """Trials recorded at one budget, in the order of their arrival.

    Args:
        rank: returns how many of the recorded trials come before the last one.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.recorded: dict[str, Costs] = {}

    def enter(self, key: str, costs: Costs) -> bool:
        """Record a trial, and return whether it is in the best third, rounded up, of those recorded, itself included.

        A trial that is already recorded has passed.
        """
        if key in self.recorded:
            return True
        self.recorded[key] = costs
        passing = math.ceil(len(self.recorded) / REDUCTION)
        return self.rank(np.array(list(self.recorded.values()))) < passing


class SuccessiveHalving(StoppingRule):
    """Stops a trial that is not among the best third recorded at a rung of its bracket.

    Args:
        brackets: rungs of each bracket, in kimg.
        weights: relative number of trials of each bracket.
        objectives: by which trials are compared.
        rank: returns how many of the recorded trials come before the last one.
    """

    def __init__(
        self, brackets: Sequence[Sequence[int]], weights: Sequence[float], objectives: Sequence[str], rank: Rank
    ) -> None:
        super().__init__(*objectives)
        self.brackets = [{kimg: Rung(rank) for kimg in rungs} for rungs in brackets]
        self._ends = np.cumsum(weights) / np.sum(weights)

    def bracket(self, key: str) -> dict[int, Rung]:
        """Return the bracket of a trial. It depends on the key alone, so that it is the same after a restart."""
        draw = int.from_bytes(hashlib.sha256(f"bracket {key}".encode()).digest()[:6], "big") / 2**48
        return self.brackets[int(np.searchsorted(self._ends, draw, side="right"))]

    def _decide(self, key: str, kimg: int, costs: Costs) -> bool:
        rung = self.bracket(key).get(kimg)
        return rung is None or rung.enter(key, costs)


def asha(rungs: Sequence[int]) -> SuccessiveHalving:
    """Return ASHA in its stopping form (Li et al. 2020), by distance."""
    return SuccessiveHalving([rungs], [1], [schema.DISTANCE], scalar_rank)


def mo_asha(rungs: Sequence[int]) -> SuccessiveHalving:
    """Return MO-ASHA (Schmucker et al. 2021), by distance and tag accuracy."""
    return SuccessiveHalving([rungs], [1], list(schema.OBJECTIVES), pareto_rank)


def hyperband(rungs: Sequence[int]) -> SuccessiveHalving:
    """Return asynchronous Hyperband (Li et al. 2018), whose brackets start at the first, the second, ... or no rung.

    Slow starters survive in brackets with fewer rungs. The brackets get trials in Hyperband's proportions,
    ``(n + 1) / (rungs + 1) * 3**rungs`` for at most n rungs, rounded up: 9, 5 and 3 with two rungs.
    """
    most = len(rungs)
    weights = [math.ceil((most + 1) / (left + 1) * REDUCTION**left) for left in range(most, -1, -1)]
    return SuccessiveHalving([rungs[skipped:] for skipped in range(most + 1)], weights, [schema.DISTANCE], scalar_rank)
