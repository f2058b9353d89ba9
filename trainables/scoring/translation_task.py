"""What every trial of a sweep translates, and the real pictures that translations are measured against.

Each class of a target group is asked for equally often, of pictures that are not of it, and what comes is measured
against the real pictures of that class: a generator that does nothing is as far as the classes are from each other. A
generator gives the same translation each time, so nothing is asked twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from trainables.errors import UserError
from trainables.pictures import as_tensor
from trainables.scoring.comparison import KERNEL_REFERENCE, LEAST
from trainables.scoring.extrapolation import frechet_floor
from trainables.scoring.frechet import FeatureStatistics
from trainables.scoring.kernel import kernel_distance

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages

BATCH = 64
"""Pictures translated at once."""
EACH: Final = LEAST // 2
"""Fewest translations to a class that its distance is measured on."""


@dataclass(frozen=True, eq=False)
class Target:
    """A class that pictures are translated to, and what its real pictures look like.

    Attributes:
        name: the class; with its group's name where several groups are changed.
        place: position of the group.
        label: of the class.
        statistics: of all its real pictures.
        kernel: features ``(m, d)`` of some of them, which the kernel distance is to.
    """

    name: str
    place: int
    label: int
    statistics: FeatureStatistics
    kernel: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TranslationTask:
    """What every trial translates.

    Attributes:
        images: the data.
        sources: ``(samples,)`` places of complete pictures.
        asked: ``(samples, groups)`` labels: the sources' own but for the target groups, which are as of a real picture
            of the class that is asked for.
        counted: ``(samples,)`` places in ``domains``: the class that each is asked for, in turn.
        domains: the classes with enough pictures.
        left_out: names of the others.
    """

    images: TaggedImages
    sources: NDArray[np.int64]
    asked: NDArray[np.int64]
    counted: NDArray[np.int64]
    domains: tuple[Target, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, images: TaggedImages, features: NDArray[np.float32], samples: int, seed: int) -> TranslationTask:
        """For at most ``samples`` pictures, given the ``features`` ``(complete, d)`` of the complete real ones.

        Raises:
            UserError: no class has enough pictures, or there are too many classes for ``samples``.
        """
        labels, random = images.labels[: images.complete], np.random.default_rng(seed)
        names = class_names(images)
        kept, left_out = {}, []
        for (place, label), name in names.items():
            count = int((labels[:, place] == label).sum())
            if count >= LEAST and len(labels) - count >= EACH:
                kept[place, label] = name
            else:
                left_out.append(name)
        if not kept:
            raise UserError(
                f"none of {', '.join(names.values())} has the {LEAST} pictures with every tag, beside {EACH} of other "
                "classes, that translations are scored by; take more pictures or other targets"
            )
        if samples < EACH * len(kept):
            raise UserError(
                f"{samples} samples are too few to score translations to {len(kept)} classes; give --samples "
                f"{EACH * len(kept)} or more, or fewer --attributes"
            )
        sources, asked = _questions(labels, list(kept), images.target_places, samples, random)
        each = max(LEAST, -(-len(sources) // len(kept)))
        domains = tuple(
            _target(name, place, label, features[labels[:, place] == label], each, random)
            for (place, label), name in kept.items()
        )
        return cls(images, sources, asked, np.arange(len(sources)) % len(kept), domains, tuple(left_out))

    @property
    def targets(self) -> tuple[int, ...]:
        """Positions of the groups that are changed."""
        return self.images.target_places

    def count(self, samples: int | None) -> int:
        """How many are scored where ``samples`` are wanted: ``EACH`` of every class at least, all at most."""
        if samples is None:
            return len(self.sources)
        return min(len(self.sources), max(samples, EACH * len(self.domains)))

    def floor(self, features: NDArray[np.float32], name: str, seed: int) -> dict[str, float]:
        """Of the distances to ``domains``: real pictures of a class against its others, at most half of them."""
        labels = self.images.labels[: self.images.complete]
        distances, kernels = {}, []
        for domain in self.domains:
            real = features[labels[:, domain.place] == domain.label]
            count = min(len(self.sources) // len(self.domains), len(real) // 2)
            distances[f"{name}_to_{domain.name}"] = frechet_floor(real, count, seed).mean
            order = np.random.default_rng(seed).permutation(len(real))
            rest = real[order[count:][:KERNEL_REFERENCE]]
            kernels.append(kernel_distance(rest, real[order[:count]], seed=seed).estimate.value)
        return {**distances, name: float(np.mean(list(distances.values()))), "kid": float(np.mean(kernels))}

    def batches(self, count: int, device: str) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of the first ``count``: pictures ``(n, 3, s, s)`` in [-1, 1], their own labels, the asked ones."""
        for places, asked in zip(_parts(self.sources[:count]), _parts(self.asked[:count]), strict=True):
            pixels = torch.from_numpy(np.asarray(self.images.pixels[places])).to(device)
            pictures = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
            yield pictures, as_tensor(self.images.labels[places]).to(device), as_tensor(asked).to(device)


def class_names(images: TaggedImages) -> dict[tuple[int, int], str]:
    """Names of the classes of the target groups, by position of the group and label."""
    groups, places = images.vocabulary.groups, images.target_places
    return {
        (place, label): text if len(places) == 1 else f"{text} {groups[place].name}"
        for place in places
        for label, text in enumerate(groups[place].classes)
    }


def _target(
    name: str, place: int, label: int, real: NDArray[np.float32], each: int, random: np.random.Generator
) -> Target:
    """For ``each`` translations."""
    statistics = FeatureStatistics.of(real)
    if each > real.shape[1]:  # fewer are measured without it
        _ = statistics.root  # computed here rather than in every trial
    return Target(name, place, label, statistics, real[random.permutation(len(real))[: min(each, KERNEL_REFERENCE)]])


def _questions(
    labels: NDArray[np.int64],
    classes: list[tuple[int, int]],
    targets: tuple[int, ...],
    samples: int,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of sources and the labels asked of them, the classes in turn, no question twice.

    They end where the pictures to translate to one of the classes have all been asked.
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
    found = np.array(sources, dtype=np.int64)
    asked = labels[found]
    asked[:, list(targets)] = kinds[chosen]
    return found, asked


def _parts(array: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [array[begin : begin + BATCH] for begin in range(0, len(array), BATCH)]
