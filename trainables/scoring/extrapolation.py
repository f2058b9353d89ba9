"""What the number of pictures does to a Frechet distance: its limit, its floor and when there are too few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.feature_arrays import checked
from trainables.scoring.frechet import FeatureStatistics, frechet_distance_of_features
from trainables.scoring.frechet_interval import frechet_left_out
from trainables.scoring.intervals import Estimate

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
    features = checked(fake, least=4 * SMALLEST_PART)
    parts = _parts(len(features), points, seed)
    sizes = np.array([len(part) for part in parts])
    distances = np.array([frechet_distance_of_features(real, features[part]) for part in parts])
    return float(_limits(sizes, distances))


def infinity_estimate(
    real: FeatureStatistics, fake: NDArray[np.floating], points: int = POINTS, seed: int = 0
) -> Estimate:
    """``frechet_infinity`` with its standard error; arguments and errors are the same, and it takes longer.

    The jackknife's, of the line's distances: what leaving a picture out does to each, less what it does on average
    there, for that comes from the number and not from the picture. Against fresh draws of Gaussian features (d = 16
    to 64; n = d/2 to 9 d) the error is 1.1 to 1.4 times the true spread, 1.5 times where both sides are the same
    distribution.
    """
    features = checked(fake, least=4 * SMALLEST_PART)
    parts = _parts(len(features), points, seed)
    distances, moved = np.empty(points), np.zeros((len(features), points))
    for at, part in enumerate(parts):
        distances[at], without = frechet_left_out(real, features[part])
        moved[part, at] = without - without.mean()
    sizes = np.array([len(part) for part in parts])
    return Estimate.left_out(float(_limits(sizes, distances)), _limits(sizes, distances + moved))


def _parts(pictures: int, points: int, seed: int) -> list[NDArray[np.int64]]:
    """Places of random pictures, a quarter of them to all."""
    if points < 2:
        raise UsageError(f"{points} points give no line; allowed is at least 2, such as {POINTS}")
    random = np.random.default_rng(seed)
    sizes = np.linspace(pictures // SMALLEST_PART, pictures, points).astype(int)
    return [random.permutation(pictures)[:size] for size in sizes]


def _limits(sizes: NDArray[Any], distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where lines through ``(..., points)`` distances, fitted in one over their sizes, meet 0."""
    places = 1.0 / sizes
    middle = places.mean(axis=-1, keepdims=True)
    slopes = ((places - middle) * distances).sum(axis=-1) / ((places - middle) ** 2).sum(axis=-1)
    return np.asarray(distances.mean(axis=-1) - slopes * middle[..., 0])


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
