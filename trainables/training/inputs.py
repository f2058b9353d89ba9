"""Inputs of networks: training data, and inputs to recalibrate batch norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.data.pixel_places import gathers_batches
from trainables.data.tags import UNKNOWN
from trainables.data.tensors import HostPixels, as_tensor, in_range
from trainables.training.loop import TrainingData

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.config import GanConfig, PixelPlace
    from trainables.data.dataset import TaggedImages

CALIBRATION_BATCH = 64


def training_data(config: GanConfig, images: TaggedImages, device: str, pixels: PixelPlace = "device") -> TrainingData:
    """Select the images and labels that a configuration trains on.

    Translating systems read target tags only, so they train on every image whose targets are known. ``pixels`` decides
    whether all images are copied to the device, or each batch.
    """
    count = len(images.pixels) if config.training.extra_data or config.translates else images.complete
    chosen = images.pixels[:count]
    gpu_bytes = torch.cuda.mem_get_info(device)[1] if device.startswith("cuda") else None
    gathers = gathers_batches(pixels, images.pixels.nbytes, gpu_bytes)
    return TrainingData(
        HostPixels(chosen, device) if gathers else as_tensor(chosen).to(device),
        as_tensor(images.labels[:count]).to(device),
        as_tensor(images.labels[: images.complete]).to(device),
        tuple(torch.from_numpy(domain).to(device) for domain in _domains(config, images, count)),
    )


def _domains(config: GanConfig, images: TaggedImages, count: int) -> list[NDArray[np.int64]]:
    """Return indices of the images with all target tags; for CycleGAN, one array per class."""
    if not config.translates:
        return []
    targets = images.labels[:count, list(images.target_places)]
    if config.system == "cyclegan":
        return [np.flatnonzero(targets[:, 0] == label) for label in range(2)]
    return [np.flatnonzero((targets != UNKNOWN).all(axis=1))]


def calibration_inputs(
    config: GanConfig, images: TaggedImages, seed: int, device: str
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return a function that draws ``CALIBRATION_BATCH`` inputs: noise and tags, or images and requested labels."""
    labels = images.labels[: images.complete]
    if config.translates:
        return _calibration_images(config, images, np.random.default_rng(seed), device)
    random, tags = torch.Generator().manual_seed(seed), as_tensor(labels)

    def draw() -> tuple[Tensor, Tensor]:
        noise = torch.randn(CALIBRATION_BATCH, config.generator.noise_dim, generator=random)
        chosen = tags[torch.randint(len(tags), (CALIBRATION_BATCH,), generator=random)]
        return noise.to(device), chosen.to(device)

    return draw


def _calibration_images(
    config: GanConfig, images: TaggedImages, random: np.random.Generator, device: str
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return a function that draws images and requests the targets of random others, or the other of two classes.

    CycleGAN gets equally many images of both domains, as in training: each direction calibrates on one domain.
    """
    labels, targets = images.labels[: images.complete], list(images.target_places)
    two_classes = [images.vocabulary.sizes[place] for place in targets] == [2]
    domains = [np.arange(len(labels))]
    if config.system == "cyclegan":
        domains = [np.flatnonzero(labels[:, targets[0]] == label) for label in range(2)]

    def draw() -> tuple[Tensor, Tensor]:
        indices = np.concatenate([random.choice(domain, CALIBRATION_BATCH // len(domains)) for domain in domains])
        others = random.integers(len(labels), size=CALIBRATION_BATCH)
        requested = labels[indices]
        requested[:, targets] = 1 - requested[:, targets] if two_classes else labels[others][:, targets]
        return in_range(images, indices, device), as_tensor(requested).to(device)

    return draw
