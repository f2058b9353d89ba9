"""What the number of pictures does to a Frechet distance: its limit, its floor and when there are too few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.feature_arrays import checked
from trainables.scoring.frechet import FeatureStatistics, frechet_distance_of_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS: Final = 15
SMALLEST_PART: Final = 4


def frechet_infinity(real: FeatureStatistics, fake: NDArray[np.floating], points: int = POINTS, seed: int = 0) -> float:
    """The Frechet distance at infinitely many generated pictures (Chong and Forsyth 2020).

    Distances of random subsets of n/4 to n pictures, evenly spaced in number as in the paper, are fitted by a line
    in one over the number; its value at 0 is returned, which may fall below 0. The distance follows such a line once
    the smallest subset is above the number of features; below that the line only takes part of the excess away.

    Args:
        real: the reference, which should be large: its own finite number is not corrected for.
        fake: ``(n, d)`` features, n at least 16.
        points: subsets, at least 2; each costs one distance.
        seed: of the subsets.

    Raises:
        UsageError: too few pictures or points, or features of another length.
        UserError: features that are not finite.
    """
    if points < 2:
        raise UsageError(f"{points} points give no line; allowed is at least 2, such as {POINTS}")
    features = checked(fake, least=4 * SMALLEST_PART)
    random = np.random.default_rng(seed)
    sizes = np.linspace(len(features) // SMALLEST_PART, len(features), points).astype(int)
    distances = [frechet_distance_of_features(real, random.permutation(features)[:size]) for size in sizes]
    _, limit = np.polyfit(1.0 / sizes, distances, 1)
    return float(limit)


@dataclass(frozen=True)
class Floor:
    """Distance of real pictures from other real pictures: ``mean`` and ``deviation`` over ``distances``.

    A generator of the real distribution itself would get about this score at the same number of pictures.
    """

    mean: float
    deviation: float
    distances: tuple[float, ...]


def frechet_floor(real: NDArray[np.floating], samples: int, seed: int = 0, repeats: int = 3) -> Floor:
    """Distances of ``samples`` random real pictures from all the others.

    Args:
        real: ``(n, d)`` features of the whole reference.
        samples: pictures that generators are scored on, 2 to half of n.
        seed: of the choice.
        repeats: how many choices, at least 1.

    Raises:
        UsageError: fewer than ``2 * samples`` real pictures, or numbers that are impossible.
        UserError: features that are not finite.
    """
    features = checked(real)
    if repeats < 1:
        raise UsageError(f"{repeats} repeats of the floor; allowed is at least 1")
    if not 2 <= samples <= len(features) // 2:
        raise UsageError(
            f"no floor at {samples} samples from {len(features)} real pictures; allowed is 2 to half of them, "
            f"{len(features) // 2}, so that the reference stays the larger part"
        )
    random = np.random.default_rng(seed)
    distances = []
    for _ in range(repeats):
        order = random.permutation(len(features))
        reference = FeatureStatistics.of(features[order[samples:]])
        distances.append(frechet_distance_of_features(reference, features[order[:samples]]))
    return Floor(float(np.mean(distances)), float(np.std(distances)), tuple(distances))


def too_few(samples: int, dimensions: int) -> str | None:
    """A warning where ``samples`` pictures are too few for a Frechet distance of ``dimensions`` features, or None.

    Up to as many pictures as features the covariance is singular and much of the distance comes from that.
    """
    if samples > dimensions:
        return None
    return (
        f"{samples} samples are too few for a Frechet distance of {dimensions} features: much of it comes from the "
        f"number of samples; compare at equal numbers only, read it beside its floor, or take more than {dimensions} "
        "samples or the kernel distance"
    )
