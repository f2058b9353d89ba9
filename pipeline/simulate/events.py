"""The simulated sweep: a heap of evaluations to come and a clock that jumps from one to the next."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from analysis import schema
from pipeline.budget import room_for_a_trial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.schedulers.rule import StoppingRule
    from pipeline.simulate.curves import Curve


class Search(Protocol):
    """Where trials come from."""

    def propose(self) -> Curve | None:
        """The next trial; ``None`` when there are no more."""

    def tell(self, curve: Curve, ended: Ended) -> None:
        """How a proposed trial ended."""


@dataclass(frozen=True)
class Limits:
    """How large a simulated sweep is."""

    workers: int
    """Trials at once."""
    max_kimg: int
    """Budget of one trial."""
    trials: int | None = None
    total_kimg: float | None = None
    """As ``--total-kimg``: no trial begins whose full budget might exceed it."""
    seconds: float = math.inf
    """As ``--time-limit``: what runs then is interrupted."""


@dataclass(frozen=True)
class Ended:
    """A trial at its end."""

    number: int
    status: str
    kimg: int
    seconds: float
    """Since the sweep began."""
    used_kimg: float
    """What all trials had been trained for by then, this one and those that went on included."""
    scores: Mapping[str, float]
    """Its last."""


@dataclass
class Course:
    """A simulated sweep from its begin to its end."""

    ended: list[Ended] = field(default_factory=list)
    """In the order of their ends."""
    kimg: float = 0.0
    """What all trials were scored at, as a sweep records it."""
    seconds: float = 0.0
    """Wall time."""
    busy: float = 0.0
    """Seconds of slots that had a trial."""

    @property
    def used_kimg(self) -> float:
        """What all trials were trained for, after their last evaluation too."""
        return self.ended[-1].used_kimg if self.ended else 0.0

    def slot_use(self, workers: int) -> float:
        """Share of the slots' time in which they had a trial."""
        return self.busy / (workers * self.seconds) if self.seconds else 0.0


@dataclass
class _Running:
    number: int
    curve: Curve
    began: float
    done: int = 0
    """Points that it has passed."""

    @property
    def kimg(self) -> int:
        return self.curve.points[self.done - 1].kimg if self.done else 0

    def trained(self, now: float, max_kimg: int) -> float:
        """What it was trained for by then: between two evaluations, in step with the time.

        After its last one it goes on at the pace that it had on average, up to its budget.
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


def simulate(search: Search, rule: StoppingRule, limits: Limits, name: str) -> Course:
    """Run a sweep whose trials take the time and have the scores of recorded ones.

    Between trials no time passes; a slot that a trial leaves has the next one at once. Of evaluations at the same
    moment the one that was foreseen first comes first.

    Args:
        search: gives trials, and is told of their ends in the order of the simulated clock.
        rule: a new one; it knows trials as ``<name>-<number>``.
        limits: workers and budgets.
        name: of the sweep. Brackets of Hyperband follow from it.
    """
    course, order = Course(), itertools.count()
    heap: list[tuple[float, int, _Running]] = []
    numbers = itertools.count()
    finished = 0.0  # kimg of ended trials
    used = 0.0  # their training in full

    def fill(now: float) -> None:
        while len(heap) < limits.workers and room_for_a_trial(finished, len(heap), limits.max_kimg, limits.total_kimg):
            if limits.trials is not None and len(course.ended) + len(heap) >= limits.trials:
                return
            curve = search.propose()
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
        search.tell(trial.curve, course.ended[-1])
        fill(now)
    if heap:  # the time is over
        course.seconds = limits.seconds
        course.busy += sum(limits.seconds - trial.began for _, _, trial in heap)
        used += sum(trial.trained(limits.seconds, limits.max_kimg) for *_, trial in heap)
        course.ended += [_ended(trial, schema.INTERRUPTED, limits.seconds, used) for *_, trial in sorted(heap)]
    return course


def _advance(trial: _Running, rule: StoppingRule, limits: Limits, name: str, course: Course) -> str | None:
    """Take a trial to its next point; its status, if it ends there."""
    if trial.done == len(trial.curve.points):
        return trial.curve.status
    before = trial.kimg
    trial.done += 1
    course.kimg += trial.kimg - before
    goes_on = rule.report(f"{name}-{trial.number:05d}", trial.kimg, trial.curve.points[trial.done - 1].scores)
    if trial.kimg >= limits.max_kimg:
        return schema.COMPLETE
    return None if goes_on else schema.STOPPED


def _ended(trial: _Running, status: str, now: float, used_kimg: float) -> Ended:
    scores = trial.curve.points[trial.done - 1].scores if trial.done else {}
    return Ended(trial.number, status, trial.kimg, now, used_kimg, scores)
