"""The judge: a tag classifier that learns from real pictures only and then says what drawn ones show.

It is trained once for a data set, cached by the data's fingerprint, and shared by every trial and sweep.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.errors import UserError
from trainables.pictures import as_tensor
from trainables.scoring.splits import stratified_split
from trainables.scoring.tagger_network import BATCH, log_probabilities
from trainables.scoring.tagger_report import JudgeReport, report_on
from trainables.scoring.tagger_training import JudgeSettings, as_images, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray


__all__ = ["Judge", "JudgeReport", "JudgeSettings", "cached_judge", "tag_agreement", "train_judge"]

DEFAULT_SETTINGS = JudgeSettings()
_FORMAT = "gansweep-judge-1"
"""Part of every hash: raise it when the network or the file changes, and old judges are trained anew."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A trained tag classifier.

    Attributes:
        network: the trained ``TagNetwork``s, in evaluation mode, on the device they judge on.
        vocabulary: the tag groups it knows.
        image_size: side in pixels it was trained at; other pictures are resized to it.
        settings: how it was trained.
        report: how good it is on held-out real pictures.
    """

    network: nn.ModuleList
    vocabulary: Vocabulary
    image_size: int
    settings: JudgeSettings
    report: JudgeReport

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any weight, the vocabulary or the image size."""
        return _digest(f"{self.vocabulary.hash} {self.image_size}", self.network.state_dict())[:16]

    def logits(self, images: Tensor) -> list[Tensor]:
        """Judge pictures, in batches.

        Args:
            images: ``(n, 3, h, w)`` float in [-1, 1], on any device; n may be 0.

        Returns:
            One ``(n, classes)`` float32 tensor a group on the device of ``images``: log-probabilities, averaged
            over both mirror images where the judge was trained on both.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"the judge needs images of shape (n, 3, h, w), not {tuple(images.shape)}")
        return log_probabilities(self.network, images, size=self.image_size, mirror=self.settings.flip)

    def predict(self, images: Tensor) -> Tensor:
        """``(n, 3, h, w)`` pictures in [-1, 1] to ``(n, groups)`` int64 class indices."""
        return torch.stack([scores.argmax(1) for scores in self.logits(images)], 1)

    def save(self, path: Path) -> None:
        """Write weights and everything else to one safetensors file, which appears whole or not at all."""
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
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        try:
            save_file(weights, temporary, metadata)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Judge:
        """Read a judge that ``save`` wrote, onto the CPU. Nothing in the file is executed.

        Raises:
            UserError: the file is missing, damaged, altered, or no judge.
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
            raise UserError(f"cannot read judge {path}: {reason}; delete the file to train it anew") from error

    @classmethod
    def _assemble(cls, about: dict[str, Any], weights: dict[str, Tensor]) -> Judge:
        vocabulary = Vocabulary.from_json(about["vocabulary"])
        settings = JudgeSettings.from_json(about["settings"])
        # No memory on the meta device: the file's own tensors become the network's.
        with torch.device("meta"):
            network = nn.ModuleList(settings.network(vocabulary.sizes) for _ in range(about["members"]))
        network.load_state_dict(weights, assign=True)
        network = network.to(memory_format=torch.channels_last).eval()
        report = JudgeReport.from_json(about["report"])
        return cls(network, vocabulary, int(about["image_size"]), settings, report)

    def to(self, device: str) -> Judge:
        """The same judge, working on another device."""
        return dataclasses.replace(self, network=copy.deepcopy(self.network).to(device))


