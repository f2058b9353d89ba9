"""Sampler that starts around the recipe, and moves to the best trials and to TPE as it learns."""

from __future__ import annotations

import functools
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState
from scipy.special import ndtr, ndtri

from analysis.ranking.pareto import pareto_front
from analysis.ranking.winner import Expected, make_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

UNIFORM: Final = 0.1
"""Share of trials that are drawn uniformly, whatever is known."""
FADING: Final = 60.0
"""Number of ended trials at which the recipe's share of the others has fallen to 1 / e of what its rank gives it."""
BEST: Final = 3
"""The best one in this many complete trials decides between the recipe and the best trial."""
MUTATIONS: Final = 0.5
"""Share of the rest that changes one of the best trials; TPE suggests the others."""
FRONT: Final = 0.3
"""With two objectives, share of these that change a random trial of the front rather than the winner."""
CHANGED: Final = 0.5
"""Probability with which a dimension of such a trial changes."""
RECIPE: Final = 0.25
"""Where earlier configurations are given, share of the draws around known configurations that keep to the recipe."""
STEP: Final = 0.25
"""Standard deviation of the change, in units of the range on its scale."""
STARTUP: Final = 10
"""Trials below which TPE suggests none."""


@dataclass(frozen=True)
class _Plan:
    """How a trial is drawn: by TPE, or near some values."""

    near: Mapping[str, Any]
    """Values of the recipe or of one of the best trials; empty for uniform draws."""
    kept: frozenset[str] = frozenset()
    """Dimensions that keep these values."""
    changed: frozenset[str] = frozenset()
    """Dimensions of one of the best trials that change."""
    tpe: TPESampler | None = None


