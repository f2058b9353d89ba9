"""Run the samplers of a sweep on recorded trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from analysis import schema
from pipeline.search.samplers import COMPLETE_ONLY_SAMPLERS, distributions, proposals
from pipeline.search.study import objectives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from pipeline.simulate.recording import Curve
    from pipeline.simulate.simulator import FinishedTrial
    from search_spaces.space import Space


class Source(Protocol):
    """Provides a trial for each suggestion."""

    space: Space
    distances: list[float]
    """Distance of each trial from the suggestion."""

    @property
    def left(self) -> int:
        """Number of trials that are left."""

    def take_recipe(self) -> Curve:
        """Return the first trial of a sweep."""

    def pop_nearest(self, params: Mapping[str, Any]) -> Curve:
        """Return the trial that represents a complete configuration."""


class RecordedSearch:
    """In-memory Optuna study of recorded trials; the first is the baseline recipe.

    Ends are recorded as in a real sweep: complete trials with their scores, stopped ones as pruned (as complete for
    samplers that learn from complete trials only), others as failed.
    """

    def __init__(self, sampler: BaseSampler, pool: Source) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.names = list(objectives(pool.space))
        self._completes_stopped = isinstance(sampler, COMPLETE_ONLY_SAMPLERS)
        self._sampler = _Snapping(sampler, pool)
        self._left = proposals(sampler, pool.left)
        self.study = optuna.create_study(
            sampler=self._sampler,
            directions=["minimize" if schema.OBJECTIVES[name] == "minimize" else "maximize" for name in self.names],
        )
        self._running: dict[str, optuna.Trial] = {}

    def suggest(self) -> Curve | None:
        """Return the recorded trial nearest to the sampler's next suggestion, or ``None`` when all are used."""
        if not self._left:
            return None
        self._left -= 1
        trial = self.study.ask()
        self._sampler.pool.space.sample(trial)  # lets the sampler draw, and records the trial that was used
        curve = self._sampler.taken[trial.number]
        self._running[curve.key] = trial
        return curve

    def record_end(self, curve: Curve, ended: FinishedTrial) -> None:
        """Record the end of a trial in the study."""
        trial = self._running.pop(curve.key)
        values = [ended.scores.get(name) for name in self.names]
        stopped = ended.status == schema.STOPPED
        if None not in values and (ended.status == schema.COMPLETE or (stopped and self._completes_stopped)):
            self.study.tell(trial, [float(value) for value in values if value is not None])
        else:
            self.study.tell(trial, state=TrialState.PRUNED if stopped else TrialState.FAIL)


class _Snapping(BaseSampler):
    """Replaces the suggestions of another sampler by recorded configurations."""

    def __init__(self, inner: BaseSampler, pool: Source) -> None:
        self.inner, self.pool = inner, pool
        self.taken: dict[int, Curve] = {}
        self._space = distributions(pool.space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the whole space: every value is that of the recorded configuration."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the active values of the recorded configuration nearest to the suggestion."""
        if trial.number == 0:
            taken = self.pool.take_recipe()
        else:
            relative_space = self.inner.infer_relative_search_space(study, trial)
            relative = self.inner.sample_relative(study, trial, relative_space)
            taken = self.pool.pop_nearest(self.pool.space.sample(_Suggestion(self.inner, study, trial, relative)))
        self.taken[trial.number] = taken
        return {
            dimension.name: taken.params[dimension.name]
            for dimension in self.pool.space.dimensions
            if dimension.name in self._space and dimension.active(taken.params)
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Raise an error: the relative space is the whole one."""
        raise LookupError(f"trial {trial.number} has no recorded {param_name}")

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Delegate to the inner sampler."""
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Delegate to the inner sampler."""
        self.inner.after_trial(study, trial, state, values)


class _Suggestion:
    """Trial stand-in that draws as the sampler would, and records nothing."""

    def __init__(self, sampler: BaseSampler, study: Study, trial: FrozenTrial, relative: Mapping[str, Any]) -> None:
        self._sampler, self._study, self._trial, self._relative = sampler, study, trial, relative

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> Any:
        return self._value(name, IntDistribution(low, high, log=log))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return self._value(name, FloatDistribution(low, high, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._value(name, CategoricalDistribution(choices))

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._relative:
            return self._relative[name]
        if distribution.single():
            return (
                distribution.to_external_repr(0.0)
                if isinstance(distribution, CategoricalDistribution)
                else (
                    distribution.low  # type: ignore[attr-defined]
                )
            )
        return self._sampler.sample_independent(self._study, self._trial, name, distribution)
