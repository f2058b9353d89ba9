"""How configurations are proposed: Optuna's samplers by name, fitted to a space, and what each cannot take."""

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

from pipeline.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from search_spaces.space import Space

KEEPS_STOPPED = (NSGAIISampler, GPSampler, CmaEsSampler)
"""They learn from complete trials alone: a trial stopped early is told to them at the budget it reached, else NSGA-II
and CMA-ES would never leave their first generation."""
_STARTUP = 10
"""Trials before a model proposes."""


def make_sampler(name: str, seed: int, space: Space, known: int = 0) -> BaseSampler:
    """The sampler of that name.

    ``random``; ``qmc``: a scrambled Sobol sequence over all dimensions; ``grid``: see ``GridOfSpace``; ``tpe``:
    multivariate, grouped by condition, wary of trials still running; ``gp``: a Gaussian process of the dimensions
    without a condition; ``nsga2``; ``cmaes``: from the recipe outwards.

    Args:
        seed: equal seeds propose equal configurations.
        known: trials that the study holds already. A sweep that goes on must not propose its first trials again.
    """
    with warnings.catch_warnings():
        # Optuna calls grouping, the published way to sample a space with conditions, and Sobol experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "qmc":
            return QmcOfSpace(space, seed)  # the study remembers how far it is
        if name == "grid":
            return GridOfSpace(space, seed)  # the trial's number is the place
        return _MAKERS[name](_stream(seed, known), space)


_MAKERS: Mapping[str, Callable[[int, Space], BaseSampler]] = {
    "random": lambda seed, space: RandomSampler(seed=seed),
    "tpe": lambda seed, space: TPESampler(
        seed=seed, n_startup_trials=_STARTUP, multivariate=True, group=True, constant_liar=True
    ),
    "gp": lambda seed, space: GPSampler(seed=seed, n_startup_trials=_STARTUP, warn_independent_sampling=False),
    "nsga2": lambda seed, space: NSGAIISampler(seed=seed, population_size=20),
    "cmaes": lambda seed, space: CmaEsSampler(
        x0={name: space.recipe[name] for name in distributions(space)},
        seed=seed,
        warn_independent_sampling=False,
    ),
}


def proposals(sampler: BaseSampler, trials: int) -> int:
    """How many of so many trials a sampler has configurations for: a grid ends."""
    return min(trials, sampler.size) if isinstance(sampler, GridOfSpace) else trials


class QmcOfSpace(QMCSampler):
    """One low-discrepancy sequence over all dimensions of a space, those with a condition and categorical ones too.

    Optuna's own takes its dimensions from the first trial and draws all others at random. A coordinate is left unused
    where its dimension is inactive.
    """

    def __init__(self, space: Space, seed: int) -> None:
        super().__init__(seed=seed, scramble=True, warn_independent_sampling=False)
        self._space = distributions(space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space, always."""
        return dict(self._space)


class GridOfSpace(BaseSampler):
    """The points of ``pipeline.grid.Grid``, each once, in an order that wanders over the whole grid.

    Trial 0 is the recipe, and what follows leaves the recipe out. The trial's number alone decides its point, so that
    a sweep that goes on neither repeats nor leaves out any.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.grid = Grid(space)
        self._recipe = self.grid.index(space.recipe)
        self._others = self.grid.size - (self._recipe is not None)
        # A stride near the golden section spreads any number of points; without a common divisor it visits all.
        self._stride = max(1, round(self._others * 0.6180339887498949))
        while math.gcd(self._stride, self._others) > 1:
            self._stride += 1
        self._start = _stream(seed, 0)

    @property
    def size(self) -> int:
        """Trials of a sweep over the whole grid, the recipe's with them."""
        return 1 + self._others

    def point(self, number: int) -> dict[str, Any]:
        """What a trial other than the recipe's is to try."""
        place = (self._start + number * self._stride) % max(1, self._others)
        return self.grid.point(place + (self._recipe is not None and place >= self._recipe))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing: each value is looked up by itself."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing: each value is looked up by itself."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value at the trial's point."""
        return self.point(trial.number)[param_name]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """What each dimension is drawn from; those with a single value left out."""
    found: dict[str, Any] = {dimension.name: dimension.sample(_Distributions()) for dimension in space.dimensions}
    return {name: distribution for name, distribution in found.items() if not distribution.single()}


class _Distributions:
    """Stands in for a trial: gives the distribution that is asked for instead of a draw from it."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> Any:
        return IntDistribution(low, high, log=log)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return FloatDistribution(low, high, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return CategoricalDistribution(choices)


def _stream(seed: int, known: int) -> int:
    """A seed of its own for each start of a sweep."""
    return int(hashlib.sha256(f"proposals {seed} {known}".encode()).hexdigest()[:8], 16) >> 1
