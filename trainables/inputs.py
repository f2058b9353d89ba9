"""What networks are given: the data that they train on, and the inputs that batch norm settles on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.data.tags import UNKNOWN
from trainables.loop import TrainingData
from trainables.pictures import as_tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.config import GanConfig
    from trainables.data.dataset import TaggedImages

SETTLING_BATCH = 64


def training_data(config: GanConfig, images: TaggedImages, device: str) -> TrainingData:
    """The pictures and labels that a configuration trains on.

    Systems that translate read no other tags than the targets: they have every picture of which those are known.
    """
    count = len(images.pixels) if config.training.extra_data or config.translates else images.complete
    return TrainingData(
        as_tensor(images.pixels[:count]).to(device),
        as_tensor(images.labels[:count]).to(device),
        as_tensor(images.labels[: images.complete]).to(device),
        tuple(torch.from_numpy(domain).to(device) for domain in _domains(config, images, count)),
    )


def _domains(config: GanConfig, images: TaggedImages, count: int) -> list[NDArray[np.int64]]:
    """Places of the pictures to translate, which have all target tags; with CycleGAN apart by their class."""
    if not config.translates:
        return []
    targets = images.labels[:count, list(images.target_places)]
    if config.system == "cyclegan":
        return [np.flatnonzero(targets[:, 0] == label) for label in range(2)]
    return [np.flatnonzero((targets != UNKNOWN).all(axis=1))]


def settling_inputs(
    config: GanConfig, images: TaggedImages, seed: int, device: str
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Gives at each call ``SETTLING_BATCH`` inputs: noise and tags, or pictures and the labels asked for."""
    labels = images.labels[: images.complete]
    if config.translates:
        return _settling_pictures(config, images, np.random.default_rng(seed), device)
    random, tags = torch.Generator().manual_seed(seed), as_tensor(labels)

    def give() -> tuple[Tensor, Tensor]:
        noise = torch.randn(SETTLING_BATCH, config.generator.noise_dim, generator=random)
        chosen = tags[torch.randint(len(tags), (SETTLING_BATCH,), generator=random)]
        return noise.to(device), chosen.to(device)

    return give


def _settling_pictures(
    config: GanConfig, images: TaggedImages, random: np.random.Generator, device: str
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Targets are asked for as of random pictures; of a single group of two classes, the other class.

    CycleGAN gets as many pictures of either domain, as in training: each direction settles on one of them.
    """
    labels, targets = images.labels[: images.complete], list(images.target_places)
    two_classes = [images.vocabulary.sizes[place] for place in targets] == [2]
    kinds = [np.arange(len(labels))]
    if config.system == "cyclegan":
        kinds = [np.flatnonzero(labels[:, targets[0]] == label) for label in range(2)]

    def give() -> tuple[Tensor, Tensor]:
        places = np.concatenate([random.choice(kind, SETTLING_BATCH // len(kinds)) for kind in kinds])
        others = random.integers(len(labels), size=SETTLING_BATCH)
        asked = labels[places]
        asked[:, targets] = 1 - asked[:, targets] if two_classes else labels[others][:, targets]
        return in_range(images, places, device), as_tensor(asked).to(device)

    return give


def in_range(images: TaggedImages, places: NDArray[np.int64], device: str) -> Tensor:
    """The pictures at these places, ``(n, 3, s, s)`` in [-1, 1]."""
    pixels = torch.from_numpy(np.asarray(images.pixels[places])).to(device)
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
