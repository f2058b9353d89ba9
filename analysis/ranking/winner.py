"""The rule by which a sweep's winner is chosen: the lowest distance among the trials that follow their tags.

A generator that ignores its tags can have the lowest distance. The winner therefore needs a tag accuracy of at least
``SHARE`` of what can be expected: the smaller of the tag classifier's accuracy on held-out real images, which limits
what a tag accuracy can show, and the best trial's tag accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.errors import AnalysisUsageError
from analysis.mlflow_reader.sweep import SCORES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from analysis.mlflow_reader.sweep import Sweep

OPTION: Final = "--min-tag-accuracy"
SHARE: Final = 0.8
"""Share of the expected tag accuracy that the winner needs."""
SATURATED: Final = 0.1
"""By how much the winner's share of saturated values may exceed that of real images before it is named."""
GRID: Final = 2.0
"""Energy of a periodic grid, relative to real images, above which it is named."""
_TOLERANCE: Final = 1e-9
"""Rounding of a product of two shares: 0.8 of 0.45 is 0.36."""
_Z: Final = 2.0
"""Standard deviations of sampling noise within which an accuracy is not above chance."""


@dataclass(frozen=True)
class Expected:
    """What limits the tag accuracies of a sweep, each a share from 0 to 1; ``None`` where it is not known."""

    classifier: float | None = None
    """Share of held-out real images on which the tag classifier is right in every tag group."""
    chance: float | None = None
    """Share of images that have the commonest tags: what always drawing these would reach."""
    at_chance: bool = False
    """Whether the tag classifier itself is no better than chance, so that no tag accuracy says anything."""


