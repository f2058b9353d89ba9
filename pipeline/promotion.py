"""Whether a new model may take the champion's place: by its scores, their intervals, and how they were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Measured:
    """A model's scores. ``scores`` holds values, ``intervals`` ``(low, high)`` of those that have one."""

    name: str
    """As a refusal calls it."""
    fingerprint: Mapping[str, Any]
    scores: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]

    def tell(self, score: str) -> str:
        """For instance ``45.1 [43, 47.2]``."""
        low, high = self.intervals[score]
        return f"{self.scores[score]:.4g} [{low:.4g}, {high:.4g}]"


def refusal(new: Measured, champion: Measured) -> str | None:
    """Why ``new`` may not replace ``champion``, one line, or ``None`` when it may.

    It may with a better ``distance``, the 95% intervals apart, and no ``tag_accuracy`` that is worse with intervals
    apart. The intervals are of sampling noise: a difference between two training seeds of one configuration can
    exceed them.
    """
    differing = sorted(
        name
        for name in new.fingerprint.keys() | champion.fingerprint.keys()
        if new.fingerprint.get(name) != champion.fingerprint.get(name)
    )
    if differing:
        told = "; ".join(f"{name} {new.fingerprint.get(name)} and {champion.fingerprint.get(name)}" for name in differing)
        return f"the scores of {new.name} and {champion.name} do not compare, they were measured differently: {told}"
    accuracy = [model for model in (new, champion) if model.scores.get(schema.TAG_ACCURACY) is not None]
    if len(accuracy) == 1:
        return f"{accuracy[0].name} has a tag accuracy and the other has none; {new.name} and {champion.name} do not compare"
    measured = (schema.DISTANCE, schema.TAG_ACCURACY) if accuracy else (schema.DISTANCE,)
    for score in measured:
        for model in (new, champion):
            if model.scores.get(score) is None or score not in model.intervals:
                return f"{model.name} has no interval of its {score}; trials that came to the end have one"
    if not _apart(new, champion, schema.DISTANCE):
        return _told(new, champion, schema.DISTANCE, "is not better with intervals apart")
    if accuracy and _apart(champion, new, schema.TAG_ACCURACY):
        return _told(new, champion, schema.TAG_ACCURACY, "is worse with intervals apart")
    return None


def _apart(better: Measured, worse: Measured, score: str) -> bool:
    """Whether the first is better by more than both intervals."""
    (low, high), (other_low, other_high) = better.intervals[score], worse.intervals[score]
    return low > other_high if schema.direction(score) == "maximize" else high < other_low


def _told(new: Measured, champion: Measured, score: str, verdict: str) -> str:
    return f"{score} {new.tell(score)} of {new.name} {verdict} than {champion.tell(score)} of {champion.name}"
