"""End a sweep whose results have stopped moving (``--patience``)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from analysis import schema
from analysis.ranking.winner import make_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from analysis.ranking.winner import Expected
    from pipeline.settings import SweepSettings


@dataclass(frozen=True)
class EndedTrial:
    """What a trial that has ended counts for."""

    number: int
    kimg: float
    """Its training, without what an earlier budget has counted already."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Objectives by name; empty unless the trial completed."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """95% intervals of the objectives over their sampling noise. One without an interval has no noise."""

    def beyond_noise(self, other: EndedTrial) -> bool:
        """Return whether an objective is better than that of another trial by more than the other one's noise."""
        for name, value in self.values.items():
            low, high = other.interval(name)
            if value < low if schema.OBJECTIVES[name] == "minimize" else value > high:
                return True
        return False

    def interval(self, name: str) -> tuple[float, float]:
        """Return the interval of an objective."""
        return self.intervals.get(name, (self.values[name], self.values[name]))


class Patience:
    """Counts the training since the front or the winner last moved by more than its noise.

    The front moves with a complete trial that is better than each of the trials which moved it before, in an objective
    by more than their noise; with one objective, that is a new lowest distance. The winner, among trials that follow
    their tags, moves when its distance leaves the interval of the one that last moved. Trials that have moved nothing
    are not compared with, so that many small steps count once they exceed the noise together. Nothing is counted before
    the first complete trial.

    Args:
        kimg: training without a move that exhausts it.
        expected: returns what limits tag accuracies; called when the first trial with a tag accuracy completes.
        minimum: ``--min-tag-accuracy``.
        samples: images on which complete trials are scored.
    """

    def __init__(
        self, kimg: float, expected: Callable[[], Expected], minimum: float | None = None, samples: int = 0
    ) -> None:
        self.kimg, self._expected, self._minimum, self._samples = kimg, expected, minimum, samples
        self.used = 0.0
        """Training of the trials that have ended since the last move."""
        self._complete: dict[int, EndedTrial] = {}
        self._front: list[EndedTrial] = []
        self._winner: EndedTrial | None = None

    def record(self, trial: EndedTrial) -> None:
        """Count a trial that has ended; they must be given in the order of their ends."""
        self.used += trial.kimg
        if not trial.values:
            return
        self._complete[trial.number] = trial
        moves_front = all(trial.beyond_noise(other) for other in self._front)
        if moves_front:
            self._front.append(trial)
        if self._move_winner() or moves_front:
            self.used = 0.0

    def _move_winner(self) -> bool:
        ordered = sorted(self._complete.values(), key=lambda trial: (trial.values[schema.DISTANCE], trial.number))
        accuracies = {
            str(trial.number): trial.values[schema.TAG_ACCURACY]
            for trial in ordered
            if schema.TAG_ACCURACY in trial.values
        }
        winner = ordered[0]
        if accuracies:
            samples = dict.fromkeys(accuracies, float(self._samples)) if self._samples else None
            rule = make_rule(accuracies, self._expected(), minimum=self._minimum, samples=samples)
            winner = self._complete[int(rule.choose(accuracies) or winner.number)]
        if self._winner is not None:
            low, high = self._winner.interval(schema.DISTANCE)
            if low <= winner.values[schema.DISTANCE] <= high:
                return False
        self._winner = winner
        return True

    @property
    def exhausted(self) -> bool:
        """Whether nothing has moved for so long that no new trial starts."""
        return self._winner is not None and self.used >= self.kimg

    @property
    def threshold(self) -> float:
        """Distance below which a new winner would move; a trial must have completed."""
        assert self._winner is not None
        return self._winner.interval(schema.DISTANCE)[0]


def make_patience(settings: SweepSettings, expected: Callable[[], Expected]) -> Patience | None:
    """Make the count for the training of ``--patience`` whole trials; ``None`` if the option is not given."""
    if settings.patience is None:
        return None
    kimg = settings.patience * settings.max_kimg
    return Patience(kimg, functools.cache(expected), settings.min_tag_accuracy, settings.samples)


def describe_patience(patience: Patience, settings: SweepSettings, objectives: int) -> str:
    """Say in one line why a sweep has ended, and what would continue it."""
    subject = "the best distance has not moved" if objectives == 1 else "neither the front nor the winner has moved"
    trials = f"{settings.patience} trial{'s' * (settings.patience != 1)}"
    return (
        f"patience: {subject} by more than its noise for the training of {trials}; a better winner would have to show "
        f"a distance below {patience.threshold:.4g}. `gansweep extend {settings.name} --trials N`, or resume with a "
        "larger --patience, continues"
    )