def train_judge(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    groups: NDArray[np.int64] | None = None,
    settings: JudgeSettings = DEFAULT_SETTINGS,
    device: str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> Judge:
    """Train a judge on part of the pictures and measure it on the held-out rest.

    The same data, settings and number of threads give the same judge on the same kind of CPU. On a machine that
    others load, one thread is quickest: threads that wait for each other at every convolution lose their turns.

    Args:
        pixels: ``(n, s, s, 3)`` real pictures.
        labels: ``(n, groups)`` class indices or ``UNKNOWN``.
        vocabulary: what the labels mean.
        groups: ``(n,)`` near-duplicate group of each picture; none are near-duplicates by default.
        settings: how to train.
        device: where to train and, later, to judge.
        progress: called with the share done and a line of text, at most four times a second.

    Raises:
        UserError: too few pictures, or labels that do not fit pictures or vocabulary.
    """
    _check(pixels, labels, vocabulary)
    groups = np.arange(len(pixels)) if groups is None else groups
    train, held_out = stratified_split(labels, groups, settings.holdout, settings.seed)
    if len(train) < 2 or not len(held_out):
        raise UserError(f"{len(pixels)} pictures are too few to train a judge and to measure it")
    images, tags = _shrunk(pixels, settings.largest_size), torch.from_numpy(labels)
    place, trained = torch.device(device), torch.from_numpy(train)
    network = _fit_members(images[trained].to(place), tags[trained].to(place), vocabulary, settings, progress)
    size, unseen = images.shape[-1], as_images(images[held_out])
    logits = log_probabilities(network, unseen, size=size, mirror=settings.flip)
    report = report_on(logits, tags[held_out], vocabulary, trained_on=len(train))
    return Judge(network, vocabulary, size, settings, report)


def _fit_members(
    images: Tensor,
    tags: Tensor,
    vocabulary: Vocabulary,
    settings: JudgeSettings,
    progress: Callable[[float, str], None] | None,
) -> nn.ModuleList:
    """Train networks that differ in their random numbers only, until there are enough or one suffices."""
    members = nn.ModuleList()

    report = progress or (lambda share, text: None)

    def overall(share: float, text: str) -> None:
        report((len(members) + share) / settings.members, text)

    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(settings.seed)
        for _ in range(settings.members):
            network, solved = fit(images, tags, vocabulary.sizes, settings, overall)
            members.append(network)
            if solved:
                break
    report(1.0, "judge: trained")
    return members.eval()


def cached_judge(
    cache: Path,
    fingerprint: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    groups: NDArray[np.int64] | None = None,
    settings: JudgeSettings = DEFAULT_SETTINGS,
    device: str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> Judge:
    """The judge for these data and settings: read from ``cache`` if it is there, else trained and kept.

    Call it once before trials start; those that run at once would otherwise each train.

    Args:
        cache: folder of ``judge-<hash>.safetensors`` files.
        fingerprint: identifies pictures and labels; vocabulary, size and settings are added to it here.
        pixels: this and all the rest as in ``train_judge``.
    """
    key = json.dumps([_FORMAT, fingerprint, vocabulary.hash, pixels.shape[1], settings.to_json()], sort_keys=True)
    path = cache / f"judge-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    if path.exists():
        return Judge.load(path).to(device)
    judge = train_judge(pixels, labels, vocabulary, groups=groups, settings=settings, device=device, progress=progress)
    judge.save(path)
    return judge


def tag_agreement(predicted: Tensor, asked: Tensor, vocabulary: Vocabulary) -> dict[str, float]:
    """Share of pictures that show what was asked for.

    Args:
        predicted: ``(n, groups)`` classes that the judge saw.
        asked: ``(n, groups)`` classes that were asked for, or ``UNKNOWN``.
        vocabulary: names the groups.

    Returns:
        ``tag_accuracy_<group>`` over the pictures whose tag of that group is known, and ``tag_accuracy``, all
        groups right, over those whose tags are all known. NaN where there is no such picture.
    """
    asked = asked.to(predicted.device)
    known, right = asked != UNKNOWN, predicted == asked
    scores = {"tag_accuracy": right[known.all(1)].all(1)}
    for place, name in enumerate(vocabulary.names):
        scores[f"tag_accuracy_{name}"] = right[known[:, place], place]
    return {name: float(hits.double().mean()) for name, hits in scores.items()}


def _shrunk(pixels: NDArray[np.uint8], largest: int) -> Tensor:
    """``(n, s, s, 3)`` pixels as a ``(n, 3, t, t)`` uint8 tensor with t at most ``largest``."""
    images = as_tensor(pixels).permute(0, 3, 1, 2)
    if images.shape[-1] <= largest:
        return images.contiguous()
    size = (largest, largest)
    parts = [
        F.interpolate(part.float(), size=size, mode="bilinear", antialias=True).round_().to(torch.uint8)
        for part in torch.split(images, BATCH)
    ]
    return torch.cat(parts)


def _check(pixels: NDArray[np.uint8], labels: NDArray[np.int64], vocabulary: Vocabulary) -> None:
    if pixels.ndim != 4 or pixels.shape[1] != pixels.shape[2] or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
        raise UserError(f"the judge needs square uint8 pictures (n, s, s, 3); found {pixels.dtype} {pixels.shape}")
    if labels.shape != (len(pixels), len(vocabulary.groups)):
        raise UserError(
            f"the judge needs labels of shape {(len(pixels), len(vocabulary.groups))}; found {labels.shape}"
        )
    for column, group in zip(labels.T, vocabulary.groups, strict=True):
        wrong = column[(column != UNKNOWN) & ((column < 0) | (column >= len(group.classes)))]
        if len(wrong):
            raise UserError(
                f"label {wrong[0]} of {group.name} is impossible; allowed are 0 to {len(group.classes) - 1} "
                f"and {UNKNOWN} for unknown"
            )


def _digest(text: str, weights: Mapping[str, Tensor]) -> str:
    """Hash of a text and of named tensors, the same on every device."""
    digest = hashlib.sha256(f"{_FORMAT} {text}".encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
