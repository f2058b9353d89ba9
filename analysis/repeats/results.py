"""What the repeats of a sweep show: confirmed configurations, and the effects of an ablation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from analysis.repeats.seed_statistics import LEVEL

if TYPE_CHECKING:
    from analysis.repeats.seed_statistics import Difference, Summary

CORRECTION: Final = "Holm over all pairs"


@dataclass(frozen=True)
class Confirmed:
    """Scores of a configuration over its seeds."""

    key: str
    """Key of the trial whose configuration was confirmed."""
    summary: Summary
    scores: dict[int, float]
    """Scores by seed, best first; after the comparison, those of the shared seeds only, in the order of the seeds."""
    median_key: str | None
    """Key of the run with the median score; for an even number of runs, the worse of the two middle ones."""
    recipe: bool = False
    failed: tuple[str, ...] = ()
    """Reasons of the failed runs, one each."""
    unfinished: int = 0
    """Runs that have not ended."""
    compared: bool = False
    """Whether it has no failed run and has all seeds on which configurations are compared."""
    p_best: float | None = None
    separable: bool | None = None
    """Whether it is separable from the best; ``False`` for the best itself, ``None`` if it is not compared."""
    difference: Difference | None = None
    """Its score minus that of the best, paired by seed; ``None`` for the best and if it is not compared."""
    p: float | None = None
    """p-value of ``difference``, corrected for all pairs."""
    follows_tags: bool = True
    """Whether its tag accuracy reaches the floor of the winner's rule; one below is not tested against the best."""


@dataclass(frozen=True)
class Confirmation:
    """The confirmed configurations of a sweep by one score, best first; those that are not compared come last."""

    by: str
    budget: int
    """Budget of each run in kimg. Confirmations at smaller budgets are left out."""
    seeds: tuple[int, ...]
    """Seeds on which configurations are compared."""
    configurations: tuple[Confirmed, ...]
    left_out: int = 0
    """Number of runs at smaller budgets."""
    unit: str = "kimg"
    """Of the budget: ``kimg of the recipe`` where images are not what all runs get alike."""

    @property
    def best(self) -> str | None:
        """Key of the configuration with the best mean among the compared ones; ``None`` if none is compared.

        Those that follow their tags come before those that do not.
        """
        compared = [entry for entry in self.configurations if entry.compared]
        first = next((entry for entry in compared if entry.follows_tags), next(iter(compared), None))
        return first.key if first else None

    @property
    def rivals(self) -> list[Confirmed]:
        """The other configurations that could be the best, by their means."""
        return [entry for entry in self.configurations if entry.separable is not None and entry.key != self.best]

    def of(self, key: str | None) -> Confirmed | None:
        """Return the configuration of a trial; ``None`` if it was not confirmed."""
        return next((entry for entry in self.configurations if entry.key == key), None)

    @property
    def close(self) -> list[str]:
        """Keys of the other configurations that are not separable from the best."""
        return [entry.key for entry in self.configurations if entry.separable is False and entry.key != self.best]

    def about(self) -> dict[str, Any]:
        """Return the seeds, the budget and the verdict on the best."""
        return {
            "by": self.by,
            "budget": self.budget,
            "seeds": list(self.seeds),
            "level": LEVEL,
            "correction": CORRECTION,
            "best": self.best,
            "not_separable": self.close,
            "compared_with": [entry.key for entry in self.rivals],
        }

    def to_json(self) -> dict[str, Any]:
        """Return n, mean, sd, interval, p_best, separable and more by key, best first; without NaN."""
        return {configuration.key: _confirmed_json(configuration) for configuration in self.configurations}


@dataclass(frozen=True)
class AblationEffect:
    """A variant of an ablation compared with its base, paired by seed."""

    variant: str
    change: dict[str, Any]
    summary: Summary
    base: str = ""
    """``winner`` or ``recipe``; empty if the variant has no base."""
    difference: Difference | None = None
    """The variant minus its base."""
    p: float | None = None
    """p-value of ``difference``, Holm-corrected over all differences of the ablation."""
    separable: bool | None = None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """Effect of each difference between a trial and the recipe."""

    of: str
    by: str
    budget: int
    effects: tuple[AblationEffect, ...] = field(default=())
    unit: str = "kimg"
    """Of the budget, as in ``Confirmation``."""

    def to_json(self) -> list[dict[str, Any]]:
        """Return one object per variant, without NaN."""
        return [
            {
                "variant": effect.variant,
                "change": effect.change,
                **_summary_json(effect.summary),
                "base": effect.base or None,
                "difference": _difference_json(effect.difference),
                "p": finite(effect.p),
                "separable": effect.separable,
                "failed": list(effect.failed),
            }
            for effect in self.effects
        ]


def _confirmed_json(configuration: Confirmed) -> dict[str, Any]:
    return {
        **_summary_json(configuration.summary),
        "p_best": configuration.p_best,
        "separable": configuration.separable,
        "compared": configuration.compared,
        "follows_tags": configuration.follows_tags,
        "p": finite(configuration.p),
        "difference": _difference_json(configuration.difference),
        "recipe": configuration.recipe,
        "failed": list(configuration.failed),
        "unfinished": configuration.unfinished,
        "scores": {str(seed): score for seed, score in configuration.scores.items()},
        "median_run": configuration.median_key,
    }


def _summary_json(summary: Summary) -> dict[str, Any]:
    plain = asdict(summary)
    low, high = finite(plain.pop("low")), finite(plain.pop("high"))
    numbers = {name: finite(value) if isinstance(value, float) else value for name, value in plain.items()}
    return {**numbers, "interval": None if low is None else [low, high]}


def _difference_json(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None or not difference.n:
        return None
    low, high = finite(difference.low), finite(difference.high)
    interval = None if low is None else [low, high]
    return {"n": difference.n, "mean": difference.mean, "interval": interval, "p_signs": difference.p_signs}


def finite(value: float | None) -> float | None:
    """Return ``None`` instead of NaN and infinity, which JSON does not know."""
    return None if value is None or not math.isfinite(value) else value
