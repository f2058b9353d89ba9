"""Decide whether a new model may replace the champion, by scores, intervals and fingerprints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.ranking.winner import Expected, make_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.ranking.winner import Rule


@dataclass(frozen=True)
class ModelScores:
    """A model's scores. ``scores`` holds values, ``intervals`` ``(low, high)`` of those that have one."""

    name: str
    """Name of the model in messages."""
    fingerprint: Mapping[str, Any]
    scores: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]
    confirmed: bool = False
    """Whether the configuration was confirmed on fresh seeds."""
    classifier: float | None = None
    """Accuracy of the tag classifier on held-out real images, 0 to 1; ``None`` if it is not known."""
    min_tag_accuracy: float | None = None
    """Floor of the tag accuracy instead of that of the winner's rule."""

    def value_text(self, score: str) -> str:
        """Format a score and its interval, e.g. ``45.1 [43, 47.2]``."""
        low, high = self.intervals[score]
        return f"{self.scores[score]:.4g} [{low:.4g}, {high:.4g}]"


def promotion_blocker(new: ModelScores, champion: ModelScores | None) -> str | None:
    """Return one line on why ``new`` may not become champion; ``None`` if it may.

    The first champion needs an interval of its ``distance``. A later model replaces it if its ``distance`` is better
    and its ``tag_accuracy`` not worse, where both count only if the 95% intervals do not overlap. The intervals cover
    sampling noise only, and two training seeds of one configuration can differ by more, so an unconfirmed model does
    not replace a confirmed one.

    The winner's rule comes first (``analysis.ranking.winner``, with the two models as trials): a model below the floor
    of the tag accuracy becomes no champion, and a champion whose whole interval is below it is replaced whatever its
    distance.
    """
    if champion is None:
        return _unmeasured(new, schema.DISTANCE) or _below_floor(new, None)
    reason = _incomparable(new, champion)
    if reason is not None:
        return reason
    if champion.confirmed and not new.confirmed:
        return (
            f"{new.name} is a single training run and {champion.name} was confirmed on fresh seeds; "
            "`gansweep confirm` comes first"
        )
    if (reason := _below_floor(new, champion)) is not None:
        return reason
    if (floor := _rule(new, champion).floor) and champion.intervals[schema.TAG_ACCURACY][1] < floor:
        return None
    if not _apart(new, champion, schema.DISTANCE):
        return _difference_text(new, champion, schema.DISTANCE, "is not better with intervals apart")
    if schema.TAG_ACCURACY in new.intervals and _apart(champion, new, schema.TAG_ACCURACY):
        return _difference_text(new, champion, schema.TAG_ACCURACY, "is worse with intervals apart")
    return None


def _rule(new: ModelScores, champion: ModelScores | None) -> Rule:
    """Return the winner's rule for the models that have a tag accuracy."""
    accuracies = {
        model.name: accuracy
        for model in (new, champion)
        if model is not None and (accuracy := model.scores.get(schema.TAG_ACCURACY)) is not None
    }
    return make_rule(accuracies, Expected(new.classifier), minimum=new.min_tag_accuracy)


def _below_floor(new: ModelScores, champion: ModelScores | None) -> str | None:
    """Return why the tag accuracy of a new model is too low; ``None`` if it is not, or if there is none."""
    rule, accuracy = _rule(new, champion), new.scores.get(schema.TAG_ACCURACY)
    if rule.floor is None or accuracy is None or new.name in rule.passing:
        return None
    return f"tag_accuracy {accuracy:.4g} of {new.name} is below {rule.floor:.4g}: {rule.words}"


def _incomparable(new: ModelScores, champion: ModelScores) -> str | None:
    """Return why the scores of two models do not compare; ``None`` if they do."""
    fingerprints = new.fingerprint, champion.fingerprint
    differing = sorted(
        name for name in {*fingerprints[0], *fingerprints[1]} if fingerprints[0].get(name) != fingerprints[1].get(name)
    )
    if differing:
        differences = "; ".join(
            f"{name} {fingerprints[0].get(name)} and {fingerprints[1].get(name)}" for name in differing
        )
        return (
            f"the scores of {new.name} and {champion.name} do not compare, they were measured differently: "
            f"{differences}"
        )
    tagged = [model for model in (new, champion) if model.scores.get(schema.TAG_ACCURACY) is not None]
    if len(tagged) == 1:
        other = champion if tagged[0] is new else new
        return f"{tagged[0].name} has a tag accuracy and {other.name} has none; they do not compare"
    for score in (schema.DISTANCE, schema.TAG_ACCURACY) if tagged else (schema.DISTANCE,):
        for model in (new, champion):
            if (reason := _unmeasured(model, score)) is not None:
                return reason
    return None


def _unmeasured(model: ModelScores, score: str) -> str | None:
    if model.scores.get(score) is None or score not in model.intervals:
        return f"{model.name} has no interval of its {score}; trials that came to the end have one"
    return None


def _apart(better: ModelScores, worse: ModelScores, score: str) -> bool:
    """Return whether the first model is better and the intervals do not overlap."""
    (low, high), (other_low, other_high) = better.intervals[score], worse.intervals[score]
    return low > other_high if schema.direction(score) == "maximize" else high < other_low


def _difference_text(new: ModelScores, champion: ModelScores, score: str, verdict: str) -> str:
    return (
        f"{score} {new.value_text(score)} of {new.name} {verdict} than {champion.value_text(score)} of {champion.name}"
    )
