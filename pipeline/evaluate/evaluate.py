"""Compare two folders of images (``gansweep score``), without a sweep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.console import Stages
from pipeline.evaluate.tags import AskedTags, classify_tags, open_tag_classifier, read_asked, read_real
from pipeline.home import Home
from trainables.data.defects import Defect, defects_by_kind
from trainables.data.images import SMALLEST_SIDE
from trainables.errors import UsageError, UserError
from trainables.scoring.folder_features import list_images, measure_images
from trainables.scoring.metrics.face_rate import open_cascade
from trainables.scoring.metrics.pixels import PixelReference, pixel_estimates
from trainables.scoring.metrics.suite import MIN_IMAGES, ImageSet, compare, finite_intervals
from trainables.scoring.tag_classifier.report import wilson
from trainables.visuals.confusion_sheet import draw_confusions
from trainables.visuals.image_grid import save_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.scoring.extractors.registry import Extractor, ExtractorChoice
    from trainables.scoring.folder_features import FolderFeatures
    from trainables.scoring.metrics.face_rate import FaceDetector
    from trainables.scoring.metrics.suite import FeatureScores
    from trainables.scoring.tag_classifier.classifier import TagClassifier
    from trainables.scoring.tag_classifier.tag_accuracy import TagReport

LARGEST_SIDE = 4096
"""Largest ``--image-size``."""


@dataclass(frozen=True)
class ScoreRequest:
    """Two folders of images, and how to compare them."""

    real: Path
    fake: Path
    extractor: ExtractorChoice
    image_size: int | None = None
    """Side in pixels to which all images are resized; ``None``: each keeps its own size."""
    tags: bool = False
    """Also score tags."""
    confusions: Path | None = None
    """File for the confusion matrices."""
    cascade: Path | None = None
    """OpenCV cascade of the face rate."""
    infinity: bool = False
    """Also extrapolate the distance to infinitely many images."""
    samples: int | None = None
    """Number of generated images to score; ``None``: all."""
    seed: int = 0
    home: Path | None = None
    """Folder of the cache; ``None``: the default home if it exists."""


@dataclass(frozen=True)
class _Tools:
    """What both folders are measured with: feature network, face detector, device and cache."""

    extractor: Extractor
    detector: FaceDetector | None
    device: str
    cache: Path | None


@dataclass(frozen=True)
class _TagScores:
    tag_classifier: TagClassifier
    report: TagReport
    known: AskedTags
    asked: AskedTags


def score_folders(request: ScoreRequest, stages: Stages | None = None) -> dict[str, Any]:
    """Compare ``request.fake`` with ``request.real``.

    Returns:
        The contract of ``score --json``: ``scores`` and ``intervals`` by name, ``fingerprint``; further ``floor`` (the
        same scores of real against real images), ``counts``, ``sizes``, ``tags`` (by class), ``judge`` (the tag
        classifier), ``defects`` of each folder by kind, ``warnings``. An unknown score is ``None``.

    Raises:
        UsageError: options out of range, or one without another that it needs.
        UserError: folders, weights, cascades or tags that cannot be used.
    """
    _check(request)
    stages = stages or Stages()
    tools = _open_tools(request)
    real, fake = _measure_both(request, tools, stages)
    tagged = _classify_tags(request, tools, real, fake, stages) if request.tags else None
    with stages("scores"):
        compared = compare(
            _as_set(real, tagged.known.labels if tagged else None),
            _as_set(fake, tagged.asked.labels if tagged else None),
            distance=tools.extractor.score,
            infinity=request.infinity,
            seed=request.seed,
        )
    return _assemble(request, tools, real, fake, compared, tagged)


def _as_set(measured: FolderFeatures, labels: NDArray[np.int64] | None) -> ImageSet:
    contents = np.unique(np.array(measured.hashes), return_inverse=True)[1].astype(np.int64)
    if not contents.any():
        raise UserError(f"all {len(measured)} images of {measured.files[0].parent} are the same; nothing to score")
    return ImageSet(measured.features, contents, labels)


def _check(request: ScoreRequest) -> None:
    if request.confusions is not None and not request.tags:
        raise UsageError(f"--confusions {request.confusions} draws the confusion matrices of --tags; give --tags, too")
    if request.confusions is not None and request.confusions.suffix.lower() != ".png":
        raise UsageError(f"--confusions is {request.confusions}; allowed: a name that ends in .png")
    if request.samples is not None and request.samples < MIN_IMAGES:
        raise UsageError(f"--samples is {request.samples}; allowed: {MIN_IMAGES} or more")
    if request.image_size is not None and not SMALLEST_SIDE <= request.image_size <= LARGEST_SIDE:
        raise UsageError(f"--image-size is {request.image_size}; allowed: {SMALLEST_SIDE} to {LARGEST_SIDE} pixels")
    if not 0 <= request.seed < 2**31:
        raise UsageError(f"--seed is {request.seed}; allowed: 0 to {2**31 - 1}")


def _open_tools(request: ScoreRequest) -> _Tools:
    """Open feature network and cascade first, so that their errors come before any image is read."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    home = Home.find(request.home)
    return _Tools(
        request.extractor.open(device),
        open_cascade(request.cascade) if request.cascade else None,
        device,
        home.cache if request.home is not None or home.root.is_dir() else None,
    )


