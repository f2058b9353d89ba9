"""Scoring of generators that draw images: what all trials of a sweep share, and the scores of one generator.

Every trial is scored with the same noise, tags and numbers of images, so that trials are comparable. Early evaluations
score the first few images; the last one scores all of them, with every score and its interval.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainables.data.tensors import as_tensor, to_uint8
from trainables.errors import UserError
from trainables.scoring.metrics.face_rate import FACE_RATE, FaceCounter, detect_faces
from trainables.scoring.metrics.fid_infinity import infinity_estimate, sample_size_warning
from trainables.scoring.metrics.mmd import compute_mmd
from trainables.scoring.metrics.pixels import PixelCounter, measure_pixels
from trainables.scoring.metrics.suite import (
    MEASUREMENTS,
    MIN_IMAGES,
    ImageSet,
    Reference,
    finite_intervals,
    frechet_and_kid,
    measure_floor,
)
from trainables.scoring.results import SAMPLING_POLICY, TRANSLATION_POLICY, Fingerprint, Scores
from trainables.scoring.tag_classifier.tag_accuracy import report_tags
from trainables.scoring.translation_task import TranslationTask
from trainables.storage.cached_arrays import cached_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.scoring.extractors.registry import Extractor, ExtractorChoice
    from trainables.scoring.metrics.estimate import Estimate
    from trainables.scoring.metrics.face_rate import CascadeFile
    from trainables.scoring.metrics.pixels import PixelReference
    from trainables.scoring.tag_classifier.classifier import TagClassifier
    from trainables.scoring.tag_classifier.tag_accuracy import TagReport

SAMPLING_BATCH = 128


@dataclass(frozen=True)
class Scorer:
    """Scores generators against one reference with one tag classifier. Ray sends it to each node once.

    Attributes:
        extractor: the feature network to open.
        reference: the real images.
        tag_classifier: ``None`` for unconditional systems.
        tags: ``(samples, groups)`` requested labels, drawn from the data's distribution.
        seed: seed of the noise.
        fingerprint: what the scores may be compared with.
        task: images to translate, for systems that translate.
        cascade: face detector for ``face_rate``.
        infinity: also extrapolate the distance to infinitely many images.
        mmd: also score finished generators by the kernel of CMMD.
        pixels: of the real images, for ``grid_energy`` and ``saturated``.
    """

    extractor: ExtractorChoice
    reference: Reference
    tag_classifier: TagClassifier | None
    tags: NDArray[np.int64]
    seed: int
    fingerprint: Fingerprint
    task: TranslationTask | None = None
    cascade: CascadeFile | None = None
    infinity: bool = False
    mmd: bool = False
    pixels: PixelReference | None = None

    def score(
        self,
        draw: Callable[[Tensor, Tensor], Tensor],
        noise_dim: int,
        device: str = "cpu",
        *,
        conditional: bool = True,
        samples: int | None = None,
    ) -> Scores:
        """Draw images and score them.

        Args:
            draw: noise ``(n, noise_dim)`` and tags ``(n, groups)`` -> images ``(n, 3, s, s)`` in [-1, 1].
            noise_dim: length of a noise vector.
            device: where ``draw`` runs.
            conditional: whether ``draw`` uses tags; if not, there is no tag accuracy.
            samples: score only this many of the images, without intervals, for early decisions; by default all of
                them, with every score and its interval.
        """
        count = len(self.tags) if samples is None else min(samples, len(self.tags))
        # Draw all and cut: torch's draws depend on their number, and early scores must be of the first images.
        noise = torch.randn(len(self.tags), noise_dim, generator=torch.Generator().manual_seed(self.seed))[:count]
        requested = as_tensor(self.tags[:count])
        extractor = self.extractor.open(device)
        features, predictions = [], []
        counters = (FaceCounter.of(self.cascade, all_images=count == len(self.tags)), PixelCounter(self.pixels))
        for codes, tags in zip(torch.split(noise, SAMPLING_BATCH), torch.split(requested, SAMPLING_BATCH), strict=True):
            # Score images as they would be saved: quantised and clipped.
            pixels = to_uint8(draw(codes.to(device), tags.to(device)))
            features.append(extractor(pixels))
            for counter in counters:
                counter.add(pixels)
            if conditional and self.tag_classifier:
                predictions.append(self.tag_classifier.predict(pixels.float().div(127.5).sub(1.0)).cpu())
        report = None
        if predictions and self.tag_classifier:
            report = report_tags(torch.cat(predictions).numpy(), requested.numpy(), self.tag_classifier.vocabulary)
        more = {name: one for counter in counters for name, one in counter.estimates().items()}
        return self.measure(torch.cat(features).numpy(), self.tags[:count] if conditional else None, report, more=more)

    def measure(
        self,
        features: NDArray[np.float32],
        requested: NDArray[np.int64] | None,
        report: TagReport | None,
        distances: Mapping[str, Estimate] | None = None,
        more: Mapping[str, Estimate] | None = None,
    ) -> Scores:
        """Compute the scores of ``(n, d)`` features of generated images.

        Fewer than all images get only the scores for early decisions, without intervals.

        Args:
            features: of the generated images.
            requested: ``(n, groups)`` requested labels; ``None`` for unconditional systems.
            report: of the tag classifier.
            distances: replace the Frechet distance and ``kid`` to all real images.
            more: additional scores.
        """
        count, name, reference = len(features), self.fingerprint.score, self.reference
        complete, drawn = count >= len(self.tags), ImageSet(features, np.arange(count), requested)
        if distances is None:
            frechet, kid = frechet_and_kid(reference.statistics, reference.kid, features, self.seed, errors=complete)
            distances = {name: frechet, "kid": kid}
        if complete and self.infinity:
            extrapolated = infinity_estimate(reference.statistics, features, seed=self.seed)
            distances = {**distances, f"{name}_infinity": extrapolated}
        if complete and self.mmd:
            distances = {**distances, "mmd": compute_mmd(reference.kid.features, features)}
        others = reference.other_estimates(drawn, self.seed) if complete else reference.diversity_estimates(drawn)
        estimates = {**distances, **others, **(more or {}), "distance": distances[name]}
        values: dict[str, float | None] = {score: estimate.value for score, estimate in estimates.items()}
        values |= report.scores() if report else {}
        intervals = finite_intervals(estimates) | (report.intervals() if report else {}) if complete else {}
        finite = {score: value for score, value in values.items() if value is not None and math.isfinite(value)}
        return Scores(count, finite, intervals, report)


def make_scorer(
    images: TaggedImages,
    tag_classifier: TagClassifier | None,
    *,
    extractor: ExtractorChoice,
    samples: int,
    seed: int,
    cache: Path,
    groups: NDArray[np.int64] | None = None,
    translates: bool = False,
    cascade: CascadeFile | None = None,
    infinity: bool = False,
    mmd: bool = False,
) -> tuple[Scorer, Floor]:
    """Measure the reference (all fully tagged real images) once, and draw the labels that generators are scored on.

    Images with a missing tag are not part of the reference.

    Args:
        images: the data.
        tag_classifier: ``None`` for unconditional systems.
        extractor: the feature network.
        samples: images that a finished generator is scored on, ``MIN_IMAGES`` or more; systems that translate are
            scored on at most as many as can be translated without repetition.
        seed: seed of noise and labels.
        cache: folder for features of real images.
        groups: ``(complete,)`` near-duplicate group of each complete image.
        translates: whether the generators translate images. The floor and the fingerprint are then those of
            translations.
        cascade: face detector for the images of finished generators.
        infinity: also extrapolate the distance of finished generators that draw to infinitely many images.
        mmd: also score finished generators by the kernel of CMMD.

    Raises:
        UserError: too few real images, or too few samples for the number of target classes.
    """
    complete = images.labels[: images.complete]
    if len(complete) < MIN_IMAGES:
        raise UserError(f"{len(complete)} images with every tag are too few to score against; {MIN_IMAGES} are needed")
    network = extractor.open()
    features, key = _real_features(images, network, cache)
    task = TranslationTask.of(images, features, samples, seed) if translates else None
    if task:
        samples = len(task.sources)
    real = ImageSet(features, np.arange(len(complete)) if groups is None else groups, complete)
    reference, floor = _reference(real, samples, network.score, seed, cache / f"reference-{key}-{samples}-{seed}.npz")
    fingerprint = _fingerprint(
        images, network, tag_classifier, samples, TRANSLATION_POLICY if translates else SAMPLING_POLICY, cascade
    )
    tags = complete[np.random.default_rng(seed).integers(len(complete), size=samples)]
    if task:
        each = samples // len(task.domains)
        scores = floor.scores | task.floor(features, network.score, seed)
        floor = dataclasses.replace(floor, scores=scores, warning=sample_size_warning(each, features.shape[1]))
    pixels = measure_pixels(images, cache)
    faces = _real_face_rate(images, cascade, floor.samples, seed, cache) if cascade else {}
    floor = dataclasses.replace(floor, scores=floor.scores | pixels.floor | faces)
    scorer = Scorer(extractor, reference, tag_classifier, tags, seed, fingerprint, task, cascade, infinity, mmd, pixels)
    return scorer, floor


def features_file(images: TaggedImages, network: Extractor, cache: Path) -> Path:
    """Return the path at which ``make_scorer`` looks for the features of the fully tagged real images."""
    measured = (
        f"{images.fingerprint} {images.size} {network.name} {network.weights} {network.resize} {network.precision}"
    )
    return cache / f"features-{hashlib.sha256(measured.encode()).hexdigest()[:16]}.npz"


def _real_features(images: TaggedImages, network: Extractor, cache: Path) -> tuple[NDArray[np.float32], str]:
    """Features ``(complete, d)`` of the fully tagged real images, cached, and their cache key."""
    path = features_file(images, network, cache)
    pixels = as_tensor(images.pixels[: images.complete]).permute(0, 3, 1, 2)
    kept = cached_arrays(path, ["features"], lambda: {"features": network(pixels).numpy()})
    return kept["features"], path.stem.removeprefix("features-")


def _real_face_rate(images: TaggedImages, cascade: CascadeFile, count: int, seed: int, cache: Path) -> dict[str, float]:
    """``face_rate`` of ``count`` fully tagged real images, cached."""
    measured = f"{images.fingerprint} {images.size} {cascade.fingerprint} {count} {seed}"
    path = cache / f"faces-{hashlib.sha256(measured.encode()).hexdigest()[:16]}.npz"

    def measure() -> dict[str, NDArray[Any]]:
        chosen = np.random.default_rng(seed).permutation(images.complete)[:count]
        return {"faces": detect_faces(images.pixels[chosen], cascade.open())}

    return {FACE_RATE: float(cached_arrays(path, ["faces"], measure)["faces"].mean())}


def _fingerprint(
    images: TaggedImages,
    network: Extractor,
    tag_classifier: TagClassifier | None,
    samples: int,
    seed_policy: str,
    cascade: CascadeFile | None,
) -> Fingerprint:
    return Fingerprint(
        extractor=network.name,
        score=network.score,
        weights=network.weights,
        resize=network.resize,
        precision=network.precision,
        samples=samples,
        reference=images.complete,
        image_size=images.size,
        data=images.fingerprint,
        tag_classifier=tag_classifier.fingerprint if tag_classifier else "none",
        seed_policy=seed_policy,
        cascade=cascade.fingerprint if cascade else None,
    )


@dataclass(frozen=True)
class Floor:
    """Scores of ``samples`` real images against the other real images; ``warning`` if they are few."""

    samples: int
    scores: dict[str, float]
    warning: str | None


def _reference(real: ImageSet, samples: int, distance: str, seed: int, path: Path) -> tuple[Reference, Floor]:
    """Compute the reference and the floor; their expensive parts are cached at ``path``."""
    count = min(samples, len(real) // 2)

    def measure() -> dict[str, NDArray[Any]]:
        floor, reference = measure_floor(real, count, distance, seed), Reference.of(real, samples, seed)
        defined = {name: value for name, value in floor.items() if value is not None}
        return {
            "names": np.array(list(defined)),
            "floor": np.array(list(defined.values())),
            **reference.measurements(),
        }

    kept = cached_arrays(path, ["names", "floor", *MEASUREMENTS], measure)
    scores = dict(zip(kept["names"].tolist(), kept["floor"].tolist(), strict=True))
    floor = Floor(count, scores, sample_size_warning(samples, real.features.shape[1]))
    return Reference.restore(real, samples, seed, kept), floor
