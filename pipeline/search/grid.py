"""The grid of a space, indexed without a list of its points, of which twenty dimensions have millions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from search_spaces.space import Dimension, Space
    from trainables.config import Value

RANGE_POINTS = 3
"""Grid points of a range: its ends and its middle (the geometric mean on a logarithmic scale)."""


def grid_values(dimension: Dimension) -> tuple[Value, ...]:
    """Return the choices of a dimension, or ``RANGE_POINTS`` values of its range, without repetition."""
    if dimension.choices:
        return tuple(dict.fromkeys(dimension.choices))
    low, high = float(dimension.low or 0), float(dimension.high or 0)
    if dimension.kind == "int":
        low, high = math.ceil(low), math.floor(high)
    spaced = (np.geomspace if dimension.log else np.linspace)(low, high, RANGE_POINTS).tolist()
    spaced[0], spaced[-1] = low, high  # exactly, despite rounding of logarithms
    return tuple(dict.fromkeys(round(value) if dimension.kind == "int" else value for value in spaced))


class Grid:
    """The numbered points of a space. A dimension varies only where its condition holds.

    Points differ in the values of their active dimensions, so that no point occurs twice.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.values = [grid_values(dimension) for dimension in space.dimensions]
        self._dependencies = [_dependencies(space, place) for place in range(len(space.dimensions))]
        self._counts: dict[tuple[Any, ...], int] = {}
        self.size = self._count(0, dict(space.recipe))

    def point(self, index: int) -> dict[str, Value]:
        """Return the values of the active dimensions at a point from 0 to ``size - 1``."""
        params, values = dict(self.space.recipe), {}
        for place, dimension in enumerate(self.space.dimensions):
            for value in self.values[place] if dimension.active(params) else ():
                after = self._with(params, place, value)
                below = self._count(place + 1, after)
                if index < below:
                    values[dimension.name], params = value, after
                    break
                index -= below
        return values

    def index(self, params: Mapping[str, Any]) -> int | None:
        """Return the number of the point with these parameters, or ``None`` if they are not on the grid."""
        before, partial = 0, dict(self.space.recipe)
        for place, dimension in enumerate(self.space.dimensions):
            if not dimension.active(partial):
                continue
            value = params[dimension.name]
            if value not in self.values[place]:
                return None
            for other in self.values[place][: self.values[place].index(value)]:
                before += self._count(place + 1, self._with(partial, place, other))
            partial = self._with(partial, place, value)
        return before

    def _count(self, place: int, params: dict[str, Value]) -> int:
        """Return the number of points that share a partial choice."""
        if place == len(self.space.dimensions):
            return 1
        key = (place, *(params[name] in allowed for name, allowed in self._dependencies[place]))
        if key not in self._counts:
            active = self.space.dimensions[place].active(params)
            self._counts[key] = (
                sum(self._count(place + 1, self._with(params, place, value)) for value in self.values[place])
                if active
                else self._count(place + 1, params)
            )
        return self._counts[key]

    def _with(self, params: dict[str, Value], place: int, value: Value) -> dict[str, Value]:
        """Return the parameters after a choice, as ``Space.sample`` would set them."""
        return self.space.settled({**params, self.space.dimensions[place].name: value})


def _dependencies(space: Space, place: int) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    """Return the conditions that decide which dimensions from a position on vary: a parameter and its allowed values.

    These are their own conditions, those under which values of the parameters therein are implied, and so on.
    """
    conditions = [dimension.when for dimension in space.dimensions[place:]]
    rest = list(space.implied)
    while True:
        needed = {name for condition in conditions for name in condition}
        relevant = [rule for rule in rest if not needed.isdisjoint(rule[1])]
        if not relevant:
            break
        conditions += [condition for condition, _ in relevant]
        rest = [rule for rule in rest if rule not in relevant]
    return tuple(dict.fromkeys(pair for condition in conditions for pair in condition.items()))
