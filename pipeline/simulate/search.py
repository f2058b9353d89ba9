"""Our samplers as they search among recorded trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from analysis import schema
from pipeline.samplers import KEEPS_STOPPED, distributions, make_sampler, proposals
from pipeline.study import objectives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from pipeline.simulate.curves import Curve
    from pipeline.simulate.events import Ended
    from search_spaces.space import Space


class Source(Protocol):
    """Has a trial for each proposal."""

    space: Space
    distances: list[float]
    """How far each trial was from what was asked for."""

    @property
    def left(self) -> int:
        """Trials that it can still give."""

    def take_recipe(self) -> Curve:
        """The first trial of a sweep."""

    def take(self, params: Mapping[str, Any]) -> Curve:
        """The trial that stands for a complete configuration."""


class RecordedSearch:
    """An Optuna study in memory whose trials are recorded ones; the first is the recipe.

    It is told how trials ended as the study of a real sweep is: complete ones with their scores, stopped ones as
    pruned except to samplers that learn from complete ones alone, others as failed.
    """

    def __init__(self, sampler: str, seed: int, pool: Source) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        inner = make_sampler(sampler, seed, pool.space)
        self.names = list(objectives(pool.space))
        self._keeps_stopped = isinstance(inner, KEEPS_STOPPED)
        self._sampler = _Snapping(inner, pool)
        self._left = proposals(inner, pool.left)
        self.study = optuna.create_study(
            sampler=self._sampler,
            directions=["minimize" if schema.OBJECTIVES[name] == "minimize" else "maximize" for name in self.names],
        )
        self._asked: dict[str, optuna.Trial] = {}

    def propose(self) -> Curve | None:
        """The recorded trial nearest to what the sampler would try next; ``None`` when all are used."""
        if not self._left:
            return None
        self._left -= 1
        trial = self.study.ask()
        self._sampler.pool.space.sample(trial)  # has the sampler draw, and writes what it took into the study
        curve = self._sampler.taken[trial.number]
        self._asked[curve.key] = trial
        return curve

    def tell(self, curve: Curve, ended: Ended) -> None:
        """Tell the study."""
        trial = self._asked.pop(curve.key)
        values = [ended.scores.get(name) for name in self.names]
        stopped = ended.status == schema.STOPPED
        if None not in values and (ended.status == schema.COMPLETE or (stopped and self._keeps_stopped)):
            self.study.tell(trial, [float(value) for value in values if value is not None])
        else:
            self.study.tell(trial, state=TrialState.PRUNED if stopped else TrialState.FAIL)


class _Snapping(BaseSampler):
    """Lets another sampler propose, and has the study know the recorded configuration that stands for it."""

    def __init__(self, inner: BaseSampler, pool: Source) -> None:
        self.inner, self.pool = inner, pool
        self.taken: dict[int, Curve] = {}
        self._whole = distributions(pool.space)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The whole space: every value is that of the recorded configuration."""
        return self._whole

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The active values of the recorded configuration next to the proposal."""
        if trial.number == 0:
            taken = self.pool.take_recipe()
        else:
            known = self.inner.infer_relative_search_space(study, trial)
            together = self.inner.sample_relative(study, trial, known)
            taken = self.pool.take(self.pool.space.sample(_Proposal(self.inner, study, trial, together)))
        self.taken[trial.number] = taken
        return {
            dimension.name: taken.params[dimension.name]
            for dimension in self.pool.space.dimensions
            if dimension.name in self._whole and dimension.active(taken.params)
        }

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never asked for: the relative space is the whole one."""
        raise LookupError(f"trial {trial.number} has no recorded {param_name}")

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass on."""
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass on."""
        self.inner.after_trial(study, trial, state, values)


class _Proposal:
    """Stands in for an Optuna trial: draws as its sampler would, and writes nothing down."""

    def __init__(self, sampler: BaseSampler, study: Study, trial: FrozenTrial, known: Mapping[str, Any]) -> None:
        self._sampler, self._study, self._trial, self._known = sampler, study, trial, known

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> Any:
        return self._value(name, IntDistribution(low, high, log=log))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> Any:
        return self._value(name, FloatDistribution(low, high, log=log))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._value(name, CategoricalDistribution(choices))

    def _value(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._known:
            return self._known[name]
        if distribution.single():
            return (
                distribution.to_external_repr(0.0)
                if isinstance(distribution, CategoricalDistribution)
                else (
                    distribution.low  # type: ignore[attr-defined]
                )
            )
        return self._sampler.sample_independent(self._study, self._trial, name, distribution)