@dataclass(frozen=True)
class Rule:
    """The floor of the tag accuracy, and the trials that reach it."""

    words: str
    """The rule as a sentence without a full stop, with its numbers."""
    floor: float | None
    """Least tag accuracy of the winner; ``None`` where the distance alone decides."""
    passing: frozenset[str]
    """Keys of the trials that reach the floor; empty where the distance alone decides or nobody reaches it."""
    trials: int
    """Trials among which the winner is chosen."""
    best: float | None
    """Highest tag accuracy of those among them that were measured on most images."""
    expected: Expected
    minimum: float | None = None
    """The floor that was asked for."""
    is_unmet: bool = False
    """Whether tags were to be followed and no trial does: the winner has the lowest distance alone."""

    def choose(self, keys: Iterable[str]) -> str | None:
        """Return the winner.

        Args:
            keys: of the trials, lowest distance first.

        Returns:
            The first key that reaches the floor; the first of all if none does, ``None`` without trials.
        """
        ordered = list(keys)
        return next((key for key in ordered if key in self.passing), next(iter(ordered), None))

    def may_win(self, key: str) -> bool:
        """Return whether a trial reaches the floor; if there is none, or no trial reaches it, all of them may win."""
        return not self.passing or key in self.passing

    @property
    def warning(self) -> str | None:
        """The rule in words if no trial follows its tags, else ``None``."""
        return self.words if self.is_unmet else None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers of the rule."""
        return {
            "floor": self.floor,
            "minimum": self.minimum,
            "share": SHARE,
            "classifier": self.expected.classifier,
            "best_trial": self.best,
            "chance": self.expected.chance,
            "passing": len(self.passing),
            "trials": self.trials,
            "unmet": self.is_unmet,
        }


def make_rule(
    accuracies: Mapping[str, float],
    expected: Expected = Expected(),
    *,
    minimum: float | None = None,
    samples: Mapping[str, float] | None = None,
) -> Rule:
    """Make the rule for the trials of a system that takes tags.

    Args:
        accuracies: tag accuracy by key of the trials that may win, 0 to 1; NaN where it was not measured. For a
            confirmed trial it is the mean over its fresh seeds.
        expected: what limits tag accuracies.
        minimum: floor instead of the default one, 0 to 1; 0 removes it.
        samples: images on which a tag accuracy was measured, by key. The best trial is one of those measured on most:
            one stopped early does not set the floor. Where it is missing, chance has no sampling noise.

    Raises:
        AnalysisUsageError: a minimum out of range.
    """
    require_minimum(minimum)
    measured = {key: value for key, value in accuracies.items() if math.isfinite(value)}
    best = _best_trial(measured, samples or {})
    rule = Rule("", None, frozenset(), len(accuracies), measured.get(best or ""), expected, minimum)
    if minimum == 0:
        return replace(rule, words=f"lowest distance, whatever the tag accuracy ({OPTION} 0)")
    if best is None:
        return _unmet(rule, "no trial has a tag accuracy")
    if minimum is None and expected.at_chance:
        return replace(rule, words=_at_chance(expected))
    if minimum is None and measured[best] <= _chance_limit(expected.chance, (samples or {}).get(best)):
        words = f"no trial follows its tags: the best tag accuracy, {measured[best]:.1%}, is no better than always"
        return _unmet(rule, f"{words} drawing the commonest tags ({expected.chance or 0.0:.1%})")
    floor, source = _floor(measured[best], expected) if minimum is None else (minimum, f"{OPTION} {minimum:g}")
    rule = replace(rule, floor=floor)
    passing = frozenset(key for key, value in measured.items() if value >= floor - _TOLERANCE)
    if not passing:
        words = f"no trial has a tag accuracy of at least {floor:.1%} ({source})"
        return _unmet(rule, f"{words}; the best has {measured[best]:.1%}")
    those = f"the {len(passing)} of {rule.trials} trials with a tag accuracy of at least {floor:.1%}"
    return replace(rule, words=f"lowest distance among {those} ({source})", passing=passing)


def require_minimum(minimum: float | None) -> None:
    """Check ``--min-tag-accuracy``.

    Raises:
        AnalysisUsageError: it is not between 0 and 1.
    """
    if minimum is not None and not 0 <= minimum <= 1:
        raise AnalysisUsageError(f"{OPTION} is {minimum:g}; allowed: 0 to 1, and 0 removes the floor")


def _best_trial(measured: Mapping[str, float], samples: Mapping[str, float]) -> str | None:
    """Return the key of the highest accuracy among those measured on most images; ``None`` without any."""
    most = max((samples.get(key, 0.0) for key in measured), default=0.0)
    comparable = [key for key in measured if samples.get(key, most) >= most]
    return max(comparable, key=lambda key: measured[key], default=None)


def _unmet(rule: Rule, words: str) -> Rule:
    return replace(rule, words=f"{words}; the winner has the lowest distance alone", is_unmet=True)


def _at_chance(expected: Expected) -> str:
    shares = [f"{share:.1%}" for share in (expected.classifier, expected.chance) if share is not None]
    right = f"is right on {shares[0]} of held-out real images, " if shares else "is "
    guess = f" (always the commonest tags: {shares[1]})" if len(shares) > 1 else ""
    return f"lowest distance alone: the tag classifier {right}no better than chance{guess}: tag accuracies say nothing"


def _floor(best: float, expected: Expected) -> tuple[float, str]:
    """Return the floor, and what it is a share of."""
    if expected.classifier is None:
        return SHARE * best, f"{SHARE:g} of the best trial's {best:.1%}"
    return SHARE * min(expected.classifier, best), (
        f"{SHARE:g} of the smaller of the tag classifier's {expected.classifier:.1%} on held-out real images and "
        f"the best trial's {best:.1%}"
    )


def _chance_limit(chance: float | None, samples: float | None) -> float:
    """Return the highest accuracy that is not above chance, given the sampling noise of so many images."""
    if chance is None:
        return -math.inf
    noise = math.sqrt(chance * (1 - chance) / samples) if samples and samples > 0 else 0.0
    return chance + _Z * noise


def describe_defects(trial: pd.Series[Any], sweep: Sweep) -> str:
    """Say which defects the images of a trial have and real ones do not; empty if none is known.

    A tag classifier may recognise colours in images that nobody would choose.

    Args:
        trial: its row in ``Sweep.trials``.
        sweep: the sweep that holds it, with the scores of real images.
    """
    real = sweep.data.get("floor", {}).get("scores", {}).get(schema.SATURATED)
    saturated, grid = (float(trial.get(f"{SCORES}{name}", math.nan)) for name in (schema.SATURATED, schema.GRID_ENERGY))
    found = []
    if real is not None and saturated > real + SATURATED:
        found.append(f"{saturated:.1%} of its values are at an end of the range, {real:.1%} of real images'")
    if grid > GRID:
        found.append(f"{grid:.3g} times the energy of real images at the periods of a grid")
    look = f"look at its images beside others' (`gansweep compare {sweep.name}`) before you choose it"
    return f"{'; '.join(found)}: {look}" if found else ""
