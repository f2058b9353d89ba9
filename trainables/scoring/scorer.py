"""Scores of one generator: what all trials of a sweep share, and the numbers they get.

Every trial is scored on the same numbers of pictures, from the same noise and the same asked tags, so that trials
compare on the same draws: a few pictures where only a decision is needed, all of them, with every score and its
interval, at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import zipfile
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainables.errors import UserError
from trainables.files import whole_file
from trainables.pictures import as_tensor, to_uint8
from trainables.scoring.comparison import (
    LEAST,
    PictureSet,
    Reference,
    distances_between,
    known_intervals,
    measure_floor,
    nearness,
)
from trainables.scoring.extrapolation import infinity_estimate, too_few
from trainables.scoring.faces import FACE_RATE, FaceCount, detected_faces
from trainables.scoring.features import open_extractor
from trainables.scoring.tag_report import report_tags
from trainables.scoring.translation import score_translation
from trainables.scoring.translation_task import TranslationTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.scoring.faces import CascadeFile
    from trainables.scoring.features import Extractor
    from trainables.scoring.intervals import Estimate
    from trainables.scoring.tag_report import TagReport
    from trainables.scoring.tagger import Judge

SAMPLING_BATCH = 128
DRAWN = "noise and tags fixed per sweep"
TRANSLATED = "sources and tags fixed per sweep"
"""Seed policies: what is measured on pictures drawn from noise is another score than on translated ones."""


@dataclass(frozen=True)
class Fingerprint:
    """What must be equal for two distances or accuracies to be comparable."""

    extractor: str
    score: str
    weights: str
    resize: str
    precision: str
    samples: int
    reference: int
    image_size: int
    data: str
    judge: str
    seed_policy: str = DRAWN
    cascade: str | None = None

    def to_json(self) -> dict[str, str | int]:
        """A plain dict, without the cascade where no faces are looked for."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class ExtractorChoice:
    """What ``open_extractor`` is asked for; the network itself is opened where it works."""

    name: str = "efficientnet"
    weights: Path | None = None
    resize: str | None = None
    precision: str = "float32"

    def open(self, device: str = "cpu") -> Extractor:
        """The extractor; errors as of ``open_extractor``."""
        return open_extractor(self.name, self.weights, device, resize=self.resize, precision=self.precision)


@dataclass(frozen=True)
class Scores:
    """What was measured on ``samples`` pictures: values by name, and 95 % intervals where all was measured.

    ``distance`` is also there under its full name. A score that nothing is known of is missing.
    """

    samples: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    tags: TagReport | None = None

    def metrics(self) -> dict[str, float]:
        """Flat, as they are logged: ``interval/<name>/low`` and ``/high``, ``class_accuracy/<group>/<class>``."""
        ends = {
            f"interval/{name}/{end}": value
            for name, pair in self.intervals.items()
            for end, value in zip(("low", "high"), pair, strict=True)
        }
        classes = {
            f"class_accuracy/{one.group.name}/{label}": share
            for one in (self.tags.groups if self.tags and self.intervals else ())
            for label, share in one.per_class.items()
            if share is not None
        }
        return {"samples": self.samples, **self.values, **ends, **classes}


