"""Synthetic learning curves whose truth is known, over the dimensions of `acgan`.

The distance falls as a power of the training towards a level that depends on the configuration, at a speed that depends
on the learning rates (so that curves cross), with noise at every evaluation; one configuration in twenty diverges.
Distances at a ninth and a third of the budget have rank correlations of 0.89 and 0.99 with distances at the end.
Correlations of a real sweep may be lower (0.67 and 0.76 in a short one of synthetic faces), so that early stopping
loses more.
"""

from __future__ import annotations

import functools
import itertools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from benchmarks.large_history import Sampler
from pipeline.settings import SweepSettings
from pipeline.simulate.recording import Curve, Point, Recording
from search_spaces.registry import SPACES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search_spaces.space import Space

MAX_KIMG, EVERY = 90, 10
SPACE = SPACES["acgan"]
SETTINGS = SweepSettings("acgan", Path("none"), "synthetic", max_kimg=MAX_KIMG, eval_kimg=EVERY, scheduler="none")
FAILS = 0.05
NOISE = 0.03
"""Standard deviation of the logarithm of a distance."""

Place = Literal["report", "good", "middling", "wrong"]
DRAWN: Final = {"good": (25, 0), "middling": (25, 12), "wrong": (1000, 999)}
"""Number of random configurations from which a recipe is taken, and its rank among them, the best first."""
EXPECTED_ODDS = 0.8
"""Log-odds of a tag accuracy of 69%, near the floor of the winner's rule; less counts against a recipe."""


def log_level(params: Mapping[str, Any]) -> float:
    """Return the true logarithm of the distance that a configuration tends to."""
    value: float = 4.0 - 0.25 * math.log2(params["generator.width"] / 64)
    value -= 0.1 * math.log2(params["discriminator.width"] / 64)
    value += 0.06 * math.log2(params["optimizer.generator_lr"] / 4e-4) ** 2
    value += 0.04 * math.log2(params["optimizer.discriminator_lr"] / 2e-4) ** 2
    value += 0.3 * params["generator.oversize"] + 0.1 * (params["generator.final_activation"] == "leaky_relu")
    value += 0.15 * (params["discriminator.conditioning"] == "concat") - 0.1 * (params["training.ema_decay"] > 0)
    return value - 0.05 * math.log2(params["losses.adversarial_weight"])


def accuracy_level(params: Mapping[str, Any]) -> float:
    """Return the true log-odds, at the end, that the tag classifier agrees with the requested tags."""
    if params["discriminator.conditioning"] == "concat":
        return -1.0
    weight: float = 0.6 * math.log2(params["losses.tag_weight"])
    return 0.5 + weight - 1.5 * bool(params["losses.tag_loss_on_fakes"])


def speed(params: Mapping[str, Any]) -> float:
    """Return the true exponent with which the distance falls; each trial adds noise to it."""
    return 0.7 + 0.1 * math.log2(float(params["optimizer.generator_lr"]) / 2e-4)


def distance(
    params: Mapping[str, Any], kimg: int = MAX_KIMG, rate_noise: float = 0.0, level_noise: float = 0.0
) -> float:
    """Return the distance after some training."""
    # Slow learners reach lower distances at the end, so that early and late rankings differ.
    rate = speed(params) + rate_noise
    level = log_level(params) + 0.1 * rate
    return math.exp(level + level_noise) + 300 * math.pow(kimg / EVERY, -max(0.2, rate))


def loss(params: Mapping[str, Any]) -> float:
    """Return the true logarithm of the distance at the end plus a penalty for ignoring tags: the order of recipes."""
    return math.log(distance(params)) + 0.5 * max(0.0, EXPECTED_ODDS - accuracy_level(params))


@functools.cache
def space_with_recipe(place: Place, seed: int) -> Space:
    """Return the space with a recipe of a known rank among random configurations.

    Args:
        place: ``good``, the best of 25; ``middling``, their median; ``wrong``, the worst of 1,000; ``report``, the
            recipe of the space itself.
        seed: each seed has another recipe.
    """
    if place == "report":
        return SPACE
    rng = np.random.default_rng((seed, 1))
    drawn, rank = DRAWN[place]
    recipe = sorted((SPACE.sample(Sampler(rng)) for _ in range(drawn)), key=loss)[rank]
    space = SPACE
    for dimension in SPACE.dimensions:
        space = space.with_default(dimension.name, recipe[dimension.name])
    return space


def synthetic(trials: int, seed: int) -> Recording:
    """Return curves of random configurations; the first is the recipe."""
    rng = np.random.default_rng(seed)
    drawn = [dict(SPACE.recipe), *(SPACE.sample(Sampler(rng)) for _ in range(trials - 1))]
    curves = tuple(_curve(f"synthetic-{number:05d}", params, rng) for number, params in enumerate(drawn))
    return Recording(SETTINGS, SPACE, curves)


class Truth:
    """Returns the curve of a suggested configuration.

    Args:
        seed: of recipe and noise.
        place: see ``space_with_recipe``.
    """

    def __init__(self, seed: int, place: Place = "report") -> None:
        self.space, self.distances = space_with_recipe(place, seed), list[float]()
        self._rng = np.random.default_rng(seed)
        self._given = itertools.count()

    @property
    def left(self) -> int:
        """A number that no search reaches."""
        return 1_000_000

    def take_recipe(self) -> Curve:
        """Return the recipe's curve."""
        return self.pop_nearest(self.space.recipe)

    def pop_nearest(self, params: Mapping[str, Any]) -> Curve:
        """Return the curve of a configuration."""
        return _curve(f"synthetic-{next(self._given):05d}", dict(params), self._rng)


def _curve(key: str, params: dict[str, Any], rng: np.random.Generator) -> Curve:
    rate_noise, odds = rng.normal(0, 0.1), accuracy_level(params)
    a_kimg = 2.0 + 3.0 * (params["generator.width"] / 64) ** 2
    ends = rng.integers(1, 5) * EVERY if rng.random() < FAILS and key != "synthetic-00000" else MAX_KIMG
    points = tuple(
        Point(
            kimg,
            kimg * a_kimg,
            {
                "distance": distance(params, kimg, rate_noise, rng.normal(0, NOISE)),
                "tag_accuracy": float(1 / (1 + np.exp(-(odds * kimg / MAX_KIMG + rng.normal(0, 0.1))))),
            },
        )
        for kimg in range(EVERY, ends + 1, EVERY)
    )
    return Curve(key, params, points)
