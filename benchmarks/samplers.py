"""Samplers that ``benchmarks.anytime`` compares, those of the command line and variants."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import TPESampler

from pipeline.search.samplers import make_sampler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.samplers import BaseSampler

    from search_spaces.space import Space


def _ours(name: str, seed: int, space: Space) -> BaseSampler:
    return make_sampler(name, seed, space)


def _tpe(seed: int, space: Space, **settings: Any) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, **settings)


SAMPLERS: Mapping[str, Callable[[int, Space], BaseSampler]] = {
    **{name: functools.partial(_ours, name) for name in ("random", "tpe", "prior")},
    "tpe-upstream": _tpe,  # one or two objectives: joint or independent densities
    "tpe-joint": functools.partial(_tpe, multivariate=True),
    "tpe-grouped": functools.partial(_tpe, multivariate=True, group=True),
    "tpe-no-liar": functools.partial(_tpe, constant_liar=False),
}
