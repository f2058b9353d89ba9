"""Cost model of a space: interpolate the seconds of any configuration from a few measured ones, by FLOPs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.plan.benchmark import images_per_update

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.plan.benchmark import Benchmark
    from trainables.data.dataset import TaggedImages
    from trainables.trial.context import Evaluation

LEAST_ERROR = 0.1
"""Smallest relative error assumed for a measurement of seconds."""


def operations(params: Mapping[str, Any], images: TaggedImages) -> float:
    """Count the floating-point operations of one update of both networks, forward and backward.

    Normalization and activations are not counted.
    """
    from trainables.training.flops import flops_per_image_of  # imports torch

    return flops_per_image_of(params, images) * images_per_update(params)


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

    def seconds(
        self, params: Mapping[str, Any], count: float, points: Sequence[Evaluation], share: float = 1.0
    ) -> list[float]:
        """Return the seconds of a trial until the end of each of its evaluations.

        ``share`` is the number of images that it sees for each image of the ``points``.
        """
        recipe = self.points[0][1]
        per_kimg = share * self.update(count) * 1000 / images_per_update(params)
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
