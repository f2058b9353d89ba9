"""The tag classifier: trained on real images only, it predicts the tags of generated images.

It is trained once per data set, cached by the data's fingerprint, and shared by every trial and sweep.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.data.tensors import as_rgb
from trainables.errors import UserError
from trainables.scoring.tag_classifier.network import BATCH, log_probabilities
from trainables.scoring.tag_classifier.report import TagClassifierReport, report_on
from trainables.scoring.tag_classifier.splits import stratified_split
from trainables.scoring.tag_classifier.training import TagClassifierSettings, to_float_images, train_network
from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray


__all__ = [
    "TagClassifier",
    "TagClassifierReport",
    "TagClassifierSettings",
    "cached_tag_classifier",
    "tag_agreement",
    "tag_classifier_file",
    "train_tag_classifier",
]

DEFAULT_SETTINGS = TagClassifierSettings()
THREADS = 2
"""Threads of training, unless torch may use fewer. They decide the last bits of the weights."""
_FORMAT = "gansweep-judge-1"
"""Part of every hash. Change it with the network or the file format: cached tag classifiers are then retrained."""


@dataclass(frozen=True, eq=False)
class TagClassifier:
    """A trained tag classifier.

    Attributes:
        network: the trained ``TagNetwork``s, in evaluation mode, on their device.
        vocabulary: its tag groups.
        image_size: side in pixels it was trained at; other images are resized to it.
        settings: how it was trained.
        report: metrics on held-out real images.
    """

    network: nn.ModuleList
    vocabulary: Vocabulary
    image_size: int
    settings: TagClassifierSettings
    report: TagClassifierReport

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any weight, the vocabulary or the image size."""
        return _digest(f"{self.vocabulary.hash} {self.image_size}", self.network.state_dict())[:16]

    def logits(self, images: Tensor) -> list[Tensor]:
        """Classify images in batches.

        Args:
            images: ``(n, 3, h, w)``, or grey ``(n, 1, h, w)``, float in [-1, 1], on any device; n may be 0.

        Returns:
            One ``(n, classes)`` float32 tensor per group on the device of ``images``: log-probabilities, averaged over
            each image and its mirror image if the tag classifier was trained on both.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(f"the tag classifier needs images of shape (n, 3, h, w), not {tuple(images.shape)}")
        return log_probabilities(self.network, as_rgb(images), size=self.image_size, mirror=self.settings.flip)

    def predict(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` or ``(n, 1, h, w)`` images in [-1, 1] to ``(n, groups)`` int64 class indices."""
        return torch.stack([scores.argmax(1) for scores in self.logits(images)], 1)

    def save(self, path: Path) -> None:
        """Write the tag classifier to one safetensors file, atomically."""
        about = {
            "vocabulary": self.vocabulary.to_json(),
            "image_size": self.image_size,
            "members": len(self.network),
            "settings": self.settings.to_json(),
            "report": self.report.to_json(),
        }
        text = json.dumps(about, sort_keys=True)
        weights = {name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        metadata = {"judge": text, "checksum": _digest(text, weights)}
        with atomic_write(path) as partial:
            save_file(weights, partial, metadata)

    @classmethod
    def load(cls, path: Path) -> TagClassifier:
        """Read a tag classifier that ``save`` wrote, onto the CPU. Nothing in the file is executed.

        Raises:
            UserError: the file is missing, damaged, altered, or not a tag classifier.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["checksum"] != _digest(metadata["judge"], weights):
                raise ValueError("its checksum is wrong")
            return cls._assemble(json.loads(metadata["judge"]), weights)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, UserError) as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise UserError(f"cannot read tag classifier {path}: {reason}; delete the file to retrain it") from error

    @classmethod
    def _assemble(cls, about: dict[str, Any], weights: dict[str, Tensor]) -> TagClassifier:
        vocabulary = Vocabulary.from_json(about["vocabulary"])
        settings = TagClassifierSettings.from_json(about["settings"])
        # The meta device allocates nothing; the file's tensors become the network's.
        with torch.device("meta"):
            network = nn.ModuleList(settings.network(vocabulary.sizes) for _ in range(about["members"]))
        network.load_state_dict(weights, assign=True)
        network = network.to(memory_format=torch.channels_last).eval()
        report = TagClassifierReport.from_json(about["report"])
        return cls(network, vocabulary, int(about["image_size"]), settings, report)

    def to(self, device: str) -> TagClassifier:
        """Copy the tag classifier to another device."""
        return dataclasses.replace(self, network=copy.deepcopy(self.network).to(device))


def train_tag_classifier(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    groups: NDArray[np.int64] | None = None,
    settings: TagClassifierSettings = DEFAULT_SETTINGS,
    device: str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> TagClassifier:
    """Train a tag classifier on part of the images and evaluate it on the held-out rest.

    Deterministic for the same data, settings, number of threads and kind of CPU. It takes ``THREADS`` threads: more
    wait for each other after every convolution, above all where trials take the other cores.

    Args:
        pixels: ``(n, s, s, 3)`` real images; grey ones ``(n, s, s, 1)`` are classified as RGB.
        labels: ``(n, groups)`` class indices or ``UNKNOWN``.
        vocabulary: tag groups and classes of the labels.
        groups: ``(n,)`` near-duplicate group of each image; by default there are no near-duplicates.
        settings: how to train.
        device: where to train and to classify.
        progress: called with the share done and a line of text, at most four times a second.

    Raises:
        UserError: too few images, or labels that do not fit images or vocabulary.
    """
    _check(pixels, labels, vocabulary)
    groups = np.arange(len(pixels)) if groups is None else groups
    train, held_out = stratified_split(labels, groups, settings.holdout, settings.seed)
    if len(train) < 2 or not len(held_out):
        raise UserError(f"{len(pixels)} images are too few to train a tag classifier and to measure it")
    size, tags, place = min(pixels.shape[1], settings.largest_size), torch.from_numpy(labels), torch.device(device)
    images = read_resized(pixels, train, size).to(place)
    with limited_threads():
        network = _fit_members(images, tags[torch.from_numpy(train)].to(place), vocabulary, settings, progress)
    unseen = to_float_images(read_resized(pixels, held_out, size))
    logits = log_probabilities(network, unseen, size=size, mirror=settings.flip)
    report = report_on(logits, tags[held_out], vocabulary, trained_on=len(train))
    return TagClassifier(network, vocabulary, size, settings, report)


@contextlib.contextmanager
def limited_threads() -> Iterator[None]:
    """Let torch use at most ``THREADS`` threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit_members(
    images: Tensor,
    tags: Tensor,
    vocabulary: Vocabulary,
    settings: TagClassifierSettings,
    progress: Callable[[float, str], None] | None,
) -> nn.ModuleList:
    """Train ``members`` networks that differ in their random numbers, or one if it learned nearly all tags."""
    members = nn.ModuleList()

    report = progress or (lambda share, text: None)

    def overall(share: float, text: str) -> None:
        report((len(members) + share) / settings.members, text)

    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(settings.seed)
        for _ in range(settings.members):
            network, solved = train_network(images, tags, vocabulary.sizes, settings, overall)
            members.append(network)
            if solved:
                break
    report(1.0, "trained")
    return members.eval()


def cached_tag_classifier(
    cache: Path,
    fingerprint: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    groups: NDArray[np.int64] | None = None,
    settings: TagClassifierSettings = DEFAULT_SETTINGS,
    device: str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> TagClassifier:
    """Load the tag classifier for these data and settings from ``cache``, or train and cache it.

    Call it once before trials start; concurrent trials would otherwise each train one.

    Args:
        cache: folder of ``judge-<hash>.safetensors`` files.
        fingerprint: identifies images and labels; vocabulary, size and settings are added to it here.
        pixels: this and the remaining arguments as in ``train_tag_classifier``.
    """
    path = tag_classifier_file(cache, fingerprint, pixels.shape[1], vocabulary, settings)
    if path.exists():
        return TagClassifier.load(path).to(device)
    tag_classifier = train_tag_classifier(
        pixels, labels, vocabulary, groups=groups, settings=settings, device=device, progress=progress
    )
    tag_classifier.save(path)
    return tag_classifier


def tag_classifier_file(
    cache: Path,
    fingerprint: str,
    image_size: int,
    vocabulary: Vocabulary,
    settings: TagClassifierSettings = DEFAULT_SETTINGS,
) -> Path:
    """Return the path at which ``cached_tag_classifier`` looks for images of this fingerprint and size."""
    key = json.dumps([_FORMAT, fingerprint, vocabulary.hash, image_size, settings.to_json()], sort_keys=True)
    return cache / f"judge-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"


def tag_agreement(predicted: Tensor, asked: Tensor, vocabulary: Vocabulary) -> dict[str, float]:
    """Share of images that show the requested tags.

    Args:
        predicted: ``(n, groups)`` predicted classes.
        asked: ``(n, groups)`` requested classes, or ``UNKNOWN``.
        vocabulary: names of the groups.

    Returns:
        ``tag_accuracy_<group>`` over the images whose tag of that group is known, and ``tag_accuracy`` (every
        group correct) over those whose tags are all known. NaN without such images.
    """
    asked = asked.to(predicted.device)
    known, right = asked != UNKNOWN, predicted == asked
    scores = {"tag_accuracy": right[known.all(1)].all(1)}
    for place, name in enumerate(vocabulary.names):
        scores[f"tag_accuracy_{name}"] = right[known[:, place], place]
    return {name: float(hits.double().mean()) for name, hits in scores.items()}


def read_resized(pixels: NDArray[np.uint8], places: NDArray[np.int64], size: int) -> Tensor:
    """Read ``(k, 3, size, size)`` uint8 of the images at ``places`` of ``(n, s, s, c)``, which may be a memory map.

    Reads in blocks: beside the result, no more than a batch is in memory.
    """
    resized = pixels.shape[1] > size
    # The memory order decides the last bits of training; it is the one that a resize of all images at once leaves.
    order = torch.channels_last if resized else torch.contiguous_format
    images = torch.empty((len(places), 3, size, size), dtype=torch.uint8, memory_format=order)
    for start in range(0, len(places), BATCH):
        part = torch.from_numpy(np.asarray(pixels[places[start : start + BATCH]])).permute(0, 3, 1, 2)
        if resized:
            part = F.interpolate(part.float(), size=(size, size), mode="bilinear", antialias=True).round_()
        images[start : start + len(part)] = part
    return images


def _check(pixels: NDArray[np.uint8], labels: NDArray[np.int64], vocabulary: Vocabulary) -> None:
    square = pixels.ndim == 4 and pixels.shape[1] == pixels.shape[2] and pixels.shape[3] in (1, 3)
    if not square or pixels.dtype != np.uint8:
        raise UserError(
            f"the tag classifier needs square uint8 images (n, s, s, 3); found {pixels.dtype} {pixels.shape}"
        )
    if labels.shape != (len(pixels), len(vocabulary.groups)):
        raise UserError(
            f"the tag classifier needs labels of shape {(len(pixels), len(vocabulary.groups))}; found {labels.shape}"
        )
    for column, group in zip(labels.T, vocabulary.groups, strict=True):
        wrong = column[(column != UNKNOWN) & ((column < 0) | (column >= len(group.classes)))]
        if len(wrong):
            raise UserError(
                f"label {wrong[0]} of {group.name} is out of range; allowed: 0 to {len(group.classes) - 1} "
                f"and {UNKNOWN} for unknown"
            )


def _digest(text: str, weights: Mapping[str, Tensor]) -> str:
    """Hash of a text and of named tensors, the same on every device."""
    digest = hashlib.sha256(f"{_FORMAT} {text}".encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
