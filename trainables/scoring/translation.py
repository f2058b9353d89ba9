"""Scores of generators that translate images: distance to real images of the target class, and what is preserved.

Every trial of a sweep translates the same real images to the same requested tags (``translation_task``). As with
CycleGAN and StarGAN, the sources are training images: no ground truth exists for their translations.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.data.tags import Vocabulary
from trainables.data.tensors import to_uint8
from trainables.errors import UsageError
from trainables.scoring.metrics.estimate import Estimate
from trainables.scoring.metrics.face_rate import FaceCounter
from trainables.scoring.metrics.pixels import PixelCounter
from trainables.scoring.metrics.suite import frechet_and_kid
from trainables.scoring.tag_classifier.tag_accuracy import report_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.scoring.extractors.registry import Extractor
    from trainables.scoring.results import Scores
    from trainables.scoring.scorer import Scorer
    from trainables.scoring.tag_classifier.classifier import TagClassifier
    from trainables.scoring.tag_classifier.tag_accuracy import TagReport
    from trainables.scoring.translation_task import TranslationTask

    Translate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class _TranslationMeasurements:
    """Features ``(n, d)`` of translated images, predicted tags of them and of their sources, and distances."""

    features: NDArray[np.float32]
    moved: NDArray[np.float64]
    cycle: NDArray[np.float64]
    identity: NDArray[np.float64]
    seen: NDArray[np.int64] | None
    seen_before: NDArray[np.int64] | None


def score_translation(
    scorer: Scorer, translate: Translate, device: str = "cpu", *, samples: int | None = None
) -> Scores:
    """Translate images and score the translations.

    ``distance`` and ``kid`` are means over the target classes with enough images, of the translations to a class from
    the real images of it; the distances of the classes are ``<name>_to_<class>``. Further scores beside those of drawn
    images: ``tag_accuracy``, the share of images with every target group predicted as requested; ``preserved``, the
    share of the other groups predicted as on the source; ``source_feature_distance``, the mean Euclidean distance of
    features to those of the source; ``cycle_l1`` and ``identity_l1``, the mean absolute difference from the source, in
    units of [-1, 1], after translation back to the source's own labels, and after translation to these labels at once.

    Args:
        scorer: reference, tag classifier and images to translate.
        translate: images ``(n, 3, s, s)`` in [-1, 1] and labels ``(n, groups)`` -> images of the same shape.
        device: where ``translate`` runs.
        samples: score only this many images (more if the classes need it), without intervals; by default all.

    Raises:
        UsageError: the scorer was made without ``translates=True``.
    """
    task = scorer.task
    if task is None:
        raise UsageError("this scorer is for generators that draw from noise; make it with translates=True")
    count = task.count(samples)
    complete = count == len(task.sources)
    counters = (FaceCounter.of(scorer.cascade, all_images=complete), PixelCounter(scorer.pixels))
    measured = _measure(task, translate, scorer.extractor.open(device), scorer.tag_classifier, counters, count, device)
    asked, targets = task.asked[:count], list(task.targets)
    report = _report(measured, asked, targets, task.images.vocabulary)
    distances = _distances(task, measured.features, scorer, complete=complete)
    more = {name: one for counter in counters for name, one in counter.estimates().items()}
    scores = scorer.measure(measured.features, asked, report, distances, more)
    estimates = _estimates(measured, [place for place in range(asked.shape[1]) if place not in targets])
    values = {**scores.values, **{name: estimate.value for name, estimate in estimates.items()}}
    intervals = {**scores.intervals, **({name: one.interval() for name, one in estimates.items()} if complete else {})}
    return dataclasses.replace(scores, values=values, intervals=intervals)


def _measure(
    task: TranslationTask,
    translate: Translate,
    extractor: Extractor,
    tag_classifier: TagClassifier | None,
    counters: Sequence[FaceCounter | PixelCounter],
    count: int,
    device: str,
) -> _TranslationMeasurements:
    features, cycle, identity = [], [], []
    seen: list[Tensor] = []
    seen_before: list[Tensor] = []
    for images, own, asked in task.batches(count, device):
        translated = translate(images, asked)
        # Score images as they would be saved: quantised and clipped.
        after = to_uint8(translated)
        features.append(extractor(after))
        for counter in counters:
            counter.add(after)
        cycle.append((translate(translated, own) - images).abs().double().mean(dim=(1, 2, 3)))
        identity.append((translate(images, own) - images).abs().double().mean(dim=(1, 2, 3)))
        if tag_classifier:
            seen.append(tag_classifier.predict(after.float().div(127.5).sub(1.0)))
            seen_before.append(tag_classifier.predict(images))
    reached = torch.cat(features).cpu().numpy()
    return _TranslationMeasurements(
        reached,
        np.linalg.norm(reached.astype(np.float64) - task.source_features[:count], axis=1),
        *(torch.cat(parts).cpu().numpy() for parts in (cycle, identity)),
        *(torch.cat(parts).cpu().numpy() if parts else None for parts in (seen, seen_before)),
    )


def _report(
    measured: _TranslationMeasurements, asked: NDArray[np.int64], targets: list[int], vocabulary: Vocabulary
) -> TagReport | None:
    """Tag report on the target groups."""
    if measured.seen is None:
        return None
    groups = Vocabulary(tuple(vocabulary.groups[place] for place in targets))
    return report_tags(measured.seen[:, targets], asked[:, targets], groups)


def _estimates(measured: _TranslationMeasurements, others: list[int]) -> dict[str, Estimate]:
    estimates = {
        "source_feature_distance": _mean(measured.moved),
        "cycle_l1": _mean(measured.cycle),
        "identity_l1": _mean(measured.identity),
    }
    if others and measured.seen is not None and measured.seen_before is not None:
        agreed = (measured.seen == measured.seen_before)[:, others].mean(axis=1)
        estimates["preserved"] = dataclasses.replace(_mean(agreed), share=True)
    return estimates


def _mean(values: NDArray[np.float64]) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), len(values), lowest=0.0)


def _distances(
    task: TranslationTask, features: NDArray[np.float32], scorer: Scorer, *, complete: bool
) -> dict[str, Estimate]:
    """Distances of the translations to each class from its real images, and their means."""
    name, distances, kids = scorer.fingerprint.score, {}, []
    for at, domain in enumerate(task.domains):
        translated = features[task.counted[: len(features)] == at]
        frechet, kid = frechet_and_kid(domain.statistics, domain.kid, translated, scorer.seed, errors=complete)
        distances[f"{name}_to_{domain.name}"] = frechet
        kids.append(kid)
    mean = _average_estimates(list(distances.values()), lowest=0.0)
    return {**distances, name: mean, "distance": mean, "kid": _average_estimates(kids)}


def _average_estimates(estimates: Sequence[Estimate], lowest: float = -math.inf) -> Estimate:
    """Mean of scores of disjoint images."""
    number = len(estimates)
    error = math.sqrt(sum(one.standard_error**2 for one in estimates)) / number
    value = sum(one.value for one in estimates) / number
    return Estimate(value, error, sum(one.count for one in estimates), lowest=lowest)
