"""Optuna's samplers by name, fitted to a space."""

from __future__ import annotations

import hashlib
import math
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from analysis.ranking.winner import Expected
from pipeline.search.grid import Grid
from pipeline.search.prior_sampler import PriorSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from pipeline.search.warm_start import Prior
    from search_spaces.space import Space

COMPLETE_ONLY_SAMPLERS = (NSGAIISampler, GPSampler, CmaEsSampler)
"""Samplers that learn from complete trials only. A trial that is stopped early counts as complete at the budget that it
reached, else NSGA-II and CMA-ES would never leave their first generation."""
_STARTUP = 10
"""Random trials before the first suggestion of a model."""


def make_sampler(
    name: str,
    seed: int,
    space: Space,
    known: int = 0,
    prior_confidence: float = 0.5,
    earlier: Prior | None = None,
    min_tag_accuracy: float | None = None,
    expected: Callable[[], Expected] = Expected,
    samples: int | None = None,
) -> BaseSampler:
    """Create a sampler.

    Args:
        name: ``random``; ``qmc``, a scrambled Sobol sequence over all dimensions; ``grid``, see ``SpaceGridSampler``;
            ``tpe``, each dimension by itself, with a constant liar for running trials; ``gp``, a Gaussian
            process over the dimensions without a condition; ``nsga2``; ``cmaes``, which starts at the recipe; or
            ``prior``, see ``PriorSampler``.
        seed: equal seeds suggest equal configurations.
        space: to sample from.
        known: number of trials in the study. A sweep that is resumed must not suggest its first trials again.
        prior_confidence: of ``prior`` in the recipe, 0 to 1.
        earlier: what ``prior`` knows from earlier sweeps.
        min_tag_accuracy: floor of the tag accuracy of the trials that ``prior`` takes for the best; default: that of
            the winner's rule.
        expected: returns what limits tag accuracies, for that rule.
        samples: images on which tag accuracies are measured, for that rule.
    """
    with warnings.catch_warnings():
        # Optuna calls Sobol and its Gaussian process experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "qmc":
            return SpaceQmcSampler(space, seed)  # its position is stored in the study
        if name == "grid":
            return SpaceGridSampler(space, seed)  # its position is the trial's number
        if name == "prior":
            taken = (earlier.configurations, earlier.winners) if earlier else ((), 0)
            # Each number has its draws.
            return PriorSampler(
                distributions(space), space.recipe, seed, prior_confidence, *taken, min_tag_accuracy, expected, samples
            )
        return _MAKERS[name](derive_seed(seed, known), space)


_MAKERS: Mapping[str, Callable[[int, Space], BaseSampler]] = {
    "random": lambda seed, space: RandomSampler(seed=seed),
    "tpe": lambda seed, space: TPESampler(seed=seed, n_startup_trials=_STARTUP, multivariate=False, constant_liar=True),
    "gp": lambda seed, space: GPSampler(seed=seed, n_startup_trials=_STARTUP, warn_independent_sampling=False),
    "nsga2": lambda seed, space: NSGAIISampler(seed=seed, population_size=20),
    "cmaes": lambda seed, space: CmaEsSampler(
        x0={name: space.recipe[name] for name in distributions(space)},
        seed=seed,
        warn_independent_sampling=False,
    ),
}


def proposals(sampler: BaseSampler, trials: int) -> int:
    """Return how many of the requested trials a sampler can suggest: a grid is finite."""
    return min(trials, sampler.size) if isinstance(sampler, SpaceGridSampler) else trials


class SpaceQmcSampler(QMCSampler):
    """Low-discrepancy sequence over all dimensions of a space, conditional and categorical ones included.

    Optuna's ``QMCSampler`` takes the dimensions of the first trial and draws all others at random. A coordinate is
    unused where its dimension is inactive.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, scramble=True, warn_independent_sampling=False)
        self._space = distributions(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space."""
        return dict(self._space)


class SpaceGridSampler(BaseSampler):
    """Suggests the points of ``pipeline.search.grid.Grid``, each once, in an order that spreads over the grid.

    Trial 0 is the recipe, which later trials leave out. A trial's number determines its point, so that a resumed sweep
    neither repeats nor omits any.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.grid = Grid(space)
        self._recipe = self.grid.index(space.recipe)
        self._others = self.grid.size - (self._recipe is not None)
        # A stride near the golden ratio spreads any number of points; without a common divisor it visits all.
        self._stride = max(1, round(self._others * 0.6180339887498949))
        while math.gcd(self._stride, self._others) > 1:
            self._stride += 1
        self._start = derive_seed(seed, 0)

    @property
    def size(self) -> int:
        """Number of trials that cover the grid, the baseline recipe included."""
        return 1 + self._others

    def point(self, number: int) -> dict[str, Any]:
        """Return the configuration of a trial other than the recipe."""
        position = (self._start + number * self._stride) % max(1, self._others)
        return self.grid.point(position + (self._recipe is not None and position >= self._recipe))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: each value is looked up by itself."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing: each value is looked up by itself."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value at the trial's point."""
        return self.point(trial.number)[param_name]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return the Optuna distribution of each dimension that has more than one value."""
    every: dict[str, Any] = {dimension.name: dimension.sample(_Distributions()) for dimension in space.dimensions}
    return {name: distribution for name, distribution in every.items() if not distribution.single()}


class _Distributions:
    """Trial stand-in that returns the distribution instead of a draw from it."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> Any:
        return IntDistribution(low, high, log=log)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return FloatDistribution(low, high, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return CategoricalDistribution(choices)


def derive_seed(seed: int, known: int) -> int:
    """Derive the sampler's seed from the sweep's and the number of trials in the study."""
    return int(hashlib.sha256(f"proposals {seed} {known}".encode()).hexdigest()[:8], 16) >> 1
