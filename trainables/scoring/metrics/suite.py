"""All scores of the features of one set of images against another, with intervals and the floor of real images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainables.data.tags import UNKNOWN
from trainables.scoring.metrics.diversity import diversity, diversity_by_tags
from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.fid_infinity import frechet_floor, infinity_estimate, sample_size_warning
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance_of_features
from trainables.scoring.metrics.frechet_jackknife import frechet_estimate
from trainables.scoring.metrics.kid import KidReference
from trainables.scoring.metrics.mmd import compute_mmd
from trainables.scoring.metrics.prdc import Manifold, copied_share, manifold_scores, nearest_distances
from trainables.scoring.metrics.validation import check_features

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Features = NDArray[np.float32]

MIN_IMAGES: Final = 16
"""Fewest images on either side for which every score, and the floor from half of them, can be computed."""
MAX_KID_REFERENCE: Final = 5000
"""Most real images used for KID and MMD, which take time quadratic in their number."""
MAX_TAG_REFERENCE: Final = 20_000
"""Most real images of which distances within tags are computed, which takes time quadratic in their number."""
MAX_COPY_REFERENCE: Final = 10_000
"""Most real images that are searched for copies."""
MEASUREMENTS: Final = (
    "mean", "covariance", "root", "neighbours", "copies", "diversity", "combinations", "tag_diversity",
)  # fmt: skip
"""Names of ``Reference.measurements``."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Features, contents and labels of a set of images.

    Attributes:
        features: ``(n, d)``.
        contents: ``(n,)`` integers, equal for near-duplicates or files with the same content.
        labels: ``(n, groups)`` class indices or ``UNKNOWN``; ``None`` without tags.
    """

    features: Features
    contents: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.features)

    def select(self, indices: NDArray[np.int64]) -> ImageSet:
        """Select the images at these indices."""
        labels = None if self.labels is None else self.labels[indices]
        return ImageSet(self.features[indices], self.contents[indices], labels)


@dataclass(frozen=True)
class FeatureScores:
    """Scores by name (``None`` where undefined) and 95 % intervals of those that have one.

    ``floor`` has the scores of ``floor_samples`` real images against the other real images.
    """

    scores: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    floor: dict[str, float | None]
    floor_samples: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Reference:
    """Real images with everything that scores of ``samples`` generated images share; computed once per sweep.

    Attributes:
        statistics: of all real images.
        manifold: of ``samples`` real images, or of all where there are fewer.
        kid: features ``(m, d)`` used for KID and MMD.
        copy_features: features ``(m, d)`` that are searched for copies.
        copy_distances: ``(m,)``, distance of each to the nearest other one (``nearest_distances``).
        real_diversity: mean pairwise distance of all images (``diversity_by_tags``).
        real_tag_diversity: the same within each complete combination of tags; ``None`` for images without tags.
    """

    statistics: FeatureStatistics
    manifold: Manifold
    kid: KidReference
    copy_features: Features
    copy_distances: NDArray[np.float64]
    real_diversity: dict[tuple[int, ...], float]
    real_tag_diversity: dict[tuple[int, ...], float] | None

    @classmethod
    def of(cls, real: ImageSet, samples: int, seed: int, rows: NDArray[np.int64] | None = None) -> Reference:
        """Compute the reference from ``MIN_IMAGES`` real images or more, all or those at ``rows``."""
        copies, tagged = _subsample(real, MAX_COPY_REFERENCE, seed, rows), _tagged_sample(real, seed, rows)
        return cls(
            FeatureStatistics.of(real.features, rows),
            Manifold.of(_subsample(real, samples, seed, rows).features),
            KidReference(_subsample(real, min(MAX_KID_REFERENCE, samples), seed, rows).features),
            copies.features,
            nearest_distances(copies.features, copies.contents),
            diversity_by_tags(copies.features),
            diversity_by_tags(tagged.features, tagged.labels)
            if tagged.labels is not None and len(tagged) > 1
            else None,
        )

    def measurements(self) -> dict[str, NDArray[Any]]:
        """Return what took long to compute, as arrays that ``restore`` takes."""
        within = self.real_tag_diversity or {}
        return {
            "mean": self.statistics.mean,
            "covariance": self.statistics.covariance,
            "root": self.statistics.root,
            "neighbours": self.manifold.distances,
            "copies": self.copy_distances,
            "diversity": np.array(list(self.real_diversity.values())),
            "combinations": np.array(list(within), dtype=np.int64),
            "tag_diversity": np.array(list(within.values())),
        }

    @classmethod
    def restore(cls, real: ImageSet, samples: int, seed: int, measured: Mapping[str, NDArray[Any]]) -> Reference:
        """Return the reference of all real images, with every tag or without tags, given its ``measurements``."""
        within = {
            tuple(tags): value
            for tags, value in zip(measured["combinations"].tolist(), measured["tag_diversity"].tolist(), strict=True)
        }
        return cls(
            FeatureStatistics(measured["mean"], measured["covariance"], len(real), measured["root"]),
            Manifold(check_features(_subsample(real, samples, seed).features), measured["neighbours"]),
            KidReference(_subsample(real, min(MAX_KID_REFERENCE, samples), seed).features),
            _subsample(real, MAX_COPY_REFERENCE, seed).features,
            measured["copies"],
            {(): float(measured["diversity"][0])},
            within if real.labels is not None else None,
        )

    def estimates(self, fake: ImageSet, distance: str, seed: int) -> dict[str, Estimate]:
        """Compute every score of ``MIN_IMAGES`` generated images or more.

        Raises:
            UsageError: too few images, or features of another length.
            UserError: features that are not finite.
        """
        frechet, kid = frechet_and_kid(self.statistics, self.kid, fake.features, seed)
        mmd = compute_mmd(self.kid.features, fake.features)
        return {distance: frechet, "kid": kid, "mmd": mmd, **self.other_estimates(fake, seed)}

    def other_estimates(self, fake: ImageSet, seed: int) -> dict[str, Estimate]:
        """Compute every score except FID, KID and MMD; raises what ``estimates`` raises."""
        near = manifold_scores(self.manifold, _subsample(fake, len(self.manifold.features), seed).features)
        estimates = {
            "precision": near.precision,
            "recall": near.recall,
            "density": near.density,
            "coverage": near.coverage,
            "memorised": copied_share(self.copy_features, self.copy_distances, fake.features),
        }
        return estimates | self.diversity_estimates(fake)

    def diversity_estimates(self, fake: ImageSet) -> dict[str, Estimate]:
        """Compute ``diversity`` and, with tags, ``tag_diversity``; both are unbiased at every number of images."""
        estimates = {"diversity": diversity(self.real_diversity, fake.features)}
        tagged = _fully_tagged(fake)
        if tagged.labels is not None and len(tagged) > 1 and self.real_tag_diversity is not None:
            estimates["tag_diversity"] = diversity(self.real_tag_diversity, tagged.features, tagged.labels)
        return estimates


def frechet_and_kid(
    statistics: FeatureStatistics, kid: KidReference, features: Features, seed: int, *, errors: bool = True
) -> tuple[Estimate, Estimate]:
    """Compute the Frechet distance and KID of ``(n, d)`` features to those of real images.

    ``errors=False`` skips the standard error of the Frechet distance, which takes longer than the distance.
    """
    if errors:
        frechet = frechet_estimate(statistics, features)
    else:
        frechet = Estimate(frechet_distance_of_features(statistics, features), math.nan, len(features), lowest=0.0)
    return frechet, kid.distance(features, seed=seed)


def compare(real: ImageSet, fake: ImageSet, *, distance: str, infinity: bool = False, seed: int = 0) -> FeatureScores:
    """Score ``fake`` against ``real``, each of ``MIN_IMAGES`` images or more.

    ``precision``, ``recall``, ``density`` and ``coverage`` compare equal numbers: the larger side is subsampled.
    ``diversity`` is the mean distance between images divided by that of real ones, and ``tag_diversity`` the same
    within combinations of tags. ``memorised`` is the share of copies of real images.

    Args:
        real: the reference.
        fake: the images to score.
        distance: name of the Frechet distance in this feature space.
        infinity: also extrapolate it to infinitely many images, as ``<distance>_infinity``.
        seed: seed of every random choice.

    Raises:
        UsageError: too few images, or features of two lengths.
        UserError: features that are not finite.
    """
    reference = Reference.of(real, len(fake), seed)
    estimates = reference.estimates(fake, distance, seed)
    if infinity:
        estimates[f"{distance}_infinity"] = infinity_estimate(reference.statistics, fake.features, seed=seed)
    scores = {name: _finite_or_none(one.value) for name, one in estimates.items()}
    samples = min(len(fake), len(real) // 2)
    floor, warnings = (
        measure_floor(real, samples, distance, seed),
        [sample_size_warning(len(fake), fake.features.shape[1])],
    )
    if samples < len(fake):
        warnings.append(
            f"the floor is measured on {samples} images instead of {len(fake)}, half of the real ones; "
            "its distance is larger for that reason"
        )
    return FeatureScores(scores, finite_intervals(estimates), floor, samples, tuple(text for text in warnings if text))


def measure_floor(real: ImageSet, samples: int, distance: str, seed: int) -> dict[str, float | None]:
    """Score ``samples`` real images, at most half of them, against the other real images."""
    order = np.random.default_rng(seed).permutation(len(real))
    rest = Reference.of(real, samples, seed, rows=order[samples:])
    floor = {
        name: _finite_or_none(one.value)
        for name, one in rest.estimates(real.select(order[:samples]), distance, seed).items()
    }
    return floor | {distance: frechet_floor(real.features, samples, seed)}


def finite_intervals(estimates: Mapping[str, Estimate]) -> dict[str, tuple[float, float]]:
    """95 % intervals of the scores with a finite standard error."""
    return {name: one.interval() for name, one in estimates.items() if math.isfinite(one.standard_error)}


def _fully_tagged(images: ImageSet) -> ImageSet:
    """Select the images with every tag."""
    if images.labels is None:
        return images
    return images.select(np.flatnonzero((images.labels != UNKNOWN).all(axis=1)))


def _tagged_sample(images: ImageSet, seed: int, rows: NDArray[np.int64] | None) -> ImageSet:
    """Draw at most ``MAX_TAG_REFERENCE`` of the images with every tag."""
    if images.labels is not None:
        tagged = np.flatnonzero((images.labels != UNKNOWN).all(axis=1))
        rows = tagged if rows is None else rows[np.isin(rows, tagged)]
    return _subsample(images, MAX_TAG_REFERENCE, seed, rows)


def _subsample(images: ImageSet, most: int, seed: int, rows: NDArray[np.int64] | None = None) -> ImageSet:
    """Draw at most ``most`` of the images, or of those at ``rows``, without replacement."""
    count = len(images) if rows is None else len(rows)
    if count > most:
        chosen = np.sort(np.random.default_rng(seed).permutation(count)[:most])
        return images.select(chosen if rows is None else rows[chosen])
    return images if rows is None else images.select(rows)


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
