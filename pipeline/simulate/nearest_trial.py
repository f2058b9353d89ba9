"""Replace a sampler's suggestion by the nearest recorded configuration that is still unused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pipeline.simulate.recording import Curve
    from search_spaces.space import Dimension, Space

AMONG = 3
"""Number of nearest recorded configurations from which one is drawn, to see how much the choice matters."""


class Pool:
    """Recorded trials, each used once.

    The distance of two configurations is Gower's (1971): the mean over all dimensions of the space, where choices
    differ by 0 or 1, and values of a range by their difference on its scale, logarithmic or linear, divided by its
    length. A dimension that is inactive in either adds nothing: the parameter it depends on already differs.

    Args:
        space: that was searched.
        curves: the baseline recipe's first.
        seed: of ties and of random draws.
        among: number of nearest trials from which one is drawn at random; 1 for always the nearest.

    Raises:
        UserError: a recorded value is outside the space.
    """

    def __init__(self, space: Space, curves: Sequence[Curve], seed: int, among: int = 1) -> None:
        self.space, self.curves, self.among = space, curves, among
        self.distances: list[float] = []
        """Distance of each used trial from the suggestion."""
        self._random = np.random.default_rng(seed)
        self._choice = np.array([bool(dimension.choices) for dimension in space.dimensions])
        self._coordinates = np.array([self._locate(curve.params, curve.key) for curve in curves])
        self._unused = np.ones(len(curves), dtype=bool)
        self._order = self._random.permutation(len(curves))

    @property
    def left(self) -> int:
        """Number of unused trials."""
        return int(self._unused.sum())

    def take_recipe(self) -> Curve:
        """Return the first recorded trial."""
        self._unused[0] = False
        return self.curves[0]

    def pop_nearest(self, params: Mapping[str, Any]) -> Curve:
        """Return the unused trial nearest to a complete configuration; at least one must be left."""
        distances = self.distance(params)
        nearest = np.lexsort((self._order, distances))
        nearest = nearest[self._unused[nearest]][: self.among]
        index = int(nearest[0] if self.among == 1 else self._random.choice(nearest))
        self._unused[index] = False
        self.distances.append(float(distances[index]))
        return self.curves[index]

    def distance(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the distances ``(curves,)`` of all recorded configurations from one, in [0, 1]."""
        if not self._choice.size:
            return np.zeros(len(self.curves))
        differences = np.abs(self._coordinates - self._locate(params))
        differences = np.where(self._choice, differences > 0, differences) * ~np.isnan(differences)
        mean: NDArray[np.float64] = np.nan_to_num(differences).mean(axis=1)
        return mean

    def _locate(self, params: Mapping[str, Any], key: str | None = None) -> list[float]:
        """Return a coordinate per dimension; NaN where it is inactive."""
        return [
            coordinate(dimension, params[dimension.name], key) if dimension.active(params) else math.nan
            for dimension in self.space.dimensions
        ]


def coordinate(dimension: Dimension, value: Any, key: str | None = None) -> float:
    """Return the index of a choice, or the position in a range on its scale, in [0, 1].

    Raises:
        UserError: the value is not a choice, or outside the range.
    """
    if dimension.choices:
        if value in dimension.choices:
            return float(dimension.choices.index(value))
    elif not isinstance(value, str) and dimension.low is not None and dimension.high is not None:
        ends = (dimension.low, dimension.high)
        if ends[0] <= value <= ends[1]:
            low, high, at = (math.log(one) if dimension.log else float(one) for one in (*ends, value))
            return (at - low) / (high - low) if high > low else 0.0
    raise UserError(f"trial {key} has {dimension.name} = {value!r}, which is outside the space that was searched")
