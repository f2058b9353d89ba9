"""Effect of the sample size on a Frechet distance: its limit, its floor, and a warning for small samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainables.errors import UsageError
from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance_of_features
from trainables.scoring.metrics.frechet_jackknife import frechet_leave_one_out
from trainables.scoring.metrics.validation import check_features, require_features

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS: Final = 15
SMALLEST_PART: Final = 4


def frechet_infinity(real: FeatureStatistics, fake: NDArray[np.floating], points: int = POINTS, seed: int = 0) -> float:
    """The Frechet distance at infinitely many generated images (Chong and Forsyth 2020).

    Distances of random subsets of n/4 to n images, evenly spaced in number as in the paper, are fitted by a line
    in one over the number; the value at 0 is returned and may be negative. The distance follows such a line if the
    smallest subset has more images than features; otherwise the line removes only part of the bias.

    Args:
        real: the reference, which should be large: the bias from its own size is not corrected.
        fake: ``(n, d)`` features, n at least 16.
        points: number of subsets, at least 2; each costs one distance.
        seed: seed of the subsets.

    Raises:
        UsageError: too few images or points, or features of another length.
        UserError: features that are not finite.
    """
    features = check_features(fake, least=4 * SMALLEST_PART)
    parts = _parts(len(features), points, seed)
    sizes = np.array([len(part) for part in parts])
    distances = np.array([frechet_distance_of_features(real, features[part]) for part in parts])
    return float(_extrapolate(sizes, distances))


def infinity_estimate(
    real: FeatureStatistics, fake: NDArray[np.floating], points: int = POINTS, seed: int = 0
) -> Estimate:
    """``frechet_infinity`` with its standard error: same arguments and errors, slower.

    The jackknife is applied to the distances of the subsets: the effect of leaving an image out of each, minus the
    mean effect, which comes from the number of images and not from the image. Against fresh draws of Gaussian
    features (d = 16 to 64; n = d/2 to 9 d) the error is 1.1 to 1.4 times the true spread, 1.5
    times where both sides are the same distribution.
    """
    features = check_features(fake, least=4 * SMALLEST_PART)
    parts = _parts(len(features), points, seed)
    distances, moved = np.empty(points), np.zeros((len(features), points))
    for at, part in enumerate(parts):
        distances[at], without = frechet_leave_one_out(real, features[part])
        moved[part, at] = without - without.mean()
    sizes = np.array([len(part) for part in parts])
    return Estimate.jackknife(float(_extrapolate(sizes, distances)), _extrapolate(sizes, distances + moved))


def _parts(images: int, points: int, seed: int) -> list[NDArray[np.int64]]:
    """Indices of random subsets, from a quarter of the images to all of them."""
    if points < 2:
        raise UsageError(f"{points} points give no line; allowed is at least 2, such as {POINTS}")
    random = np.random.default_rng(seed)
    sizes = np.linspace(images // SMALLEST_PART, images, points).astype(int)
    return [random.permutation(images)[:size] for size in sizes]


def _extrapolate(sizes: NDArray[Any], distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Value at 0 of lines fitted to ``(..., points)`` distances over the inverse of their sizes."""
    places = 1.0 / sizes
    middle = places.mean(axis=-1, keepdims=True)
    slopes = ((places - middle) * distances).sum(axis=-1) / ((places - middle) ** 2).sum(axis=-1)
    return np.asarray(distances.mean(axis=-1) - slopes * middle[..., 0])


def frechet_floor(real: NDArray[np.floating], samples: int, seed: int = 0, repeats: int = 3) -> float:
    """Mean distance of ``samples`` random real images from all the others.

    A generator that samples the real distribution would score about as much at the same number of images.

    Args:
        real: ``(n, d)`` features of the whole reference.
        samples: number of images that generators are scored on, 2 to n / 2.
        seed: seed of the random choices.
        repeats: number of random choices, at least 1.

    Raises:
        UsageError: fewer than ``2 * samples`` real images, ``samples`` below 2, or ``repeats`` below 1.
        UserError: features that are not finite.
    """
    require_features(real)
    if repeats < 1:
        raise UsageError(f"{repeats} repeats of the floor; allowed is at least 1")
    if not 2 <= samples <= len(real) // 2:
        raise UsageError(
            f"no floor at {samples} samples from {len(real)} real images; allowed is 2 to half of them, "
            f"{len(real) // 2}, so that the reference stays the larger part"
        )
    random = np.random.default_rng(seed)
    distances = []
    for _ in range(repeats):
        order = random.permutation(len(real))
        reference = FeatureStatistics.of(real, order[samples:])
        distances.append(frechet_distance_of_features(reference, real[order[:samples]]))
    return float(np.mean(distances))


def sample_size_warning(samples: int, dimensions: int) -> str | None:
    """Warning if ``samples`` images are too few for a Frechet distance of ``dimensions`` features, else ``None``.

    With at most as many images as features the covariance is singular, which causes much of the distance.
    """
    if samples > dimensions:
        return None
    return (
        f"{samples} samples are too few for a Frechet distance of {dimensions} features, which they bias strongly: "
        f"compare only equal sample counts, compare with the floor, or use more than {dimensions} samples or KID"
    )
