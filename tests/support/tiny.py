"""Small things to train and score: drawn faces, pictures whose colours are their labels, a judge that reads them."""

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
from trainables.loop import TrainingData
from trainables.scoring import scorer
from trainables.scoring.features import Extractor
from trainables.scoring.scorer import ExtractorChoice, make_scorer
from trainables.trial import Evaluation, TrialContext

if TYPE_CHECKING:
    from collections.abc import Iterator

# On busy cores, threads that wait for each other make tiny networks and matrices ten times slower.
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
"""Difference in grey level between two painted classes."""


def tiny_config(**changes: Any) -> GanConfig:
    """The smallest networks at 16 px; ``training__flip=True`` stands for ``training.flip``."""
    return GanConfig.from_params({**TINY, **{name.replace("__", "."): value for name, value in changes.items()}})


def tiny_translator(system: str = "cyclegan", **changes: Any) -> GanConfig:
    """The smallest networks at 16 px that translate, as ``tiny_config`` has them that draw."""
    small = {name: value for name, value in TINY.items() if name in ("image_size", "training.batch_size")}
    parts = {"system": system, **TRANSLATING[system], "losses.labels": "hard"}
    widths = {"generator.width": 2, "generator.blocks": 1, "discriminator.width": 2}
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return GanConfig.from_params({**small, **parts, **widths, **given})


def random_labels(count: int, sizes: tuple[int, ...] = PAIR.sizes, seed: int = 0) -> np.ndarray:
    """Complete labels ``(count, groups)``."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in sizes], axis=1)


def paint(labels: Tensor, size: int = 16) -> Tensor:
    """Pictures in [-1, 1] whose channel g has one grey level, which tells the class of group g."""
    levels = torch.full((len(labels), 3), 255.0)
    levels[:, : labels.shape[1]] = STEP * labels.float()
    return (levels / 127.5 - 1.0)[:, :, None, None].expand(-1, -1, size, size)


def read_labels(pictures: Tensor, groups: int = 2) -> Tensor:
    """The labels that ``paint`` drew."""
    return ((pictures.mean(dim=(2, 3))[:, :groups] + 1.0) * 127.5 / STEP).round().long()


@dataclass(frozen=True)
class JudgeStub:
    """Reads painted labels; whatever it sees, the answer is a class of the vocabulary."""

    vocabulary: Vocabulary = PAIR
    fingerprint: str = "stub"

    def predict(self, images: Tensor) -> Tensor:
        sizes = torch.tensor(self.vocabulary.sizes)
        return read_labels(images, len(sizes)) % sizes


def quadrants(pictures: Tensor) -> Tensor:
    """12 features: the mean grey of each channel in each quarter of the picture."""
    return F.adaptive_avg_pool2d(pictures.float(), 2).flatten(1)


class Extractors:
    """Stands in for ``open_extractor``: gives ``quadrants`` and counts the pictures that it measures."""

    def __init__(self) -> None:
        self.measured: list[int] = []
        self.weights = "aaaa"

    def __call__(
        self, name: str, weights: Any = None, device: str = "cpu", *, resize: Any = None, precision: str = "float32"
    ) -> Extractor:
        def network(pictures: Tensor) -> Tensor:
            self.measured.append(len(pictures))
            return quadrants(pictures)

        return Extractor(name, "fd_stub", self.weights, "none", network)


def painted_images(labels: np.ndarray, vocabulary: Vocabulary = PAIR, size: int = 16) -> TaggedImages:
    """Painted pictures of these labels; complete ones come first."""
    levels = torch.from_numpy(labels).clamp_min(0)
    pixels = paint(levels, size).add(1.0).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    complete = int((labels != UNKNOWN).all(axis=1).sum())
    name = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()[:16]
    return TaggedImages(vocabulary, pixels, labels, tuple(map(str, range(len(labels)))), complete, name)


@cache
def drawn_faces(count: int = 48, incomplete: int = 8) -> TaggedImages:
    """Drawn faces of 16 px on the reports' vocabulary; the last ones have lost the tag of their eyes."""
    labels = random_labels(count, REPORT_VOCABULARY.sizes)
    pixels = draw_faces(labels, 0, 16)
    labels[count - incomplete :, 1] = UNKNOWN
    ids = tuple(map(str, range(count)))
    return TaggedImages(REPORT_VOCABULARY, pixels, labels, ids, count - incomplete, "drawn-faces")


def evaluations(max_kimg: int, every: int = 1, samples: int = 24) -> tuple[Evaluation, ...]:
    """Scores at every multiple of ``every`` and at the end, all on the same number of pictures."""
    points = [*range(every, max_kimg, every), max_kimg]
    return tuple(Evaluation(kimg, samples) for kimg in points)


@contextlib.contextmanager
def cheap_context(
    folder: Path, points: tuple[Evaluation, ...], samples: int = 24, **more: Any
) -> Iterator[TrialContext]:
    """Drawn faces, scored at ``points`` by twelve features that cost no time, in the end on ``samples`` pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scorer, "open_extractor", Extractors())
        images = drawn_faces()
        judge, choice = JudgeStub(images.vocabulary), ExtractorChoice("stub")
        scores, _ = make_scorer(images, judge, extractor=choice, samples=samples, seed=0, cache=folder)
        yield TrialContext(images, scores, points, **more)


def random_data(count: int = 32, masked: int = 0, size: int = 16) -> TrainingData:
    """Random pixels under random labels, of which the first ``masked`` have lost the tag of their first group."""
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8))
    tags = torch.from_numpy(random_labels(count))
    labels = tags.clone()
    labels[:masked, 0] = UNKNOWN
    return TrainingData(pictures, labels, tags)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def same(first: Any, second: Any) -> bool:
    """Whether two nested states hold bit for bit the same."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[name], second[name]) for name in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)
