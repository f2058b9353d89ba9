"""The images that every trial of a sweep translates, and the real images that translations are compared with.

Each class of a target group is requested equally often, of images of other classes, and the translations are compared
with the real images of that class: a generator that changes nothing scores the distance between the classes. A
generator is deterministic, so no request is made twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from trainables.data.tensors import as_tensor
from trainables.errors import UserError
from trainables.scoring.metrics.fid_infinity import frechet_floor
from trainables.scoring.metrics.frechet import FeatureStatistics
from trainables.scoring.metrics.kid import KidReference, compute_kid
from trainables.scoring.metrics.suite import MAX_KID_REFERENCE, MIN_IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages

BATCH = 64
"""Images per batch."""
MIN_PER_CLASS: Final = MIN_IMAGES // 2
"""Fewest translations to a class from which its distance is computed."""


@dataclass(frozen=True, eq=False)
class TargetClass:
    """A class that images are translated to, with statistics of its real images.

    Attributes:
        name: the class; with its group's name where several groups are changed.
        place: position of the group.
        label: of the class.
        statistics: of all its real images.
        kid: features ``(m, d)`` of some of them, used for KID.
    """

    name: str
    place: int
    label: int
    statistics: FeatureStatistics
    kid: KidReference


@dataclass(frozen=True, eq=False)
class TranslationTask:
    """The translations that every trial is scored on.

    Attributes:
        images: the data.
        sources: ``(samples,)`` indices of fully tagged images.
        source_features: ``(samples, d)``, theirs.
        asked: ``(samples, groups)`` requested labels: the source's own, except for the target groups, which have the
            labels of a real image of the requested class.
        counted: ``(samples,)`` indices into ``domains``: the requested classes, in turn.
        domains: the classes with enough images.
        left_out: names of the other classes.
    """

    images: TaggedImages
    sources: NDArray[np.int64]
    source_features: NDArray[np.float32]
    asked: NDArray[np.int64]
    counted: NDArray[np.int64]
    domains: tuple[TargetClass, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, images: TaggedImages, features: NDArray[np.float32], samples: int, seed: int) -> TranslationTask:
        """Choose at most ``samples`` translations; ``features`` are ``(complete, d)`` of the fully tagged real images.

        Raises:
            UserError: no class has enough images, or there are too many classes for ``samples``.
        """
        labels, random = images.labels[: images.complete], np.random.default_rng(seed)
        names = class_names(images)
        kept, left_out = {}, []
        for (place, label), name in names.items():
            count = int((labels[:, place] == label).sum())
            if count >= MIN_IMAGES and len(labels) - count >= MIN_PER_CLASS:
                kept[place, label] = name
            else:
                left_out.append(name)
        if not kept:
            raise UserError(
                f"none of {', '.join(names.values())} has {MIN_IMAGES} images with every tag and {MIN_PER_CLASS} of "
                "other classes, which scores of translations need; use more images or other targets"
            )
        if samples < MIN_PER_CLASS * len(kept):
            raise UserError(
                f"{samples} samples are too few to score translations to {len(kept)} classes; give --samples "
                f"{MIN_PER_CLASS * len(kept)} or more, or fewer --attributes"
            )
        sources, asked = _draw_requests(labels, list(kept), images.target_places, samples, random)
        each = max(MIN_IMAGES, -(-len(sources) // len(kept)))
        domains = tuple(
            _make_target_class(name, place, label, features[labels[:, place] == label], each, random)
            for (place, label), name in kept.items()
        )
        counted = np.arange(len(sources)) % len(kept)
        return cls(images, sources, features[sources], asked, counted, domains, tuple(left_out))

    @property
    def targets(self) -> tuple[int, ...]:
        """Indices of the groups that translations change."""
        return self.images.target_places

    def count(self, samples: int | None) -> int:
        """Number of images to score for ``samples`` requested ones: at least ``MIN_PER_CLASS`` of every class."""
        if samples is None:
            return len(self.sources)
        return min(len(self.sources), max(samples, MIN_PER_CLASS * len(self.domains)))

    def floor(self, features: NDArray[np.float32], name: str, seed: int) -> dict[str, float]:
        """Floor of the distances to ``domains``: at most half of the real images of a class against the others."""
        labels = self.images.labels[: self.images.complete]
        distances, kernels = {}, []
        for domain in self.domains:
            real = features[labels[:, domain.place] == domain.label]
            count = min(len(self.sources) // len(self.domains), len(real) // 2)
            distances[f"{name}_to_{domain.name}"] = frechet_floor(real, count, seed)
            order = np.random.default_rng(seed).permutation(len(real))
            rest = real[order[count:][:MAX_KID_REFERENCE]]
            kernels.append(compute_kid(rest, real[order[:count]], seed=seed).value)
        return {**distances, name: float(np.mean(list(distances.values()))), "kid": float(np.mean(kernels))}

    def batches(self, count: int, device: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield of the first ``count``: images ``(n, 3, s, s)`` in [-1, 1], their own labels, the requested labels."""
        for places, asked in zip(_parts(self.sources[:count]), _parts(self.asked[:count]), strict=True):
            pixels = torch.from_numpy(np.asarray(self.images.pixels[places])).to(device)
            images = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
            yield images, as_tensor(self.images.labels[places]).to(device), as_tensor(asked).to(device)


def class_names(images: TaggedImages) -> dict[tuple[int, int], str]:
    """Names of the classes of the target groups, by index of the group and label."""
    groups, places = images.vocabulary.groups, images.target_places
    return {
        (place, label): text if len(places) == 1 else f"{text} {groups[place].name}"
        for place in places
        for label, text in enumerate(groups[place].classes)
    }


def _make_target_class(
    name: str, place: int, label: int, real: NDArray[np.float32], each: int, random: np.random.Generator
) -> TargetClass:
    """Compute the statistics of a class that ``each`` translations are compared with."""
    statistics = FeatureStatistics.of(real)
    if each > real.shape[1]:  # fewer translations do not need the root
        _ = statistics.root  # cached here, so that no trial computes it
    some = real[random.permutation(len(real))[: min(each, MAX_KID_REFERENCE)]]
    return TargetClass(name, place, label, statistics, KidReference(some))


def _draw_requests(
    labels: NDArray[np.int64],
    classes: list[tuple[int, int]],
    targets: tuple[int, ...],
    samples: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw sources and requested labels, the classes in turn, without repetition.

    Stops when every image that can be translated to one of the classes was used.
    """
    kinds, counts = np.unique(labels[:, list(targets)], axis=0, return_counts=True)
    column = {place: at for at, place in enumerate(targets)}
    waiting = [iter(random.permutation(np.flatnonzero(labels[:, place] != label)).tolist()) for place, label in classes]
    of_class = [np.where(kinds[:, column[place]] == label, counts, 0) for place, label in classes]
    asked_of: dict[int, set[int]] = {}
    sources: list[int] = []
    chosen: list[int] = []
    while len(sources) < samples:
        turn = len(sources) % len(classes)
        for source in waiting[turn]:
            weights = of_class[turn].copy()
            taken = asked_of.setdefault(source, set())
            weights[list(taken)] = 0
            if weights.any():
                break
        else:
            break
        kind = int(random.choice(len(kinds), p=weights / weights.sum()))
        taken.add(kind)
        sources.append(source)
        chosen.append(kind)
    chosen_sources = np.array(sources, dtype=np.int64)
    asked = labels[chosen_sources]
    asked[:, list(targets)] = kinds[chosen]
    return chosen_sources, asked


def _parts(array: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [array[begin : begin + BATCH] for begin in range(0, len(array), BATCH)]
