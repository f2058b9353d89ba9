"""Draw random configurations from a space, without a study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from search_spaces.space import Space


SAMPLED = 48
"""Default number of configurations."""


def draw_configurations(space: Space, seed: int, count: int = SAMPLED) -> list[dict[str, Any]]:
    """Return the baseline recipe, followed by ``count - 1`` random configurations."""
    rng = np.random.default_rng(seed)
    return [dict(space.recipe), *(space.sample(_Draw(rng)) for _ in range(count - 1))]


class _Draw:
    """Trial stand-in that draws each value independently, as random search does."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return round(self.suggest_float(name, low, high, log=log)) if log else int(self._rng.integers(low, high + 1))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = math.exp(self._rng.uniform(math.log(low), math.log(high))) if log else self._rng.uniform(low, high)
        return float(min(max(value, low), high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[int(self._rng.integers(len(choices)))]
