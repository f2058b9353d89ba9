"""Cost model of a space: interpolate the seconds of any configuration from a few measured ones, by FLOPs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.plan.benchmark import images_per_update
from trainables.config import GanConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.plan.benchmark import Benchmark
    from trainables.data.dataset import TaggedImages
    from trainables.trial.context import Evaluation

LEAST_ERROR = 0.1
"""Smallest relative error assumed for a measurement of seconds."""
_BATCH = 2
"""Batch size on which operations are counted; they are proportional to it."""


def operations(params: Mapping[str, Any], images: TaggedImages) -> float:
    """Count the floating-point operations of one update of both networks, forward and backward.

    torch counts them on a small batch, and they are scaled to the configuration's batch size. Normalization and
    activations are not counted.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    from trainables.data.tags import combinations
    from trainables.systems.build import build_system
    from trainables.training.inputs import training_data
    from trainables.training.loop import TrainingLoop

    config = GanConfig.from_params({**params, **images.shape_params})
    batch = config.training.batch_size
    small = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=min(batch, _BATCH)))
    pairs = combinations(images.labels[: images.complete]) if config.tags.encoding == "pairs" else ()
    system = build_system(small, images.vocabulary.sizes, images.target_places, pairs)
    loop = TrainingLoop(system, training_data(small, images, "cpu"), small)
    counts: list[float] = []

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """torch's own FlopCounterMode also follows modules, which gradient penalties do not allow."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if count := flop_registry.get(func.overloadpacket):
                counts.append(count(*args, **(kwargs or {}), out_val=out))
            return out

    with torch.random.fork_rng(devices=[]), Counter():  # type: ignore[no-untyped-call]
        loop.train_until(1)
    return float(sum(counts)) * batch / small.training.batch_size


def choose_measured(counts: Sequence[float]) -> list[int]:
    """Choose the configurations to measure: the recipe, and those with the most, fewest and median operations.

    The first two come first: they bound the seconds of nearly all others if there is no time for the rest.
    """
    order = [int(index) for index in np.argsort(counts, kind="stable")]
    return list(dict.fromkeys([0, order[-1], order[0], order[len(order) // 2]]))


@dataclass(frozen=True)
class CostModel:
    """Seconds of any configuration, interpolated log-log in FLOPs between the measured ones.

    Beyond the ends, the nearest measured configuration counts. ``points`` are pairs of operations and measurement, the
    recipe's first.
    """

    points: tuple[tuple[float, Benchmark], ...]

    def update(self, count: float) -> float:
        """Return the seconds of an update with ``count`` operations."""
        return _between(count, [(operations, cost.update) for operations, cost in self.points])

    def early(self, count: float) -> float:
        """Return the seconds of an evaluation before the end."""
        return _between(count, [(operations, cost.early) for operations, cost in self.points])

    def seconds(self, params: Mapping[str, Any], count: float, points: Sequence[Evaluation]) -> list[float]:
        """Return the seconds of a trial until the end of each of its evaluations."""
        recipe = self.points[0][1]
        per_kimg = self.update(count) * 1000 / images_per_update(params)
        early, passed, seconds = self.early(count), recipe.start, []
        for index, point in enumerate(points):
            trained = point.kimg - (points[index - 1].kimg if index else 0)
            # The end has further scores, whose time does not depend on the network, and more images, whose time does.
            share = point.samples / points[0].samples
            last = index == len(points) - 1
            score = max(early, recipe.final + (early - recipe.early) * share) if last else early
            passed += trained * per_kimg + score
            seconds.append(passed)
        return seconds

    @property
    def error(self) -> float:
        """Typical relative error of ``update``, by leaving each measured one out; at least ``LEAST_ERROR``."""
        limits = min(operations for operations, _ in self.points), max(operations for operations, _ in self.points)
        inner = []
        for index, (operations, cost) in enumerate(self.points):
            if limits[0] < operations < limits[1]:
                others = [(count, other.update) for count, other in (*self.points[:index], *self.points[index + 1 :])]
                inner.append(math.log(_between(operations, others) / cost.update))
        return max(LEAST_ERROR, math.sqrt(sum(value**2 for value in inner) / len(inner))) if inner else LEAST_ERROR


def _between(count: float, points: Sequence[tuple[float, float]]) -> float:
    ordered = sorted(points)
    logs = np.log(np.array(ordered))
    return float(np.exp(np.interp(math.log(count), logs[:, 0], logs[:, 1])))