def _measure_both(request: ScoreRequest, tools: _Tools, stages: Stages) -> tuple[FolderFeatures, FolderFeatures]:
    with stages(f"contents of {request.real}") as progress:
        real = list_images(request.real, progress)
    with stages(f"contents of {request.fake}") as progress:
        fake = list_images(request.fake, progress)
    if request.samples is not None:
        if request.samples > len(fake.files):
            raise UsageError(f"--samples is {request.samples}; {request.fake} has {len(fake.files)} images")
        fake = fake.sample(request.samples, request.seed)
    for images in (real, fake):  # before the features, which take long
        _require_enough(images.path, len(images.files), "images", len(images.defects))
    results = []
    for images, cache in ((real, tools.cache), (fake, None)):
        with stages(f"features of {len(images.files)} images of {images.path}") as progress:
            measured = measure_images(
                images, tools.extractor, image_size=request.image_size, detector=tools.detector, cache=cache,
                progress=progress,
            )  # fmt: skip
        _require_enough(images.path, len(measured), "readable images", len(measured.defects))
        results.append(measured)
    return results[0], results[1]


def _require_enough(folder: Path, count: int, kind: str, left_out: int) -> None:
    if count < MIN_IMAGES:
        bad = f" ({left_out} files are left out)" if left_out else ""
        raise UserError(f"{folder} has {count} {kind}{bad}; at least {MIN_IMAGES} are needed")


def _classify_tags(
    request: ScoreRequest, tools: _Tools, real: FolderFeatures, fake: FolderFeatures, stages: Stages
) -> _TagScores:
    with stages(f"tags of {request.real}"):
        images = read_real(request.real, request.image_size or min(next(iter(fake.sizes))), tools.cache)
        known = read_asked(request.real, real.files, images.vocabulary)
        asked = read_asked(request.fake, fake.files, images.vocabulary)
    with stages("tag classifier, from real images only") as progress:
        tag_classifier = open_tag_classifier(
            images, tools.cache, tools.device, lambda share, text: progress(share, 1.0)
        )
    with stages(f"tags of {len(fake)} images"):
        report = classify_tags(tag_classifier, request.fake, fake.files, asked.labels, images.size)
    if request.confusions is not None:
        try:
            save_image(draw_confusions(report.confusions()), request.confusions)
        except OSError as error:
            raise UserError(f"cannot write {request.confusions}: {error.strerror or error}") from error
    return _TagScores(tag_classifier, report, known, asked)


