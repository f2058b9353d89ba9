"""Trials of one process, trained in turns; trials of equal structure train as one program.

Each trial keeps its own folder, checkpoints, scores and failures, as if it trained alone. Its seconds count its own
work and its share of joint work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from trainables.fused.fused_loop import FusedLoop, TrainingSegment, go_together
from trainables.fused.rng_streams import RngStream
from trainables.training.loop import Diverged, OutOfTime
from trainables.trial.trial import Interval
from trainables.trial.trial_clock import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trainables.trial.trial import Trial

Answer = dict[str, Any] | Exception
"""A trial's result, or its error."""


@dataclass
class _Member:
    trial: Trial
    stream: RngStream
    clock: Stopwatch
    alone: bool
    interval: Interval | None = None
    """The interval that is being trained."""
    segment: TrainingSegment | None = None

    def begin(self) -> Answer | None:
        """Begin the next interval; return the result if there is none."""
        interval = self._call(self.trial.begin_interval)
        if not isinstance(interval, Interval):
            answer: Answer = interval
            return answer
        self.interval = interval
        self.segment = TrainingSegment(
            self.trial.loop, self.stream, interval.images, interval.seconds, self.trial.save_if_due, self.clock
        )  # fmt: skip
        return None

    def end(self, outcome: dict[str, float] | Exception) -> Answer:
        """Score the trial after an interval's training."""
        interval, self.interval, self.segment = self.interval, None, None
        if isinstance(outcome, Exception) and not isinstance(outcome, Diverged | OutOfTime):
            return outcome
        answer: Answer = self._call(self.trial.end_interval, interval, outcome)
        return answer

    def _call(self, method: Callable[..., Any], *inputs: Any) -> Any:
        """Call a method on the trial's clock and random state; return its result or its error."""
        with self.clock.running():
            try:
                with self.stream.active():  # raises an error itself if a GPU's context is broken
                    return method(*inputs)
            except Exception as error:
                return error


class TrialGroup:
    """Trials that train together on one ``device``."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._members: dict[str, _Member] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the trials in the group."""
        return tuple(self._members)

    def join(self, key: str, make: Callable[[Stopwatch], Trial], alone: bool = False) -> Trial:
        """Add the trial that ``make`` builds for a clock, and continue from its checkpoint.

        A trial with the same key is replaced. A trial that trains ``alone`` is never part of a joint program.
        """
        self.leave(key)
        stream, clock = RngStream(self.device), Stopwatch()
        with clock.running(), stream.active():
            trial = make(clock)
            trial.load()
        self._members[key] = _Member(trial, stream, clock, alone)
        return trial

    def leave(self, key: str) -> None:
        """Remove a trial that has ended or was stopped."""
        self._members.pop(key, None)

    def works(self) -> bool:
        """Return whether the device still works: after some GPU errors every further call of the process fails."""
        if self.device.type != "cuda":
            return True
        try:
            torch.cuda.synchronize(self.device)
            torch.ones(1, device=self.device).item()
        except torch.OutOfMemoryError:  # transient
            return True
        except Exception:
            return False
        return True

    def step(self, keys: Collection[str] | None = None, pause: Callable[[], bool] = lambda: False) -> dict[str, Answer]:
        """Train until at least one trial has its next result or an error.

        The other trials keep their progress and continue at the next step.

        Args:
            keys: trials to train; default: all.
            pause: called after every few updates; if it returns true, the step ends without a result.
        """
        selected = [key for key in self.keys if keys is None or key in keys]
        answers: dict[str, Answer] = {}
        for key in selected:
            member = self._members[key]
            if member.segment is None and (answer := member.begin()) is not None:
                answers[key] = answer
        programs = self._programs([key for key in selected if key not in answers])
        while not answers and programs:
            for program in programs:
                answers |= self._train(program)
            if pause():
                break
        return answers

    def _programs(self, keys: Collection[str]) -> list[dict[str, TrainingSegment]]:
        """Group the segments of trials that train as one program."""
        programs: list[dict[str, TrainingSegment]] = []
        for key in keys:
            member = self._members[key]
            assert member.segment is not None, "it has begun"
            fitting = (
                program for program in programs
                if not member.alone
                and not any(self._members[other].alone for other in program)
                and go_together(next(iter(program.values())).loop, member.trial.loop)
            )  # fmt: skip
            program = next(fitting, None)
            if program is None:
                programs.append({key: member.segment})
            else:
                program[key] = member.segment
        return programs

    def _train(self, program: dict[str, TrainingSegment]) -> dict[str, Answer]:
        keys = list(program)
        try:
            ended = FusedLoop(list(program.values())).train()
        except Exception as error:  # for instance out of memory, which cannot be attributed to one trial
            return {key: self._members[key].end(error) for key in keys}
        return {keys[index]: self._members[keys[index]].end(outcome) for index, outcome in ended.items()}
