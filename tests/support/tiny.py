"""Small data and networks for tests: synthetic faces, images whose colours encode labels, and their classifier."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional as F

from trainables.config import TRANSLATING, GanConfig
from trainables.data.dataset import TaggedImages
from trainables.data.synthetic import draw_faces
from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN, TagGroup, Vocabulary
from trainables.scoring.extractors import registry
from trainables.scoring.extractors.registry import Extractor, ExtractorChoice
from trainables.scoring.scorer import make_scorer
from trainables.training.loop import TrainingData
from trainables.trial.context import Evaluation, TrialContext

if TYPE_CHECKING:
    from collections.abc import Iterator

# On busy cores, threads waiting for each other make tiny networks and matrices ten times slower.
torch.set_num_threads(1)
threadpool_limits(1)

PAIR = Vocabulary((TagGroup("hair", ("red", "green", "blue")), TagGroup("eyes", ("dark", "light"))))
TINY = {
    "image_size": 16,
    "generator.width": 2,
    "generator.noise_dim": 4,
    "generator.embedding_dim": 2,
    "discriminator.width": 2,
    "training.batch_size": 8,
}
STEP = 20
"""Difference in grey level between the images of two classes."""


def tiny_config(**changes: Any) -> GanConfig:
    """Return the smallest networks at 16 px; ``training__flip=True`` sets ``training.flip``."""
    return GanConfig.from_params({**TINY, **{name.replace("__", "."): value for name, value in changes.items()}})


def tiny_translator(system: str = "cyclegan", **changes: Any) -> GanConfig:
    """Return the smallest translating networks at 16 px, with arguments as in ``tiny_config``."""
    small = {name: value for name, value in TINY.items() if name in ("image_size", "training.batch_size")}
    parts = {"system": system, **TRANSLATING[system], "losses.labels": "hard"}
    widths = {"generator.width": 2, "generator.blocks": 1, "discriminator.width": 2}
    changed = {name.replace("__", "."): value for name, value in changes.items()}
    return GanConfig.from_params({**small, **parts, **widths, **changed})


def random_labels(count: int, sizes: tuple[int, ...] = PAIR.sizes, seed: int = 0) -> np.ndarray:
    """Return random labels ``(count, groups)`` without unknown tags."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in sizes], axis=1)


def paint(labels: Tensor, size: int = 16) -> Tensor:
    """Return images in [-1, 1]; the constant grey level of channel g encodes the class of group g."""
    levels = torch.full((len(labels), 3), 255.0)
    levels[:, : labels.shape[1]] = STEP * labels.float()
    return (levels / 127.5 - 1.0)[:, :, None, None].expand(-1, -1, size, size)


def read_labels(images: Tensor, groups: int = 2) -> Tensor:
    """Return the labels of images from ``paint``."""
    return ((images.mean(dim=(2, 3))[:, :groups] + 1.0) * 127.5 / STEP).round().long()


@dataclass(frozen=True)
class TagClassifierStub:
    """Reads the labels of ``paint``; returns a class of the vocabulary for any image."""

    vocabulary: Vocabulary = PAIR
    fingerprint: str = "stub"

    def predict(self, images: Tensor) -> Tensor:
        sizes = torch.tensor(self.vocabulary.sizes)
        return read_labels(images, len(sizes)) % sizes


def quadrants(images: Tensor) -> Tensor:
    """Return 12 features: the mean of each channel in each quarter of the image."""
    return F.adaptive_avg_pool2d(images.float(), 2).flatten(1)


class Extractors:
    """Replacement for ``open_extractor`` that returns ``quadrants`` and counts the measured images."""

    def __init__(self) -> None:
        self.measured: list[int] = []
        self.weights = "aaaa"

    def __call__(
        self, name: str, weights: Any = None, device: str = "cpu", *, resize: Any = None, precision: str = "float32"
    ) -> Extractor:
        def network(images: Tensor) -> Tensor:
            self.measured.append(len(images))
            return quadrants(images)

        return Extractor(name, "fd_stub", self.weights, "none", network)


def painted_images(labels: np.ndarray, vocabulary: Vocabulary = PAIR, size: int = 16) -> TaggedImages:
    """Return images from ``paint`` for these labels, of which complete ones come first."""
    levels = torch.from_numpy(labels).clamp_min(0)
    pixels = paint(levels, size).add(1.0).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    complete = int((labels != UNKNOWN).all(axis=1).sum())
    name = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()[:16]
    return TaggedImages(vocabulary, pixels, labels, tuple(map(str, range(len(labels)))), complete, name)


@cache
def drawn_faces(count: int = 48, incomplete: int = 8) -> TaggedImages:
    """Return synthetic faces of 16 px with the reports' vocabulary; the last ones lack the tag of their eyes."""
    labels = random_labels(count, REPORT_VOCABULARY.sizes)
    pixels = draw_faces(labels, 0, 16)
    labels[count - incomplete :, 1] = UNKNOWN
    ids = tuple(map(str, range(count)))
    return TaggedImages(REPORT_VOCABULARY, pixels, labels, ids, count - incomplete, "drawn-faces")


def evaluations(max_kimg: int, every: int = 1, samples: int = 24) -> tuple[Evaluation, ...]:
    """Return evaluations at every multiple of ``every`` and at the end, all on the same number of images."""
    points = [*range(every, max_kimg, every), max_kimg]
    return tuple(Evaluation(kimg, samples) for kimg in points)


@contextlib.contextmanager
def cheap_context(
    folder: Path, points: tuple[Evaluation, ...], samples: int = 24, **more: Any
) -> Iterator[TrialContext]:
    """Yield a context of synthetic faces, scored at ``points`` by twelve cheap features, ``samples`` at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "open_extractor", Extractors())
        images = drawn_faces()
        tag_classifier, choice = TagClassifierStub(images.vocabulary), ExtractorChoice("stub")
        scores, _ = make_scorer(images, tag_classifier, extractor=choice, samples=samples, seed=0, cache=folder)
        yield TrialContext(images, scores, points, **more)


def random_data(count: int = 32, masked: int = 0, size: int = 16) -> TrainingData:
    """Return random pixels with random labels, of which the first ``masked`` lack the tag of the first group."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8))
    tags = torch.from_numpy(random_labels(count))
    labels = tags.clone()
    labels[:masked, 0] = UNKNOWN
    return TrainingData(images, labels, tags)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def same(first: Any, second: Any) -> bool:
    """Return whether two nested states are bitwise equal."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)