class PriorSampler(BaseSampler):
    """Suggests configurations around the recipe first, then around the best trials and by TPE.

    A share of ``UNIFORM`` of the trials is drawn uniformly. Of the others, a share is drawn around the recipe: from a
    normal distribution on the unit range of the dimension, cut off at its ends, with standard deviation
    ``1 - confidence``; of choices, the recipe's has the probability ``confidence`` plus its share of the rest. The
    remaining trials change one of the best ones or are suggested by TPE.

    Before any trial completes, the recipe's share is 1. Then, as in PriorBand (Mallik et al. 2023), it is the density
    of the best third of the trials around the recipe, weighted by rank, relative to the sum of that and of their
    density around the best trial: a wrong recipe loses its share. As in PriMO (2025), it fades with the number n of
    ended trials, as ``exp(-(n / FADING)^2)``.

    Where earlier sweeps give their best configurations, most draws around the recipe are around one of these instead,
    more of them around better ones, and the trials after the first repeat the winners of these sweeps. What such a
    configuration lacks has the recipe's value. If they mislead, they lose their share as a wrong recipe does.

    Suggestions depend on the study, the seed and the trial's number alone, so that a resumed sweep continues as it
    would have.

    Args:
        distributions: of all dimensions.
        recipe: their values there.
        seed: equal seeds suggest equal configurations.
        confidence: in the recipe, 0 to 1; 0 spreads choices evenly, 1 draws the recipe itself.
        earlier: the best configurations of earlier sweeps, the best first.
        winners: so many of them, from the first, are winners.
        min_tag_accuracy: floor of the tag accuracy of the best trials, 0 for none; default: that of the winner's rule.
        expected: returns what limits tag accuracies; called once the first trial is complete.
        samples: images on which the tag accuracy of a complete trial is measured; chance has their sampling noise.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        recipe: Mapping[str, Any],
        seed: int,
        confidence: float,
        earlier: Sequence[Mapping[str, Any]] = (),
        winners: int = 0,
        min_tag_accuracy: float | None = None,
        expected: Callable[[], Expected] = Expected,
        samples: int | None = None,
    ) -> None:
        self._expected, self._samples = functools.cache(expected), samples
        self._distributions, self._recipe = distributions, {name: recipe[name] for name in distributions}
        self._seed, self.confidence, self.min_tag_accuracy = seed, confidence, min_tag_accuracy
        known = [{name: one.get(name, recipe[name]) for name in distributions} for one in earlier]
        self._winners = [one for one in known[:winners] if one != self._recipe]
        ranks = np.arange(len(known), 0, -1.0)
        share = RECIPE if known else 1.0
        self._centers, self._weights = [self._recipe, *known], np.array([share, *(1 - share) * ranks / ranks.sum()])
        self._plans: dict[int, _Plan] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Decide how the trial is drawn; return TPE's joint space."""
        plan = self._plans[trial.number] = self._plan(study, trial)
        return plan.tpe.infer_relative_search_space(study, trial) if plan.tpe else {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return TPE's joint suggestion."""
        tpe = self._plans[trial.number].tpe
        return tpe.sample_relative(study, trial, search_space) if tpe else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a value as was decided."""
        plan = self._plans[trial.number]
        if plan.tpe:
            return plan.tpe.sample_independent(study, trial, param_name, param_distribution)
        rng = self._rng(trial.number, param_name)
        if param_name in plan.kept:
            return plan.near[param_name]
        if param_name in plan.changed:
            return draw_other(param_distribution, plan.near[param_name], rng)
        if not plan.near:
            return draw_uniform(param_distribution, rng)
        # A dimension that a change of another one made active lies near the recipe.
        return draw_near(param_distribution, plan.near.get(param_name, self._recipe[param_name]), self.confidence, rng)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget how the trial was drawn."""
        self._plans.pop(trial.number, None)

    def _plan(self, study: Study, trial: FrozenTrial) -> _Plan:
        rng = self._rng(trial.number)
        if 1 <= trial.number <= len(self._winners):
            return _Plan(self._winners[trial.number - 1], kept=frozenset(self._recipe))
        uniform, prior, mutation = (float(draw) for draw in rng.random(3))
        if uniform < UNIFORM:
            return _Plan({})
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        complete = [one for one in ended if one.state == TrialState.COMPLETE]
        ordered = order_trials(study, complete, self.min_tag_accuracy, self._expected, self._samples)
        if prior < self.prior_share(ordered, len(ended)):
            return _Plan(self._centers[rng.choice(len(self._centers), p=self._weights)])
        if mutation < MUTATIONS or len(ended) < STARTUP:
            front = len(study.directions) > 1 and rng.random() < FRONT
            return self._mutate(_draw_from_front(study, ordered, rng) if front else ordered[0], rng)
        return _Plan({}, tpe=TPESampler(seed=int(rng.integers(2**31)), multivariate=False))

    def prior_share(self, ordered: Sequence[FrozenTrial], ended: int) -> float:
        """Return the share of the trials, those that are drawn uniformly aside, that is drawn around what is known.

        Args:
            ordered: complete trials, the best first.
            ended: number of trials that completed or were stopped.
        """
        faded = math.exp(-((ended / FADING) ** 2))
        if not ordered or faded < 1e-3:
            return faded if ordered else 1.0
        best = [trial.params for trial in ordered[: max(1, len(ordered) // BEST)]]
        weights = np.arange(len(best), 0, -1)
        near, deviation = {**self._recipe, **best[0]}, deviation_of(self.confidence)
        mutation = np.array([self._log_density(params, near, 1 - CHANGED, STEP) for params in best])
        known = np.array(
            [[self._log_density(params, one, self.confidence, deviation) for one in self._centers] for params in best]
        )
        prior = np.logaddexp.reduce(known + np.log(self._weights), axis=1)
        highest = max(prior.max(), mutation.max())
        around_known, around_best = (float(weights @ np.exp(each - highest)) for each in (prior, mutation))
        return faded * around_known / (around_known + around_best)

    def _log_density(
        self, params: Mapping[str, Any], center: Mapping[str, Any], mass: float, deviation: float
    ) -> float:
        densities = [
            density_near(distribution, params[name], center[name], mass, deviation)
            for name, distribution in self._distributions.items()
            if name in params
        ]
        return sum(math.log(one) for one in densities) if all(densities) else -math.inf

    def _mutate(self, chosen: FrozenTrial, rng: np.random.Generator) -> _Plan:
        names = [name for name in self._recipe if name in chosen.params]
        changed = {name for name in names if rng.random() < CHANGED}
        if names and not changed:
            changed = {names[rng.integers(len(names))]}
        return _Plan(chosen.params, frozenset(names) - changed, frozenset(changed))

    def _rng(self, *key: int | str) -> np.random.Generator:
        return np.random.default_rng(
            (self._seed, *(zlib.crc32(one.encode()) if isinstance(one, str) else one for one in key))
        )


def order_trials(
    study: Study,
    complete: Sequence[FrozenTrial],
    minimum: float | None = None,
    expected: Callable[[], Expected] = Expected,
    samples: int | None = None,
) -> list[FrozenTrial]:
    """Return the complete trials, the best first.

    With two objectives, distance first and tag accuracy second, those that reach the floor of the winner's rule
    (``analysis.ranking.winner``) come before the others: ``minimum``, by default its share of the smaller of the best
    trial's tag accuracy and the ``expected`` one.
    """
    sign = 1.0 if study.directions[0].name == "MINIMIZE" else -1.0
    ordered = sorted(complete, key=lambda trial: (sign * trial.values[0], trial.number))
    if len(study.directions) == 1 or not ordered:
        return ordered
    accuracies = {str(trial.number): trial.values[1] for trial in ordered}
    measured_on = dict.fromkeys(accuracies, float(samples)) if samples else None
    passing = make_rule(accuracies, expected(), minimum=minimum, samples=measured_on).passing
    return sorted(ordered, key=lambda trial: str(trial.number) not in passing)


def _draw_from_front(study: Study, complete: Sequence[FrozenTrial], rng: np.random.Generator) -> FrozenTrial:
    marks = pareto_front([one.values for one in complete], [one.name.lower() for one in study.directions])
    front = [trial for trial, mark in zip(complete, marks, strict=True) if mark] or list(complete)
    return front[rng.integers(len(front))]


def draw_uniform(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """Draw a value with equal probability on the scale of the dimension."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    return _at(distribution, float(rng.random()))


def draw_near(distribution: BaseDistribution, value: Any, confidence: float, rng: np.random.Generator) -> Any:
    """Draw a value around another one, as the recipe's confidence says."""
    if isinstance(distribution, CategoricalDistribution):
        return value if rng.random() < confidence else draw_uniform(distribution, rng)
    return _at(distribution, draw_truncated_normal(_position(distribution, value), deviation_of(confidence), rng))


def deviation_of(confidence: float) -> float:
    """Return the standard deviation of draws around the recipe, in units of the range."""
    return max(1 - confidence, 0.01)


def density_near(distribution: BaseDistribution, value: Any, center: Any, mass: float, deviation: float) -> float:
    """Return the density of draws around a value: a choice has ``mass`` beside its share of the rest."""
    if isinstance(distribution, CategoricalDistribution):
        share = distribution.choices.count(value) / len(distribution.choices)
        return mass * float(value == center) + (1 - mass) * share
    mean, at = (_position(distribution, one) for one in (center, value))
    inside = float(ndtr((1 - mean) / deviation) - ndtr(-mean / deviation))
    density = math.exp(-((at - mean) ** 2) / (2 * deviation**2))
    return density / (deviation * math.sqrt(2 * math.pi) * inside)


def draw_other(distribution: BaseDistribution, value: Any, rng: np.random.Generator) -> Any:
    """Draw another choice, or a value of a range at a normal distance of ``STEP``."""
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != value] or [value]
        return others[rng.integers(len(others))]
    return _at(distribution, draw_truncated_normal(_position(distribution, value), STEP, rng))


def draw_truncated_normal(mean: float, deviation: float, rng: np.random.Generator) -> float:
    """Draw from a normal distribution that is cut off at 0 and 1, by the inverse of its distribution function."""
    low, high = ndtr(-mean / deviation), ndtr((1 - mean) / deviation)
    return min(1.0, max(0.0, mean + deviation * float(ndtri(rng.uniform(low, high)))))


def _ends(distribution: BaseDistribution) -> tuple[float, float]:
    """Return the ends of a range on its scale. A whole number stands for all that would be rounded to it."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


def _position(distribution: BaseDistribution, value: float) -> float:
    """Return the position of a value in its range, from 0 to 1."""
    low, high = _ends(distribution)
    scaled = math.log(value) if getattr(distribution, "log", False) else value
    return (scaled - low) / (high - low)


def _at(distribution: BaseDistribution, position: float) -> int | float:
    """Return the value at a position in a range, from 0 to 1."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    scaled = low + position * (high - low)
    value = min(distribution.high, max(distribution.low, math.exp(scaled) if distribution.log else scaled))
    return round(value) if isinstance(distribution, IntDistribution) else float(value)
