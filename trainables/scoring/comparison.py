"""All scores of one set of pictures' features against another's, with their intervals and the floor to read them by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.data.tags import UNKNOWN
from trainables.scoring.diversity import diversity, spread_by_tags
from trainables.scoring.extrapolation import frechet_floor, infinity_estimate, too_few
from trainables.scoring.frechet import FeatureStatistics, frechet_distance_of_features
from trainables.scoring.frechet_interval import frechet_estimate
from trainables.scoring.intervals import Estimate
from trainables.scoring.kernel import kernel_distance
from trainables.scoring.neighbours import Manifold, copies, manifold_scores, nearest_distances

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Features = NDArray[np.float32]

LEAST: Final = 16
"""Pictures on either side that every score can be had from, the real side's halves included."""
KERNEL_REFERENCE: Final = 5000
"""Most real pictures of the kernel distance: it is unbiased, and its time grows with their square."""
COPIED: Final = 10_000
"""Most real pictures among which copies are looked for."""


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Pictures as scores see them.

    Attributes:
        features: ``(n, d)``.
        contents: ``(n,)``, the same number for files of the same content.
        labels: ``(n, groups)`` class indices or ``UNKNOWN``; ``None`` where nobody asks for tags.
    """

    features: Features
    contents: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.features)

    def part(self, places: NDArray[np.int64]) -> PictureSet:
        """The pictures at ``places``."""
        labels = None if self.labels is None else self.labels[places]
        return PictureSet(self.features[places], self.contents[places], labels)


@dataclass(frozen=True)
class FeatureScores:
    """Scores by name, ``None`` where nothing can be known; 95 % intervals of those that have one.

    ``floor`` is what real pictures score against other real pictures, ``floor_samples`` of them.
    """

    scores: dict[str, float | None]
    intervals: dict[str, tuple[float, float]]
    floor: dict[str, float | None]
    floor_samples: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Reference:
    """Real pictures, and what all scores of ``samples`` pictures against them share: computed once, then read.

    Attributes:
        statistics: of all real pictures.
        manifold: of ``samples`` real pictures, or of all where there are fewer.
        kernel: features ``(m, d)`` that the kernel distance is to.
        copied: features ``(m, d)`` among which copies are looked for.
        between: ``(m,)``, their distances to each other (``nearest_distances``).
        spread: of all pictures together (``spread_by_tags``).
        tag_spread: within each full combination of tags; ``None`` for pictures without tags.
    """

    statistics: FeatureStatistics
    manifold: Manifold
    kernel: Features
    copied: Features
    between: NDArray[np.float64]
    spread: dict[tuple[int, ...], float]
    tag_spread: dict[tuple[int, ...], float] | None

    @classmethod
    def of(cls, real: PictureSet, samples: int, seed: int, between: NDArray[np.float64] | None = None) -> Reference:
        """Of ``LEAST`` real pictures or more; ``between`` where it is known."""
        copied, known = _drawn(real, COPIED, seed), _complete(real)
        tagged = known.labels is not None and len(known) > 1
        return cls(
            FeatureStatistics.of(real.features),
            Manifold.of(_drawn(real, samples, seed).features),
            _drawn(real, min(KERNEL_REFERENCE, samples), seed).features,
            copied.features,
            distances_between(real, seed) if between is None else between,
            spread_by_tags(copied.features),
            spread_by_tags(known.features, known.labels) if tagged else None,
        )

    def estimates(self, fake: PictureSet, distance: str, seed: int) -> dict[str, Estimate]:
        """Every score of ``LEAST`` generated pictures or more.

        Raises:
            UsageError: too few pictures, or features of another length.
            UserError: features that are not finite.
        """
        frechet, kernel = nearness(self.statistics, self.kernel, fake.features, seed)
        return {distance: frechet, "kid": kernel, **self.likeness(fake, seed)}

    def likeness(self, fake: PictureSet, seed: int) -> dict[str, Estimate]:
        """Every score of ``LEAST`` generated pictures or more but the distances; errors as of ``estimates``."""
        near = manifold_scores(self.manifold, _drawn(fake, len(self.manifold.features), seed).features)
        estimates = {
            "precision": near.precision,
            "recall": near.recall,
            "density": near.density,
            "coverage": near.coverage,
            "memorised": copies(self.copied, self.between, fake.features).share,
        }
        return estimates | self.diversities(fake)

    def diversities(self, fake: PictureSet) -> dict[str, Estimate]:
        """``diversity``, and with tags ``tag_diversity``: whatever the number of pictures, their mean is the same."""
        found = {"diversity": diversity(self.spread, fake.features).ratio}
        asked = _complete(fake)
        if asked.labels is not None and len(asked) > 1 and self.tag_spread is not None:
            found["tag_diversity"] = diversity(self.tag_spread, asked.features, asked.labels).ratio
        return found


def nearness(
    statistics: FeatureStatistics, kernel: Features, features: Features, seed: int, *, errors: bool = True
) -> tuple[Estimate, Estimate]:
    """Frechet and kernel distance of ``(n, d)`` features to those of real pictures.

    Without ``errors`` the Frechet distance has none: they take longer than the distance.
    """
    if errors:
        frechet = frechet_estimate(statistics, features)
    else:
        frechet = Estimate(frechet_distance_of_features(statistics, features), math.nan, len(features), lowest=0.0)
    return frechet, kernel_distance(kernel, features, seed=seed).estimate


def distances_between(real: PictureSet, seed: int) -> NDArray[np.float64]:
    """``Reference.between``, the part of it that takes longest."""
    copied = _drawn(real, COPIED, seed)
    return nearest_distances(copied.features, copied.contents)


def compare(
    real: PictureSet, fake: PictureSet, *, distance: str, infinity: bool = False, seed: int = 0
) -> FeatureScores:
    """Score ``fake`` against ``real``, each of ``LEAST`` pictures or more.

    ``precision``, ``recall``, ``density`` and ``coverage`` compare equal numbers: as many as the smaller side has,
    drawn from the other. ``diversity`` is the mean distance between pictures over that of real ones, and
    ``tag_diversity`` the same within combinations of tags. ``memorised`` is the share of copies of real pictures.

    Args:
        real: the reference.
        fake: what is scored.
        distance: name of the Frechet distance in this feature space.
        infinity: also extrapolate it to infinitely many pictures, as ``<distance>_infinity``.
        seed: of every random choice.

    Raises:
        UsageError: too few pictures, or features of two lengths.
        UserError: features that are not finite.
    """
    reference = Reference.of(real, len(fake), seed)
    estimates = reference.estimates(fake, distance, seed)
    if infinity:
        estimates[f"{distance}_infinity"] = infinity_estimate(reference.statistics, fake.features, seed=seed)
    scores = {name: _known(one.value) for name, one in estimates.items()}
    samples = min(len(fake), len(real) // 2)
    floor, warnings = measure_floor(real, samples, distance, seed), [too_few(len(fake), fake.features.shape[1])]
    if samples < len(fake):
        warnings.append(
            f"real against real is scored at {samples} pictures instead of {len(fake)}: half of the real ones are "
            "no more; its distance is larger for that"
        )
    return FeatureScores(scores, known_intervals(estimates), floor, samples, tuple(text for text in warnings if text))


def measure_floor(real: PictureSet, samples: int, distance: str, seed: int) -> dict[str, float | None]:
    """Every score of ``samples`` real pictures against the others; ``samples`` at most half of them."""
    order = np.random.default_rng(seed).permutation(len(real))
    rest = Reference.of(real.part(order[samples:]), samples, seed)
    floor = {
        name: _known(one.value) for name, one in rest.estimates(real.part(order[:samples]), distance, seed).items()
    }
    return floor | {distance: frechet_floor(real.features, samples, seed).mean}


def known_intervals(estimates: Mapping[str, Estimate]) -> dict[str, tuple[float, float]]:
    """95 % intervals of the scores that have one."""
    return {name: one.interval() for name, one in estimates.items() if math.isfinite(one.standard_error)}


def _complete(pictures: PictureSet) -> PictureSet:
    """Those with every tag."""
    if pictures.labels is None:
        return pictures
    return pictures.part(np.flatnonzero((pictures.labels != UNKNOWN).all(axis=1)))


def _drawn(pictures: PictureSet, most: int, seed: int) -> PictureSet:
    """At most so many of the pictures, drawn without replacement."""
    if len(pictures) <= most:
        return pictures
    return pictures.part(np.sort(np.random.default_rng(seed).permutation(len(pictures))[:most]))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
