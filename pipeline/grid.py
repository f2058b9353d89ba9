"""All points of a space, without making a list of them: a grid of twenty dimensions has millions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from search_spaces.space import Dimension, Space
    from trainables.config import Value

RANGE_POINTS = 3
"""A range is gridded at its two ends and its middle (the geometric one on a logarithmic scale)."""


def grid_values(dimension: Dimension) -> tuple[Value, ...]:
    """The choices of a dimension, or ``RANGE_POINTS`` values of its range, without repetition."""
    if dimension.choices:
        return tuple(dict.fromkeys(dimension.choices))
    low, high = float(dimension.low or 0), float(dimension.high or 0)
    if dimension.kind == "int":
        low, high = math.ceil(low), math.floor(high)
    spaced = (np.geomspace if dimension.log else np.linspace)(low, high, RANGE_POINTS).tolist()
    spaced[0], spaced[-1] = low, high  # exactly, whatever the logarithms say
    return tuple(dict.fromkeys(round(value) if dimension.kind == "int" else value for value in spaced))


class Grid:
    """The points of a space, counted and numbered: a dimension counts only where its condition holds.

    Points are told apart by the values of their active dimensions, so that none comes twice.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.values = [grid_values(dimension) for dimension in space.dimensions]
        self._watched = [_watched(space, place) for place in range(len(space.dimensions))]
        self._counts: dict[tuple[Any, ...], int] = {}
        self.size = self._count(0, dict(space.recipe))

    def point(self, index: int) -> dict[str, Value]:
        """Values of the active dimensions at a point from 0 to ``size - 1``."""
        params, chosen = dict(self.space.recipe), {}
        for place, dimension in enumerate(self.space.dimensions):
            for value in self.values[place] if dimension.active(params) else ():
                after = self._with(params, place, value)
                below = self._count(place + 1, after)
                if index < below:
                    chosen[dimension.name], params = value, after
                    break
                index -= below
        return chosen

    def index(self, params: Mapping[str, Any]) -> int | None:
        """Number of the point with these parameters; ``None`` where it is not on the grid."""
        before, known = 0, dict(self.space.recipe)
        for place, dimension in enumerate(self.space.dimensions):
            if not dimension.active(known):
                continue
            value = params[dimension.name]
            if value not in self.values[place]:
                return None
            for other in self.values[place][: self.values[place].index(value)]:
                before += self._count(place + 1, self._with(known, place, other))
            known = self._with(known, place, value)
        return before

    def _count(self, place: int, params: dict[str, Value]) -> int:
        """Points below a partial choice."""
        if place == len(self.space.dimensions):
            return 1
        key = (place, *(params[name] for name in self._watched[place]))
        if key not in self._counts:
            active = self.space.dimensions[place].active(params)
            self._counts[key] = (
                sum(self._count(place + 1, self._with(params, place, value)) for value in self.values[place])
                if active
                else self._count(place + 1, params)
            )
        return self._counts[key]

    def _with(self, params: dict[str, Value], place: int, value: Value) -> dict[str, Value]:
        """The parameters after a choice, as ``Space.sample`` would have them."""
        return self.space.settled({**params, self.space.dimensions[place].name: value})


def _watched(space: Space, place: int) -> Sequence[str]:
    """Parameters that decide what lies below a dimension."""
    conditions = [dimension.when for dimension in space.dimensions[place:]]
    implied = [condition for condition, _ in space.implied]
    return sorted({name for condition in (*conditions, *implied) for name in condition})
