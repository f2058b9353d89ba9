"""Successive halving without waiting: ASHA, its brackets (Hyperband) and its form for two objectives (MO-ASHA)."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

from analysis import schema
from pipeline.schedulers.places import pareto_place, scalar_place
from pipeline.schedulers.rule import StoppingRule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.schedulers.rule import Costs

    Place = Callable[[np.ndarray], int]

REDUCTION = 3
"""The best third goes on at each rung."""
RUNGS = 2
"""At a ninth and a third of the budget."""


def milestones(max_kimg: int, eval_kimg: int | None = None) -> tuple[int, ...]:
    """Rungs in kimg: a ninth and a third of the budget, none where the budget ends.

    With ``eval_kimg`` they lie at the nearest multiple of it.
    """
    every = eval_kimg or 1
    shares = [max_kimg / REDUCTION**power / every for power in range(RUNGS, 0, -1)]
    rungs = dict.fromkeys(max(1, math.floor(share + 0.5)) * every for share in shares)
    return tuple(rung for rung in rungs if rung < max_kimg)


class Rung:
    """The trials recorded at one budget, in the order in which they came there.

    Args:
        place: how many of the recorded trials come before the last of them.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.recorded: dict[str, Costs] = {}

    def enter(self, key: str, costs: Costs) -> bool:
        """Record a trial; whether it is among the best third, rounded up, of those recorded, itself one of them.

        One that is already recorded has been let through and stays as it was.
        """
        if key in self.recorded:
            return True
        self.recorded[key] = costs
        kept = math.ceil(len(self.recorded) / REDUCTION)
        return self.place(np.array(list(self.recorded.values()))) < kept


class SuccessiveHalving(StoppingRule):
    """Stops a trial that is not among the best third recorded at a rung of its bracket.

    Args:
        brackets: rungs of each bracket, in kimg.
        weights: share of the trials that each bracket gets.
        objectives: what trials are compared by.
        place: how they are compared.
    """

    def __init__(
        self, brackets: Sequence[Sequence[int]], weights: Sequence[float], objectives: Sequence[str], place: Place
    ) -> None:
        super().__init__(*objectives)
        self.brackets = [{kimg: Rung(place) for kimg in rungs} for rungs in brackets]
        self._ends = np.cumsum(weights) / np.sum(weights)

    def bracket(self, key: str) -> dict[int, Rung]:
        """The bracket of a trial, which follows from its key alone: after a restart it is the same."""
        draw = int.from_bytes(hashlib.sha256(f"bracket {key}".encode()).digest()[:6], "big") / 2**48
        return self.brackets[int(np.searchsorted(self._ends, draw, side="right"))]

    def _judge(self, key: str, kimg: int, costs: Costs) -> bool:
        rung = self.bracket(key).get(kimg)
        return rung is None or rung.enter(key, costs)


def asha(rungs: Sequence[int]) -> SuccessiveHalving:
    """ASHA in its stopping form (Li et al. 2020), by distance."""
    return SuccessiveHalving([rungs], [1], [schema.DISTANCE], scalar_place)


def mo_asha(rungs: Sequence[int]) -> SuccessiveHalving:
    """MO-ASHA (Schmucker et al. 2021), by distance and tag accuracy."""
    return SuccessiveHalving([rungs], [1], list(schema.OBJECTIVES), pareto_place)


def hyperband(rungs: Sequence[int]) -> SuccessiveHalving:
    """Hyperband (Li et al. 2018) without waiting: the brackets begin at the first, the second, ... or no rung.

    A trial that begins slowly has its chance in a bracket with fewer rungs. Brackets get trials in Hyperband's
    proportions, ``(n + 1) / (rungs + 1) * 3**rungs`` for n rungs at most, rounded up: 9, 5 and 3 with two rungs.
    """
    most = len(rungs)
    weights = [math.ceil((most + 1) / (left + 1) * REDUCTION**left) for left in range(most, -1, -1)]
    return SuccessiveHalving([rungs[skipped:] for skipped in range(most + 1)], weights, [schema.DISTANCE], scalar_place)
