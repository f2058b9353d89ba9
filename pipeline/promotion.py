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
    confirmed: bool = False
    """Whether its configuration was trained again on fresh seeds."""

    def tell(self, score: str) -> str:
        """For instance ``45.1 [43, 47.2]``."""
        low, high = self.intervals[score]
        return f"{self.scores[score]:.4g} [{low:.4g}, {high:.4g}]"


def refusal(new: Measured, champion: Measured | None) -> str | None:
    """Why ``new`` may not replace ``champion``, or be the first one, on one line, or ``None`` when it may.

    The first needs an interval of its ``distance``. Another may replace it with a better ``distance``, the 95%
    intervals apart, and no ``tag_accuracy`` that is worse with intervals apart. The intervals are of sampling noise: a
    difference between two training seeds of one configuration can exceed them, so one that was not confirmed does not
    replace one that was.
    """
    if champion is None:
        return _unmeasured(new, schema.DISTANCE)
    reason = _incomparable(new, champion)
    if reason is not None:
        return reason
    if champion.confirmed and not new.confirmed:
        return (
            f"{new.name} is a single training run and {champion.name} was confirmed on fresh seeds; "
            "`gansweep confirm` comes first"
        )
    if not _apart(new, champion, schema.DISTANCE):
        return _told(new, champion, schema.DISTANCE, "is not better with intervals apart")
    if schema.TAG_ACCURACY in new.intervals and _apart(champion, new, schema.TAG_ACCURACY):
        return _told(new, champion, schema.TAG_ACCURACY, "is worse with intervals apart")
    return None


def _incomparable(new: Measured, champion: Measured) -> str | None:
    """Why the scores of the two do not compare."""
    prints = new.fingerprint, champion.fingerprint
    differing = sorted(name for name in {*prints[0], *prints[1]} if prints[0].get(name) != prints[1].get(name))
    if differing:
        told = "; ".join(f"{name} {prints[0].get(name)} and {prints[1].get(name)}" for name in differing)
        return f"the scores of {new.name} and {champion.name} do not compare, they were measured differently: {told}"
    tagged = [model for model in (new, champion) if model.scores.get(schema.TAG_ACCURACY) is not None]
    if len(tagged) == 1:
        other = champion if tagged[0] is new else new
        return f"{tagged[0].name} has a tag accuracy and {other.name} has none; they do not compare"
    for score in (schema.DISTANCE, schema.TAG_ACCURACY) if tagged else (schema.DISTANCE,):
        for model in (new, champion):
            if (reason := _unmeasured(model, score)) is not None:
                return reason
    return None


def _unmeasured(model: Measured, score: str) -> str | None:
    if model.scores.get(score) is None or score not in model.intervals:
        return f"{model.name} has no interval of its {score}; trials that came to the end have one"
    return None


def _apart(better: Measured, worse: Measured, score: str) -> bool:
    """Whether the first is better by more than both intervals."""
    (low, high), (other_low, other_high) = better.intervals[score], worse.intervals[score]
    return low > other_high if schema.direction(score) == "maximize" else high < other_low


def _told(new: Measured, champion: Measured, score: str, verdict: str) -> str:
    return f"{score} {new.tell(score)} of {new.name} {verdict} than {champion.tell(score)} of {champion.name}"
