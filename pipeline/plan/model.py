"""From a few measured configurations to all of a space: seconds by floating-point operations."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.plan.measure import images_per_update
from trainables.config import GanConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.plan.measure import Measured
    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages
    from trainables.trial import Evaluation

SAMPLED = 48
"""Configurations of the space whose operations are counted."""
LEAST_ERROR = 0.1
"""Relative error that no measurement of seconds is better than."""
_BATCH = 2
"""Operations are counted on so small a batch, and are proportional to it."""


def sampled(space: Space, seed: int, count: int = SAMPLED) -> list[dict[str, Any]]:
    """The recipe, and configurations drawn at random."""
    rng = np.random.default_rng(seed)
    return [dict(space.recipe), *(space.sample(_Draw(rng)) for _ in range(count - 1))]


class _Draw:
    """Draws each value independently, as random search does."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return round(self.suggest_float(name, low, high, log=log)) if log else int(self._rng.integers(low, high + 1))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value = math.exp(self._rng.uniform(math.log(low), math.log(high))) if log else self._rng.uniform(low, high)
        return float(min(max(value, low), high))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[int(self._rng.integers(len(choices)))]


def operations(params: Mapping[str, Any], images: TaggedImages) -> float:
    """Floating-point operations of one update of both networks, forward and backward.

    Counted by torch on a small batch and scaled to the configuration's own; those of normalisation and activations are
    not among them.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    from trainables.data.tags import combinations
    from trainables.inputs import training_data
    from trainables.loop import TrainingLoop
    from trainables.systems.build import build_system

    config = GanConfig.from_params({**params, "image_size": images.size})
    batch = config.training.batch_size
    small = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=min(batch, _BATCH)))
    pairs = combinations(images.labels[: images.complete]) if config.tags.encoding == "pairs" else ()
    system = build_system(small, images.vocabulary.sizes, images.target_places, pairs)
    loop = TrainingLoop(system, training_data(small, images, "cpu"), small)
    found: list[float] = []

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """torch's own FlopCounterMode also follows modules, which gradient penalties do not allow."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if count := flop_registry.get(func.overloadpacket):
                found.append(count(*args, **(kwargs or {}), out_val=out))
            return out

    with torch.random.fork_rng(devices=[]), Counter():  # type: ignore[no-untyped-call]
        loop.train_until(1)
    return float(sum(found)) * batch / small.training.batch_size


def corners(counts: Sequence[float]) -> list[int]:
    """Which of the sampled configurations are measured: the recipe, and those of least, middle and most operations."""
    order = [int(place) for place in np.argsort(counts, kind="stable")]
    return list(dict.fromkeys([0, order[0], order[len(order) // 2], order[-1]]))


@dataclass(frozen=True)
class CostModel:
    """Seconds of any configuration: between measured ones, on logarithmic scales of operations and seconds.

    Beyond the ends the nearest measured one stands. ``points`` are operations with what was measured, the recipe's
    first.
    """

    points: tuple[tuple[float, Measured], ...]

    def update(self, count: float) -> float:
        """Seconds of an update of so many operations."""
        return _between(count, [(at, one.update) for at, one in self.points])

    def early(self, count: float) -> float:
        """Seconds of an evaluation before the end."""
        return _between(count, [(at, one.early) for at, one in self.points])

    def seconds(self, params: Mapping[str, Any], count: float, points: Sequence[Evaluation]) -> list[float]:
        """Seconds of a trial until each of its evaluations is done."""
        recipe = self.points[0][1]
        per_kimg = self.update(count) * 1000 / images_per_update(params)
        early, passed, found = self.early(count), recipe.start, []
        for place, point in enumerate(points):
            trained = point.kimg - (points[place - 1].kimg if place else 0)
            # The end takes longer for scores that do not depend on the network, and for more pictures, which do.
            share = point.samples / points[0].samples
            last = place == len(points) - 1
            score = max(early, recipe.final + (early - recipe.early) * share) if last else early
            passed += trained * per_kimg + score
            found.append(passed)
        return found

    @property
    def error(self) -> float:
        """Typical relative error of ``update``: of each measured one from the others, ``LEAST_ERROR`` at least."""
        ends = min(at for at, _ in self.points), max(at for at, _ in self.points)
        inner = []
        for place, (at, one) in enumerate(self.points):
            if ends[0] < at < ends[1]:
                others = [(count, other.update) for count, other in (*self.points[:place], *self.points[place + 1 :])]
                inner.append(math.log(_between(at, others) / one.update))
        return max(LEAST_ERROR, math.sqrt(sum(value**2 for value in inner) / len(inner))) if inner else LEAST_ERROR


def _between(count: float, points: Sequence[tuple[float, float]]) -> float:
    ordered = sorted(points)
    logs = np.log(np.array(ordered))
    return float(np.exp(np.interp(math.log(count), logs[:, 0], logs[:, 1])))
