"""Scores of a generator that translates pictures: how near it comes to real ones of what was asked, what it keeps.

Every trial of a sweep translates the same real pictures to the same asked tags. Where one tag group of two classes is
the target, as many pictures go from the first class to the second as back, and each direction is measured against the
real pictures of its class; else pictures go to target classes in the data's own proportions, other than their own where
there are others, and all are measured against all real ones. As with CycleGAN and StarGAN, scores are of training
pictures: nothing shows what a translation of one of them should look like.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.data.tags import Vocabulary
from trainables.pictures import as_tensor, to_uint8
from trainables.scoring.comparison import LEAST
from trainables.scoring.extrapolation import frechet_floor
from trainables.scoring.frechet import FeatureStatistics, frechet_distance_of_features
from trainables.scoring.frechet_interval import frechet_estimate
from trainables.scoring.intervals import Estimate
from trainables.scoring.tag_report import report_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages
    from trainables.scoring.features import Extractor
    from trainables.scoring.scorer import Scorer, Scores
    from trainables.scoring.tag_report import TagReport
    from trainables.scoring.tagger import Judge

    Translate = Callable[[Tensor, Tensor], Tensor]

BATCH = 64
"""Pictures translated at once."""


@dataclass(frozen=True, eq=False)
class TranslationTask:
    """What every trial translates.

    Attributes:
        images: the data.
        sources: ``(samples,)`` places of complete pictures. Where more are scored than there are, pictures repeat, and
            intervals of what is the same twice are too narrow.
        asked: ``(samples, groups)`` labels: the sources' own but for the target groups.
        domains: statistics of the real pictures of either class, where one group of two classes is the target and
            has enough pictures of both; else none.
    """

    images: TaggedImages
    sources: NDArray[np.int64]
    asked: NDArray[np.int64]
    domains: tuple[FeatureStatistics, ...] = ()

    @classmethod
    def of(cls, images: TaggedImages, features: NDArray[np.float32], samples: int, seed: int) -> TranslationTask:
        """For ``samples`` pictures, given the ``features`` ``(complete, d)`` of the complete real ones."""
        labels, places = images.labels[: images.complete], images.target_places
        random = np.random.default_rng(seed)
        own = [np.flatnonzero(labels[:, places[0]] == label) for label in range(2)]
        if len(places) == 1 and images.vocabulary.sizes[places[0]] == 2 and min(map(len, own)) >= LEAST:
            # In turn, so that any first part of them has as many of either class.
            pairs = zip(*(_repeated(one, -(-samples // 2), random) for one in own), strict=True)
            sources = np.array([place for pair in pairs for place in pair])[:samples]
            domains = tuple(FeatureStatistics.of(features[one]) for one in own)
            for domain in domains:
                _ = domain.root  # computed here rather than in every trial
        else:
            sources, domains = _repeated(np.arange(len(labels)), samples, random), ()
        return cls(images, sources, _asked(labels, sources, places, random), domains)

    @property
    def targets(self) -> tuple[int, ...]:
        """Positions of the groups that are changed."""
        return self.images.target_places

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of ``domains``."""
        return self.images.vocabulary.groups[self.targets[0]].classes if self.domains else ()

    def floor(self, features: NDArray[np.float32], name: str, seed: int) -> dict[str, float]:
        """Of the distances of ``domains``: real pictures of a class against the others of it, at most half of them."""
        labels = self.images.labels[: self.images.complete, self.targets[0]]
        found = {}
        for label, text in enumerate(self.classes):
            real = features[labels == label]
            count = min(len(self.sources) // 2, len(real) // 2)
            found[f"{name}_to_{text}"] = frechet_floor(real, count, seed).mean
        return {**found, name: sum(found.values()) / 2} if found else {}

    def batches(self, count: int, device: str) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of the first ``count``: pictures ``(n, 3, s, s)`` in [-1, 1], their own labels, the asked ones."""
        found = []
        for places, asked in zip(_parts(self.sources[:count]), _parts(self.asked[:count]), strict=True):
            pixels = torch.from_numpy(np.asarray(self.images.pixels[places])).to(device)
            pictures = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
            found.append((pictures, as_tensor(self.images.labels[places]).to(device), as_tensor(asked).to(device)))
        return found


def _parts(array: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [array[begin : begin + BATCH] for begin in range(0, len(array), BATCH)]


def _repeated(places: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """``count`` of the places in random order, each as often as the others but for the last round."""
    rounds = [random.permutation(places) for _ in range(-(-count // len(places)))]
    return np.concatenate(rounds)[:count]


def _asked(
    labels: NDArray[np.int64], sources: NDArray[np.int64], targets: Sequence[int], random: np.random.Generator
) -> NDArray[np.int64]:
    """The sources' labels with target groups as of another picture of the data that differs in them, if there is one.

    Of a single group of two classes that is the other class.
    """
    asked = labels[sources]
    kinds, inverse, counts = np.unique(labels[:, list(targets)], axis=0, return_inverse=True, return_counts=True)
    own = inverse.reshape(-1)[sources]
    for kind in np.unique(own) if len(kinds) > 1 else ():
        rows = np.flatnonzero(own == kind)
        weights = np.where(np.arange(len(kinds)) == kind, 0, counts)
        drawn = random.choice(len(kinds), size=len(rows), p=weights / weights.sum())
        for column, place in enumerate(targets):
            asked[rows, place] = kinds[drawn, column]
    return asked


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

    Beside the scores of drawn pictures there are: ``distance``, of one target group with two classes the mean of the
    two directions', which are ``<name>_to_<class>``; ``tag_accuracy``, whether the judge sees every target as asked;
    ``preserved``, the share of the other groups on which it sees what it saw on the source;
    ``source_feature_distance``, the mean Euclidean distance of features to those of the source; ``cycle_l1`` and
    ``identity_l1``, the mean absolute difference from the source, in units of [-1, 1], of a translation back to the
    source's own labels, and of one asked for those in the first place.

    Args:
        scorer: reference, judge and pictures to translate.
        translate: pictures ``(n, 3, s, s)`` in [-1, 1] and labels ``(n, groups)`` -> pictures of the same shape.
        device: where ``translate`` runs.
        samples: only the first so many pictures, without intervals; by default all of them.
    """
    task = scorer.task
    count = len(task.sources) if samples is None else min(samples, len(task.sources))
    found = _measure(task, translate, scorer.extractor.open(device), scorer.judge, count, device)
    asked, targets = task.asked[:count], list(task.targets)
    report = _report(found, asked, targets, task.images.vocabulary)
    scores = scorer.measure(found.features, asked, report)
    whole = bool(scores.intervals)
    estimates = _estimates(found, [place for place in range(asked.shape[1]) if place not in targets])
    values = {**scores.values, **{name: estimate.value for name, estimate in estimates.items()}}
    intervals = {**scores.intervals, **({name: one.interval() for name, one in estimates.items()} if whole else {})}
    if task.domains:
        name = scorer.fingerprint.score
        directions = _directions(task, found.features, asked[:, targets[0]], name, whole=whole)
        both = directions.values()
        error = math.sqrt(sum(one.standard_error**2 for one in both)) / 2
        mean = Estimate(sum(one.value for one in both) / 2, error, count, lowest=0.0)
        directions |= {name: mean, "distance": mean}
        values |= {direction: one.value for direction, one in directions.items()}
        intervals |= {direction: one.interval() for direction, one in directions.items()} if whole else {}
    return dataclasses.replace(scores, values=values, intervals=intervals)


def _measure(
    task: TranslationTask, translate: Translate, extractor: Extractor, judge: Judge | None, count: int, device: str
) -> _Measured:
    features, moved, cycle, identity = [], [], [], []
    seen: list[Tensor] = []
    seen_before: list[Tensor] = []
    for pictures, own, asked in task.batches(count, device):
        translated = translate(pictures, asked)
        # Scored as they would be saved: quantised, and cut to the range of a picture.
        before, after = (to_uint8(one) for one in (pictures, translated))
        features.append(extractor(after))
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


def _directions(
    task: TranslationTask, features: NDArray[np.float32], asked: NDArray[np.int64], name: str, *, whole: bool
) -> dict[str, Estimate]:
    """Distance of what was translated to each class from its real pictures; without errors where that takes time."""
    found = {}
    for label, (text, real) in enumerate(zip(task.classes, task.domains, strict=True)):
        translated = features[asked == label]
        if whole:
            found[f"{name}_to_{text}"] = frechet_estimate(real, translated)
        else:
            value = frechet_distance_of_features(real, translated)
            found[f"{name}_to_{text}"] = Estimate(value, math.nan, len(translated), lowest=0.0)
    return found
