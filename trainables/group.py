"""Trials of one process that take each interval together: fused where their structure is equal.

Each stays a trial of its own: its folder, checkpoints, scores and failures are those it has alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from trainables.fused import FusedLoop, go_together
from trainables.streams import Stream
from trainables.trial import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainables.trial import Trial

Answer = dict[str, Any] | Exception
"""A trial's result, or what it raised."""


class _Member(NamedTuple):
    trial: Trial
    stream: Stream


class TrialGroup:
    """Several trials, stepped together. ``device`` is where all of them train."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._members: dict[str, _Member] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the trials that are in the group."""
        return tuple(self._members)

    def join(self, key: str, make: Callable[[], Trial]) -> Trial:
        """Add the trial that ``make`` gives; it goes on from its checkpoint where it has one."""
        stream = Stream(self.device)
        with stream.active():
            trial = make()
            trial.load()
        self._members[key] = _Member(trial, stream)
        return trial

    def leave(self, key: str) -> None:
        """Forget a trial that has ended or was stopped."""
        self._members.pop(key, None)

    def step(self) -> dict[str, Answer]:
        """Train and score one interval of every trial; what one raises is its own answer."""
        answers: dict[str, Answer] = {}
        begun: dict[str, Interval] = {}
        for key, member in self._members.items():
            interval = _caught(member, member.trial.begin_interval)
            if isinstance(interval, Interval):
                begun[key] = interval
            else:
                answers[key] = interval
        for keys in self._parties(begun):
            answers |= self._train(keys, begun)
        return answers

    def _parties(self, begun: dict[str, Interval]) -> list[list[str]]:
        """The keys, those together that train as one to the same end."""
        parties: list[list[str]] = []
        for key, interval in begun.items():
            loop = self._members[key].trial.loop
            for party in parties:
                first = self._members[party[0]].trial.loop
                if begun[party[0]].evaluation.kimg == interval.evaluation.kimg and go_together(first, loop):
                    party.append(key)
                    break
            else:
                parties.append([key])
        return parties

    def _train(self, keys: Sequence[str], begun: dict[str, Interval]) -> dict[str, Answer]:
        members = [self._members[key] for key in keys]
        fused = FusedLoop([one.trial.loop for one in members], [one.stream for one in members])
        answers: dict[str, Answer] = {}
        try:
            trained = fused.train_until(
                begun[keys[0]].evaluation.kimg * 1000,
                [begun[key].seconds for key in keys],
                lambda place: members[place].trial.save_if_due(),
            )
        except Exception as error:  # memory, say: nobody can tell whose
            return dict.fromkeys(keys, error)
        for key, member, outcome in zip(keys, members, trained, strict=True):
            answers[key] = _caught(member, member.trial.end_interval, begun[key], outcome)
        return answers


def _caught(member: _Member, what: Callable[..., Any], *given: Any) -> Any:
    with member.stream.active():
        try:
            return what(*given)
        except Exception as error:
            return error