@dataclass(frozen=True)
class Scorer:
    """Scores generators against one reference with one judge. Travels to trials once per node.

    ``tags`` ``(samples, groups)`` are asked for in the data's own proportions; ``seed`` fixes the noise; ``task`` is
    what generators that translate are given, where those are scored; ``cascade`` finds faces, where it is asked for;
    ``infinity`` asks for the distance at infinitely many pictures, too, of generators that draw.
    """

    extractor: ExtractorChoice
    reference: Reference
    judge: Judge | None
    tags: NDArray[np.int64]
    seed: int
    fingerprint: Fingerprint
    task: TranslationTask | None = None
    cascade: CascadeFile | None = None
    infinity: bool = False

    def score(
        self,
        draw: Callable[[Tensor, Tensor], Tensor],
        noise_dim: int,
        device: str = "cpu",
        *,
        conditional: bool = True,
        samples: int | None = None,
    ) -> Scores:
        """Draw, measure, judge.

        Args:
            draw: noise ``(n, noise_dim)`` and tags ``(n, groups)`` -> pictures ``(n, 3, s, s)`` in [-1, 1].
            noise_dim: length of a noise vector.
            device: where ``draw`` runs.
            conditional: whether ``draw`` heeds tags; without them there is no tag accuracy.
            samples: only the first so many of the pictures, for the distances and accuracies that an early decision
                needs; by default all of them, for every score and its interval.
        """
        count = len(self.tags) if samples is None else min(samples, len(self.tags))
        # Fewer pictures are the first of all of them: what torch draws depends on how much is asked for.
        noise = torch.randn(len(self.tags), noise_dim, generator=torch.Generator().manual_seed(self.seed))[:count]
        asked = as_tensor(self.tags[:count])
        extractor = self.extractor.open(device)
        features, guesses, faces = [], [], FaceCount.of(self.cascade, whole=count == len(self.tags))
        for codes, tags in zip(torch.split(noise, SAMPLING_BATCH), torch.split(asked, SAMPLING_BATCH), strict=True):
            # Scored as they would be saved: quantised, and cut to the range of a picture.
            pixels = to_uint8(draw(codes.to(device), tags.to(device)))
            features.append(extractor(pixels))
            faces.add(pixels)
            if conditional and self.judge:
                guesses.append(self.judge.predict(pixels.float().div(127.5).sub(1.0)).cpu())
        report = None
        if guesses and self.judge:
            report = report_tags(torch.cat(guesses).numpy(), asked.numpy(), self.judge.vocabulary)
        return self.measure(
            torch.cat(features).numpy(), self.tags[:count] if conditional else None, report, more=faces.estimates()
        )

    def score_translation(
        self, translate: Callable[[Tensor, Tensor], Tensor], device: str = "cpu", *, samples: int | None = None
    ) -> Scores:
        """See ``trainables.scoring.translation.score_translation``."""
        return score_translation(self, translate, device, samples=samples)

    def measure(
        self,
        features: NDArray[np.float32],
        asked: NDArray[np.int64] | None,
        report: TagReport | None,
        distances: Mapping[str, Estimate] | None = None,
        more: Mapping[str, Estimate] | None = None,
    ) -> Scores:
        """Scores of ``(n, d)`` features of pictures asked for by ``(n, groups)`` tags, or none, beside a report.

        Of fewer than all pictures only what an early decision needs, without intervals. ``distances``, the feature
        space's and ``kid`` among them, stand in the place of those to all real pictures; ``more`` stand beside them.
        """
        count, name, reference = len(features), self.fingerprint.score, self.reference
        whole, drawn = count >= len(self.tags), PictureSet(features, np.arange(count), asked)
        if distances is None:
            frechet, kernel = nearness(reference.statistics, reference.kernel, features, self.seed, errors=whole)
            distances = {name: frechet, "kid": kernel}
        if whole and self.infinity:
            extrapolated = infinity_estimate(reference.statistics, features, seed=self.seed)
            distances = {**distances, f"{name}_infinity": extrapolated}
        others = reference.likeness(drawn, self.seed) if whole else reference.diversities(drawn)
        estimates = {**distances, **others, **(more or {}), "distance": distances[name]}
        values: dict[str, float | None] = {score: estimate.value for score, estimate in estimates.items()}
        values |= report.scores() if report else {}
        intervals = known_intervals(estimates) | (report.intervals() if report else {}) if whole else {}
        known = {score: value for score, value in values.items() if value is not None and math.isfinite(value)}
        return Scores(count, known, intervals, report)


