"""Trials of one process that are trained in turns: as one program where their structure is equal.

Each stays a trial of its own: its folder, checkpoints, scores and failures are those it has alone, and its seconds
those of its own work and its share of what is done for several.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainables.fused import Course, FusedLoop, go_together
from trainables.loop import Diverged, OutOfTime
from trainables.stopwatch import Stopwatch
from trainables.streams import Stream
from trainables.trial import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trainables.trial import Trial

Answer = dict[str, Any] | Exception
"""A trial's result, or what it raised."""


@dataclass
class _Member:
    trial: Trial
    stream: Stream
    clock: Stopwatch
    alone: bool
    interval: Interval | None = None
    """What it is trained for at present."""
    course: Course | None = None

    def begin(self) -> Answer | None:
        """Begin the next interval, or answer where there is none."""
        interval = self.caught(self.trial.begin_interval)
        if not isinstance(interval, Interval):
            answer: Answer = interval
            return answer
        images = interval.evaluation.kimg * 1000
        self.interval = interval
        self.course = Course(
            self.trial.loop, self.stream, images, interval.seconds, self.trial.save_if_due, self.clock
        )  # fmt: skip
        return None

    def end(self, outcome: dict[str, float] | Exception) -> Answer:
        """Score, after an interval's training has come to this."""
        interval, self.interval, self.course = self.interval, None, None
        if isinstance(outcome, Exception) and not isinstance(outcome, Diverged | OutOfTime):
            return outcome
        answer: Answer = self.caught(self.trial.end_interval, interval, outcome)
        return answer

    def caught(self, what: Callable[..., Any], *given: Any) -> Any:
        with self.clock.running():
            try:
                with self.stream.active():  # it raises itself where a GPU's context is broken
                    return what(*given)
            except Exception as error:
                return error


class TrialGroup:
    """Several trials, trained together. ``device`` is where all of them train."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._members: dict[str, _Member] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the trials that are in the group."""
        return tuple(self._members)

    def join(self, key: str, make: Callable[[Stopwatch], Trial], alone: bool = False) -> Trial:
        """Add the trial that ``make`` gives, with the clock that it gets; it goes on from its checkpoint.

        It replaces a former one of its key. One that is to be trained ``alone`` is never part of a program of several.
        """
        self.leave(key)
        stream, clock = Stream(self.device), Stopwatch()
        with clock.running(), stream.active():
            trial = make(clock)
            trial.load()
        self._members[key] = _Member(trial, stream, clock, alone)
        return trial

    def leave(self, key: str) -> None:
        """Forget a trial that has ended or was stopped."""
        self._members.pop(key, None)

    def works(self) -> bool:
        """Whether the device still does: after some errors of a GPU, all that its process asks of it fails."""
        if self.device.type != "cuda":
            return True
        try:
            torch.cuda.synchronize(self.device)
            torch.ones(1, device=self.device).item()
        except torch.OutOfMemoryError:  # which passes
            return True
        except Exception:
            return False
        return True

    def step(self, keys: Collection[str] | None = None, pause: Callable[[], bool] = lambda: False) -> dict[str, Answer]:
        """Train until at least one trial has an answer: its next result, or what it raised.

        The others stay where they are on their way to theirs, and go on at the next step.

        Args:
            keys: of the trials to train; default: all.
            pause: asked after every few updates; where it is true, the step ends without an answer.
        """
        going = [key for key in self.keys if keys is None or key in keys]
        answers: dict[str, Answer] = {}
        for key in going:
            member = self._members[key]
            if member.course is None and (answer := member.begin()) is not None:
                answers[key] = answer
        parties = self._parties([key for key in going if key not in answers])
        while not answers and parties:
            for party in parties:
                answers |= self._train(party)
            if pause():
                break
        return answers

    def _parties(self, keys: Collection[str]) -> list[dict[str, Course]]:
        """The courses of trials, those together that train as one."""
        parties: list[dict[str, Course]] = []
        for key in keys:
            member = self._members[key]
            assert member.course is not None, "it has begun"
            fitting = (
                party for party in parties
                if not member.alone
                and not any(self._members[other].alone for other in party)
                and go_together(next(iter(party.values())).loop, member.trial.loop)
            )  # fmt: skip
            party = next(fitting, None)
            if party is None:
                parties.append({key: member.course})
            else:
                party[key] = member.course
        return parties

    def _train(self, party: dict[str, Course]) -> dict[str, Answer]:
        keys = list(party)
        try:
            ended = FusedLoop(list(party.values())).train()
        except Exception as error:  # memory, say: nobody can tell whose
            return {key: self._members[key].end(error) for key in keys}
        return {keys[place]: self._members[keys[place]].end(outcome) for place, outcome in ended.items()}
