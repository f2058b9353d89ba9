"""Event-driven simulation of a sweep: a heap of future evaluations, and a clock that jumps from one to the next."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from analysis import schema
from pipeline.schedulers.evaluation_schedule import fits_budget

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.schedulers.base import StoppingRule
    from pipeline.simulate.recording import Curve


class Search(Protocol):
    """Suggests trials and receives their ends."""

    def suggest(self) -> Curve | None:
        """Return the next trial, or ``None`` when there are no more."""

    def record_end(self, curve: Curve, ended: FinishedTrial) -> None:
        """Record the end of a suggested trial."""


@dataclass(frozen=True)
class Limits:
    """Size of a simulated sweep."""

    workers: int
    """Number of concurrent trials."""
    max_kimg: int
    """Budget of one trial."""
    trials: int | None = None
    total_kimg: float | None = None
    """As ``--total-kimg``: no trial starts whose full budget might exceed it."""
    seconds: float = math.inf
    """As ``--time-limit``: trials that still run are interrupted."""


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that has ended."""

    number: int
    status: str
    kimg: int
    seconds: float
    """Since the start of the sweep."""
    used_kimg: float
    """Training of all trials by then, running ones included."""
    scores: Mapping[str, float]
    """Last scores."""


@dataclass
class SimulatedSweep:
    """Course of a simulated sweep."""

    ended: list[FinishedTrial] = field(default_factory=list)
    """Trials in the order of their ends."""
    kimg: float = 0.0
    """Training of all trials up to their last scores, as a sweep records it."""
    seconds: float = 0.0
    """Wall time."""
    busy: float = 0.0
    """Busy time of all worker slots in seconds."""

    @property
    def used_kimg(self) -> float:
        """Training of all trials, including that after their last evaluations."""
        return self.ended[-1].used_kimg if self.ended else 0.0

    def slot_use(self, workers: int) -> float:
        """Return the busy share of the worker slots' time."""
        return self.busy / (workers * self.seconds) if self.seconds else 0.0


@dataclass
class _Running:
    number: int
    curve: Curve
    began: float
    done: int = 0
    """Number of points passed."""

    @property
    def kimg(self) -> int:
        return self.curve.points[self.done - 1].kimg if self.done else 0

    def trained(self, now: float, max_kimg: int) -> float:
        """Return the training up to a time, interpolated linearly between evaluations.

        After the last one, it is extrapolated at the average pace, up to the budget.
        """
        points, at = self.curve.points, now - self.began
        if self.done < len(points):
            last = points[self.done - 1] if self.done else None
            kimg, seconds = (last.kimg, last.seconds) if last else (0, 0.0)
            length = points[self.done].seconds - seconds
            share = (at - seconds) / length if length > 0 else 0.0
            return kimg + min(1.0, max(0.0, share)) * (points[self.done].kimg - kimg)
        if not points:
            return 0.0
        last = points[-1]
        beyond = last.kimg * at / last.seconds if last.seconds > 0 else 0.0
        return max(last.kimg, min(max_kimg, beyond))

    @property
    def next(self) -> float:
        points = self.curve.points
        return self.began + (points[self.done].seconds if self.done < len(points) else self.curve.ends)


def simulate(search: Search, rule: StoppingRule, limits: Limits, name: str) -> SimulatedSweep:
    """Run a sweep whose trials take the time and have the scores of recorded ones.

    No time passes between two trials on a worker slot. Simultaneous evaluations are processed in the order of their
    scheduling.

    Args:
        search: suggests trials, and receives their ends in the order of simulated time.
        rule: a new one; keys of trials are ``<name>-<number>``.
        limits: workers and budgets.
        name: of the sweep; determines Hyperband's brackets.
    """
    course, order = SimulatedSweep(), itertools.count()
    heap: list[tuple[float, int, _Running]] = []
    numbers = itertools.count()
    finished = 0.0  # training of ended trials up to their last scores
    used = 0.0  # their whole training

    def fill(now: float) -> None:
        while len(heap) < limits.workers and fits_budget(finished, len(heap), limits.max_kimg, limits.total_kimg):
            if limits.trials is not None and len(course.ended) + len(heap) >= limits.trials:
                return
            curve = search.suggest()
            if curve is None:
                return
            trial = _Running(next(numbers), curve, now)
            heapq.heappush(heap, (trial.next, next(order), trial))

    fill(0.0)
    while heap and heap[0][0] <= limits.seconds:
        now, _, trial = heapq.heappop(heap)
        course.seconds = now
        status = _advance(trial, rule, limits, name, course)
        if status is None:
            heapq.heappush(heap, (trial.next, next(order), trial))
            continue
        finished += trial.kimg
        course.busy += now - trial.began
        used += trial.trained(now, limits.max_kimg)
        under_way = sum(other.trained(now, limits.max_kimg) for *_, other in heap)
        course.ended.append(_ended(trial, status, now, used + under_way))
        search.record_end(trial.curve, course.ended[-1])
        fill(now)
    if heap:  # the time limit is reached
        course.seconds = limits.seconds
        course.busy += sum(limits.seconds - trial.began for _, _, trial in heap)
        used += sum(trial.trained(limits.seconds, limits.max_kimg) for *_, trial in heap)
        course.ended += [_ended(trial, schema.INTERRUPTED, limits.seconds, used) for *_, trial in sorted(heap)]
    return course


def _advance(trial: _Running, rule: StoppingRule, limits: Limits, name: str, course: SimulatedSweep) -> str | None:
    """Advance a trial to its next point, and return its status if it ends there."""
    if trial.done == len(trial.curve.points):
        return trial.curve.status
    before = trial.kimg
    trial.done += 1
    course.kimg += trial.kimg - before
    continues = rule.report(f"{name}-{trial.number:05d}", trial.kimg, trial.curve.points[trial.done - 1].scores)
    if trial.kimg >= limits.max_kimg:
        return schema.COMPLETE
    return None if continues else schema.STOPPED


def _ended(trial: _Running, status: str, now: float, used_kimg: float) -> FinishedTrial:
    scores = trial.curve.points[trial.done - 1].scores if trial.done else {}
    return FinishedTrial(trial.number, status, trial.kimg, now, used_kimg, scores)