def make_scorer(
    images: TaggedImages,
    judge: Judge | None,
    *,
    extractor: ExtractorChoice,
    samples: int,
    seed: int,
    cache: Path,
    groups: NDArray[np.int64] | None = None,
    device: str = "cpu",
    translates: bool = False,
    cascade: CascadeFile | None = None,
    infinity: bool = False,
) -> tuple[Scorer, Floor]:
    """Measure the reference (all complete real pictures) once and fix what generators are asked for.

    Pictures with an unusable tag never enter the reference.

    Args:
        images: the data.
        judge: of the tags; ``None`` for unconditional systems.
        extractor: of the features.
        samples: pictures that a finished generator is scored on, ``LEAST`` or more; at most those that can be
            translated once each, where generators translate.
        seed: of noise and asked tags.
        cache: folder that features of real pictures are kept in.
        groups: ``(complete,)`` near-duplicate group of each complete picture.
        device: where the features are computed.
        translates: whether the generators translate pictures; the floor of the distance is then that of the scores
            for it, and the fingerprint says so.
        cascade: of the faces to look for on the pictures of a finished generator.
        infinity: also extrapolate the distance of a finished generator that draws to infinitely many pictures.

    Raises:
        UserError: too few real pictures, or samples for so many classes to translate to.
    """
    complete = images.labels[: images.complete]
    if len(complete) < LEAST:
        raise UserError(f"{len(complete)} pictures with every tag are too few to score by; {LEAST} are needed")
    network = extractor.open(device)
    features, key = _real_features(images, network, cache)
    task = TranslationTask.of(images, features, samples, seed) if translates else None
    if task:
        samples = len(task.sources)
    real = PictureSet(features, np.arange(len(complete)) if groups is None else groups, complete)
    reference, floor = _reference(real, samples, network.score, seed, cache / f"reference-{key}-{samples}-{seed}.npz")
    fingerprint = _fingerprint(images, network, judge, samples, TRANSLATED if translates else DRAWN, cascade)
    tags = complete[np.random.default_rng(seed).integers(len(complete), size=samples)]
    if task:
        each = samples // len(task.domains)
        scores = floor.scores | task.floor(features, network.score, seed)
        floor = dataclasses.replace(floor, scores=scores, warning=too_few(each, features.shape[1]))
    if cascade:
        floor = dataclasses.replace(
            floor, scores=floor.scores | _real_faces(images, cascade, floor.samples, seed, cache)
        )
    return Scorer(extractor, reference, judge, tags, seed, fingerprint, task, cascade, infinity), floor


def _real_features(images: TaggedImages, network: Extractor, cache: Path) -> tuple[NDArray[np.float32], str]:
    """Features ``(complete, d)`` of the complete real pictures, kept in the cache, and the key of what made them."""
    measured = (
        f"{images.fingerprint} {images.size} {network.name} {network.weights} {network.resize} {network.precision}"
    )
    key = hashlib.sha256(measured.encode()).hexdigest()[:16]
    pixels = as_tensor(images.pixels[: images.complete]).permute(0, 3, 1, 2)
    kept = _kept(cache / f"features-{key}.npz", ["features"], lambda: {"features": network(pixels).numpy()})
    return kept["features"], key


def _real_faces(images: TaggedImages, cascade: CascadeFile, count: int, seed: int, cache: Path) -> dict[str, float]:
    """On which share of ``count`` complete real pictures there is a face, kept in the cache."""
    measured = f"{images.fingerprint} {images.size} {cascade.fingerprint} {count} {seed}"
    path = cache / f"faces-{hashlib.sha256(measured.encode()).hexdigest()[:16]}.npz"

    def measure() -> dict[str, NDArray[Any]]:
        chosen = np.random.default_rng(seed).permutation(images.complete)[:count]
        return {"faces": detected_faces(images.pixels[chosen], cascade.open())}

    return {FACE_RATE: float(_kept(path, ["faces"], measure)["faces"].mean())}


def _fingerprint(
    images: TaggedImages,
    network: Extractor,
    judge: Judge | None,
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
        judge=judge.fingerprint if judge else "none",
        seed_policy=seed_policy,
        cascade=cascade.fingerprint if cascade else None,
    )


@dataclass(frozen=True)
class Floor:
    """What ``samples`` real pictures score against the other real pictures; ``warning`` where those are few."""

    samples: int
    scores: dict[str, float]
    warning: str | None


def _reference(real: PictureSet, samples: int, distance: str, seed: int, path: Path) -> tuple[Reference, Floor]:
    """The reference with all that a trial reads of it, and the floor; what takes long is kept at ``path``."""
    count = min(samples, len(real) // 2)

    def measure() -> dict[str, NDArray[Any]]:
        floor = measure_floor(real, count, distance, seed)
        known = {name: value for name, value in floor.items() if value is not None}
        return {
            "between": distances_between(real, seed),
            "names": np.array(list(known)),
            "floor": np.array(list(known.values())),
        }

    kept = _kept(path, ["between", "names", "floor"], measure)
    reference = Reference.of(real, samples, seed, between=kept["between"])
    _ = reference.statistics.root  # computed here rather than in every trial
    scores = dict(zip(kept["names"].tolist(), kept["floor"].tolist(), strict=True))
    return reference, Floor(count, scores, too_few(samples, real.features.shape[1]))


def _kept(path: Path, names: Sequence[str], make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays by name from the file at ``path``, which is made where it is missing, damaged or lacks one of them."""
    damaged = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)
    if path.exists():
        with contextlib.suppress(*damaged), np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    arrays = make()
    with whole_file(path) as partial:
        np.savez(partial, allow_pickle=False, **arrays)
    return arrays
