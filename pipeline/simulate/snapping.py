"""From what a sampler proposes to what was recorded: the nearest configuration that is still unused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pipeline.simulate.curves import Curve
    from search_spaces.space import Dimension, Space

AMONG = 3
"""Nearest recorded configurations from which one is drawn, to see how much snapping decides."""


class Pool:
    """Recorded trials, each handed out once.

    The distance of two configurations is Gower's (1971): the mean over all dimensions of the space, where choices
    are 0 or 1 apart, and ranges by their difference on the range's own scale, logarithmic or linear, as a share of
    its length. A dimension that is inactive in either adds nothing: what it depends on differs already.

    Args:
        space: as it was searched.
        curves: the recipe's first.
        seed: of the order among equally near ones, and of what is drawn.
        among: hand out one of so many nearest, drawn at random; 1 is always the nearest.

    Raises:
        UserError: a recorded value is outside the space.
    """

    def __init__(self, space: Space, curves: Sequence[Curve], seed: int, among: int = 1) -> None:
        self.space, self.curves, self.among = space, curves, among
        self.distances: list[float] = []
        """Of each trial that was handed out from what was asked for."""
        self._random = np.random.default_rng(seed)
        self._choice = np.array([bool(dimension.choices) for dimension in space.dimensions])
        self._places = np.array([self._place(curve.params, curve.key) for curve in curves])
        self._unused = np.ones(len(curves), dtype=bool)
        self._order = self._random.permutation(len(curves))

    @property
    def left(self) -> int:
        """Trials that were not handed out."""
        return int(self._unused.sum())

    def take_recipe(self) -> Curve:
        """The first of the recorded trials."""
        self._unused[0] = False
        return self.curves[0]

    def take(self, params: Mapping[str, Any]) -> Curve:
        """Hand out the unused trial that is nearest to a complete configuration; there must be one."""
        found = self.distance(params)
        near = np.lexsort((self._order, found))
        near = near[self._unused[near]][: self.among]
        taken = int(near[0] if self.among == 1 else self._random.choice(near))
        self._unused[taken] = False
        self.distances.append(float(found[taken]))
        return self.curves[taken]

    def distance(self, params: Mapping[str, Any]) -> NDArray[np.float64]:
        """``(curves,)`` distances of all recorded configurations from one, in [0, 1]."""
        if not self._choice.size:
            return np.zeros(len(self.curves))
        apart = np.abs(self._places - self._place(params))
        apart = np.where(self._choice, apart > 0, apart) * ~np.isnan(apart)
        mean: NDArray[np.float64] = np.nan_to_num(apart).mean(axis=1)
        return mean

    def _place(self, params: Mapping[str, Any], key: str | None = None) -> list[float]:
        """A number per dimension: a choice's index, a range's unit interval; NaN where it is inactive."""
        return [
            place(dimension, params[dimension.name], key) if dimension.active(params) else math.nan
            for dimension in self.space.dimensions
        ]


def place(dimension: Dimension, value: Any, key: str | None = None) -> float:
    """Where a value lies: the index of a choice, or the share of a range on its scale.

    Raises:
        UserError: it is none of the choices, or outside the range.
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
