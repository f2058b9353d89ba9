"""Model of recorded curves that predicts those of other configurations: random forests over the encoded parameters.

Its curves have no noise beside what the forest learnt from the noise of the recording, so searches on it are easier
than on real trials. Trials that failed are left out.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.stats import spearmanr
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.preprocessing import StandardScaler

from analysis import schema
from pipeline.simulate.nearest_trial import coordinate
from pipeline.simulate.recording import Curve, Point

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pipeline.simulate.recording import Recording
    from search_spaces.space import Space

INACTIVE: Final = -1.0
FOLDS, TREES = 5, 100


@dataclass(frozen=True)
class Surrogate:
    """A fitted model.

    Attributes:
        kimg: where curves are predicted.
        quality: rank correlation of cross-validated predictions with the recorded scores at the end, by objective.
        trials: number of trials it was fitted to.
    """

    space: Space
    kimg: tuple[int, ...]
    model: TransformedTargetRegressor
    quality: Mapping[str, float]
    trials: int

    def source(self, seed: int) -> SurrogateSource:
        """Return a source of trials; the model leaves nothing to chance."""
        return SurrogateSource(self)


class SurrogateSource:
    """Returns predicted curves of suggested configurations."""

    def __init__(self, surrogate: Surrogate) -> None:
        self.space, self.distances = surrogate.space, list[float]()
        self._surrogate, self._given = surrogate, itertools.count()

    @property
    def left(self) -> int:
        """A number that no search reaches."""
        return 1_000_000

    def take_recipe(self) -> Curve:
        """Return the recipe's curve."""
        return self.pop_nearest(self.space.recipe)

    def pop_nearest(self, params: Mapping[str, Any]) -> Curve:
        """Return the curve of a configuration."""
        fitted = self._surrogate
        predicted = fitted.model.predict([encode(self.space, params)])[0]
        distances, odds = np.exp(predicted[: len(fitted.kimg)]), predicted[len(fitted.kimg) : 2 * len(fitted.kimg)]
        seconds, flops = np.exp(predicted[-2:])
        points = tuple(
            Point(
                kimg, kimg * float(seconds), dict(zip(schema.OBJECTIVES, (float(distance), _share(odd)), strict=True))
            )
            for kimg, distance, odd in zip(fitted.kimg, distances, odds, strict=True)
        )
        known = flops if math.isfinite(flops) and flops > 1 else math.nan
        return Curve(f"surrogate-{next(self._given):05d}", dict(params), points, flops_per_kimg=float(known))


def encode(space: Space, params: Mapping[str, Any]) -> list[float]:
    """Return a column per choice and per range."""
    columns: list[float] = []
    for dimension in space.dimensions:
        active = dimension.active(params)
        at = coordinate(dimension, params[dimension.name]) if active else INACTIVE
        columns += [float(at == index) for index in range(len(dimension.choices))] if dimension.choices else [at]
    return columns


def _odds(share: float) -> float:
    share = min(0.995, max(0.005, share))
    return math.log(share / (1 - share))


def _share(odds: float) -> float:
    return float(1 / (1 + math.exp(-odds)))


def fit(recorded: Recording) -> Surrogate:
    """Fit a surrogate to the trials that completed."""
    budget = recorded.settings.max_kimg
    whole = [curve for curve in recorded.curves if curve.points and curve.points[-1].kimg >= budget]
    kimg = tuple(point.kimg for point in whole[0].points)
    whole = [c for c in whole if tuple(p.kimg for p in c.points) == kimg and all(_scored(p.scores) for p in c.points)]
    inputs = np.array([encode(recorded.space, curve.params) for curve in whole])
    outputs = np.array([_targets(curve) for curve in whole])
    forest = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0)
    model = TransformedTargetRegressor(forest, transformer=StandardScaler())  # all outputs count alike
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    predicted: NDArray[np.float64] = cross_val_predict(model, inputs, outputs, cv=folds)
    quality = {
        name: float(spearmanr(predicted[:, column], outputs[:, column]).statistic)
        for name, column in zip(schema.OBJECTIVES, (len(kimg) - 1, 2 * len(kimg) - 1), strict=True)
    }
    return Surrogate(recorded.space, kimg, model.fit(inputs, outputs), quality, len(whole))


def _scored(scores: Mapping[str, float]) -> bool:
    return all(name in scores for name in schema.OBJECTIVES)


def _targets(curve: Curve) -> list[float]:
    last = curve.points[-1]
    flops = curve.flops_per_kimg if math.isfinite(curve.flops_per_kimg) else 1.0
    return [
        *(math.log(point.scores[schema.DISTANCE]) for point in curve.points),
        *(_odds(point.scores[schema.TAG_ACCURACY]) for point in curve.points),
        math.log(max(last.seconds, 1e-6) / last.kimg),
        math.log(flops),
    ]


def format_quality(fitted: Surrogate) -> str:
    """Return the quality in one line."""
    values = ", ".join(f"{name} {value:.2f}" for name, value in fitted.quality.items())
    return f"surrogate of {fitted.trials} trials, rank correlation of {FOLDS}-fold predictions at the end: {values}"