def _assemble(
    request: ScoreRequest,
    tools: _Tools,
    real: FolderFeatures,
    fake: FolderFeatures,
    compared: FeatureScores,
    tagged: _TagScores | None,
) -> dict[str, Any]:
    scores, intervals, floor = dict(compared.scores), dict(compared.intervals), dict(compared.floor)
    reference = PixelReference(*real.pixels.mean(axis=0).tolist())
    estimates = pixel_estimates(fake.pixels[:, 0], fake.pixels[:, 1], reference)
    scores |= {name: one.value if math.isfinite(one.value) else None for name, one in estimates.items()}
    intervals |= finite_intervals(estimates)
    floor |= reference.floor
    if fake.faces is not None and real.faces is not None:
        scores["face_rate"], floor["face_rate"] = float(fake.faces.mean()), float(real.faces.mean())
        intervals["face_rate"] = wilson(int(fake.faces.sum()), len(fake))
    if tagged:
        scores |= tagged.report.scores()
        intervals |= tagged.report.intervals()
    extractor = tools.extractor
    return {
        "scores": scores,
        "intervals": {name: list(interval) for name, interval in intervals.items()},
        "fingerprint": {
            "extractor": extractor.name,
            "score": extractor.score,
            "weights": extractor.weights,
            "resize": extractor.resize,
            "precision": extractor.precision,
            "samples": len(fake),
            "reference": len(real),
            "data": real.fingerprint,
            "fake": fake.fingerprint,
            "judge": tagged.tag_classifier.fingerprint if tagged else "none",
            "cascade": tools.detector.fingerprint if tools.detector else "none",
            "image_size": request.image_size,
            "seed": request.seed,
        },
        "floor": floor,
        "counts": {"real": len(real), "fake": len(fake), "floor": compared.floor_samples},
        "sizes": {name: _named(one.sizes) for name, one in (("real", real), ("fake", fake))},
        "tags": tagged.report.to_json(tagged.tag_classifier.report) if tagged else None,
        "judge": tagged.tag_classifier.report.to_json() if tagged else None,
        "defects": {
            "real": _counted((*real.defects, *(tagged.known.defects if tagged else ()))),
            "fake": _counted((*fake.defects, *(tagged.asked.defects if tagged else ()))),
        },
        "warnings": [*_warnings(request, tools, real, fake, tagged), *compared.warnings],
    }


def _warnings(
    request: ScoreRequest, tools: _Tools, real: FolderFeatures, fake: FolderFeatures, tagged: _TagScores | None
) -> list[str]:
    warnings = []
    if request.real.resolve() == request.fake.resolve():
        warnings.append("both folders are the same: the scores compare it with itself")
    elif real.fingerprint == fake.fingerprint:
        warnings.append("both folders hold the same images")
    if request.samples is not None and len(fake) < request.samples:
        warnings.append(f"{request.samples - len(fake)} of the {request.samples} drawn samples could not be read")
    first, second = (next(iter(_named(one.sizes))) for one in (real, fake))
    if first != second and request.image_size is None:
        smaller = min(min(next(iter(one.sizes))) for one in (real, fake))
        warnings.append(
            f"real images are mostly {first} pixels and generated ones {second}; each went to the extractor at its own "
            "size, so the scores measure this difference, too; to exclude it, resize both with --image-size "
            f"{max(smaller, SMALLEST_SIDE)}"
        )
    if tagged and tools.cache is None:
        warnings.append("the tag classifier was not cached; give --home DIR to reuse it in the next run")
    return warnings


def _named(sizes: dict[tuple[int, int], int]) -> dict[str, int]:
    return {f"{width}x{height}": count for (width, height), count in sizes.items()}


def _counted(defects: tuple[Defect, ...]) -> dict[str, dict[str, Any]]:
    kinds = defects_by_kind({(one.kind, one.name): one for one in reversed(defects)}.values())
    return {kind: {"count": len(names), "names": names} for kind, names in kinds.items()}
