"""Scores of a generator that translates pictures: how near it comes to real ones of what was asked, what it keeps.

Every trial of a sweep translates the same real pictures to the same asked tags (``translation_task``). As with CycleGAN
and StarGAN, scores are of training pictures: nothing shows what a translation of one of them should look like.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from trainables.data.tags import Vocabulary
from trainables.errors import UsageError
from trainables.pictures import to_uint8
from trainables.scoring.comparison import nearness
from trainables.scoring.faces import FaceCount
from trainables.scoring.intervals import Estimate
from trainables.scoring.tag_report import report_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.scoring.features import Extractor
    from trainables.scoring.scorer import Scorer, Scores
    from trainables.scoring.tag_report import TagReport
    from trainables.scoring.tagger import Judge
    from trainables.scoring.translation_task import TranslationTask

    Translate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class _Measured:
    """Of each translated picture: its ``(n, d)`` features, what is seen on it and on its source, and distances."""

    features: NDArray[np.float32]
    moved: NDArray[np.float64]
    cycle: NDArray[np.float64]
    identity: NDArray[np.float64]
    seen: NDArray[np.int64] | None
    seen_before: NDArray[np.int64] | None


def score_translation(
    scorer: Scorer, translate: Translate, device: str = "cpu", *, samples: int | None = None
) -> Scores:
    """Translate, measure, judge.

    ``distance`` and ``kid`` are means over the target classes with enough pictures, of what was translated to each
    from the real pictures of it; the distances are also there as ``<name>_to_<class>``. Beside the scores of drawn
    pictures there are: ``tag_accuracy``, whether the judge sees every target as asked;
    ``preserved``, the share of the other groups on which it sees what it saw on the source;
    ``source_feature_distance``, the mean Euclidean distance of features to those of the source; ``cycle_l1`` and
    ``identity_l1``, the mean absolute difference from the source, in units of [-1, 1], of a translation back to the
    source's own labels, and of one asked for those in the first place.

    Args:
        scorer: reference, judge and pictures to translate.
        translate: pictures ``(n, 3, s, s)`` in [-1, 1] and labels ``(n, groups)`` -> pictures of the same shape.
        device: where ``translate`` runs.
        samples: only the first so many pictures, or as many as every class needs, without intervals; by default all.

    Raises:
        UsageError: the scorer was made for generators that draw.
    """
    task = scorer.task
    if task is None:
        raise UsageError("this scorer is of generators that draw from noise; make it with translates=True")
    count = task.count(samples)
    whole = count == len(task.sources)
    faces = FaceCount.of(scorer.cascade, whole=whole)
    found = _measure(task, translate, scorer.extractor.open(device), scorer.judge, faces, count, device)
    asked, targets = task.asked[:count], list(task.targets)
    report = _report(found, asked, targets, task.images.vocabulary)
    distances = _distances(task, found.features, scorer, whole=whole)
    scores = scorer.measure(found.features, asked, report, distances, faces.estimates())
    estimates = _estimates(found, [place for place in range(asked.shape[1]) if place not in targets])
    values = {**scores.values, **{name: estimate.value for name, estimate in estimates.items()}}
    intervals = {**scores.intervals, **({name: one.interval() for name, one in estimates.items()} if whole else {})}
    return dataclasses.replace(scores, values=values, intervals=intervals)


def _measure(
    task: TranslationTask,
    translate: Translate,
    extractor: Extractor,
    judge: Judge | None,
    faces: FaceCount,
    count: int,
    device: str,
) -> _Measured:
    features, moved, cycle, identity = [], [], [], []
    seen: list[Tensor] = []
    seen_before: list[Tensor] = []
    for pictures, own, asked in task.batches(count, device):
        translated = translate(pictures, asked)
        # Scored as they would be saved: quantised, and cut to the range of a picture.
        before, after = (to_uint8(one) for one in (pictures, translated))
        features.append(extractor(after))
        faces.add(after)
        moved.append((features[-1] - extractor(before)).double().norm(dim=1))
        cycle.append((translate(translated, own) - pictures).abs().double().mean(dim=(1, 2, 3)))
        identity.append((translate(pictures, own) - pictures).abs().double().mean(dim=(1, 2, 3)))
        if judge:
            seen.append(judge.predict(after.float().div(127.5).sub(1.0)))
            seen_before.append(judge.predict(pictures))
    return _Measured(
        torch.cat(features).cpu().numpy(),
        *(torch.cat(parts).cpu().numpy() for parts in (moved, cycle, identity)),
        *(torch.cat(parts).cpu().numpy() if parts else None for parts in (seen, seen_before)),
    )


def _report(found: _Measured, asked: NDArray[np.int64], targets: list[int], vocabulary: Vocabulary) -> TagReport | None:
    """On the groups that were to change."""
    if found.seen is None:
        return None
    groups = Vocabulary(tuple(vocabulary.groups[place] for place in targets))
    return report_tags(found.seen[:, targets], asked[:, targets], groups)


def _estimates(found: _Measured, others: list[int]) -> dict[str, Estimate]:
    estimates = {
        "source_feature_distance": _mean(found.moved),
        "cycle_l1": _mean(found.cycle),
        "identity_l1": _mean(found.identity),
    }
    if others and found.seen is not None and found.seen_before is not None:
        agreed = (found.seen == found.seen_before)[:, others].mean(axis=1)
        estimates["preserved"] = dataclasses.replace(_mean(agreed), share=True)
    return estimates


def _mean(values: NDArray[np.float64]) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), len(values), lowest=0.0)


def _distances(
    task: TranslationTask, features: NDArray[np.float32], scorer: Scorer, *, whole: bool
) -> dict[str, Estimate]:
    """From what was translated to each class to its real pictures; without errors where those take time."""
    name, found, kernels = scorer.fingerprint.score, {}, []
    for at, domain in enumerate(task.domains):
        translated = features[task.counted[: len(features)] == at]
        frechet, kernel = nearness(domain.statistics, domain.kernel, translated, scorer.seed, errors=whole)
        found[f"{name}_to_{domain.name}"] = frechet
        kernels.append(kernel)
    mean = _mean_of(list(found.values()), lowest=0.0)
    return {**found, name: mean, "distance": mean, "kid": _mean_of(kernels)}


def _mean_of(estimates: Sequence[Estimate], lowest: float = -math.inf) -> Estimate:
    """Of scores of different pictures."""
    number = len(estimates)
    error = math.sqrt(sum(one.standard_error**2 for one in estimates)) / number
    value = sum(one.value for one in estimates) / number
    return Estimate(value, error, sum(one.count for one in estimates), lowest=lowest)
