"""Training of the tag classifier: settings, augmentation, progressive resizing, one-cycle learning rate."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn

from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError, UserError
from trainables.scoring.tag_classifier.network import TagNetwork, autocast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Progress = Callable[[float, str], None]

MIN_GROWN_SIZE = 32
"""Smallest side in pixels of progressive resizing; smaller images lose the small things that tags name."""

GROWTH = ((2 / 3, 0.6), (1.0, 1.0))
"""``(fraction of the full size, share of the budget at which it ends)``. Small images cost half."""

WINDOW = 50
"""Batches over which training accuracy is measured for early stopping."""


@dataclass(frozen=True)
class TagClassifierSettings:
    """Everything that determines the tag classifier, given the data; part of its cache key.

    On 9,000 real faces at 32 px the defaults take 198 CPU seconds and reach 75.0% on hair, 74.4% on eyes and 58.5% on
    both (``benchmarks/tag_classifier.py``, one thread); width 64 with 24 epochs takes 352 and reaches 75.3, 75.2, 59.3.

    Attributes:
        width: channels of the first of three stages; the others have two and four times as many.
        depth: residual blocks in each stage.
        looks: attention maps of each head, besides the mean of the feature map.
        dropout: share of a head's inputs dropped in training.
        largest_size: larger images are resized to this side in pixels; on faces 64 was no better.
        members: networks whose probabilities are averaged; only one if the first learns nearly all tags.
        epochs: passes of each network over the training images, within the bounds of the next two.
        min_kimg: lower bound of the thousands of images seen.
        max_kimg: upper bound of the thousands of images seen.
        batch_size: images per step; all of them if there are fewer.
        learning_rate: peak of the one cycle (SGD with Nesterov momentum 0.9).
        weight_decay: of the weights of layers, not of biases and norms.
        label_smoothing: share of each tag spread over all classes; tags are noisy.
        ema: decay per step of the averaged weights, which are the ones that are kept.
        grow: train on images of two thirds the size first, but not below 32 pixels.
        flip: mirror half of the images; predictions average over both sides as well.
        geometry: whether images are shifted (6 %), scaled (14 %) and rotated (10 degrees) a little.
        light: largest change of brightness, in units of [-1, 1]; contrast changes by 1.5 times as much.
        solved_at: a size ends early at this training accuracy in every group.
        holdout: share of the images that are held out.
        seed: of split, weights and batches.
    """

    width: int = 48
    depth: int = 1
    looks: int = 4
    dropout: float = 0.1
    largest_size: int = 48
    members: int = 1
    epochs: float = 20.0
    min_kimg: float = 20.0
    max_kimg: float = 400.0
    batch_size: int = 96
    learning_rate: float = 0.1
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    ema: float = 0.998
    grow: bool = True
    flip: bool = True
    geometry: bool = True
    light: float = 0.1
    solved_at: float = 0.99
    holdout: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "depth", "looks", "members", "batch_size", "epochs", "max_kimg", "learning_rate"):
            self._require(name, getattr(self, name) > 0, "above 0")
        for name in ("dropout", "label_smoothing", "ema", "light"):
            self._require(name, 0 <= getattr(self, name) < 1, "from 0 to below 1")
        for name in ("min_kimg", "weight_decay", "solved_at"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("largest_size", self.largest_size >= 16, "16 or more")
        self._require("holdout", 0 < self.holdout < 1, "above 0 and below 1")

    def _require(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise UsageError(f"tag classifier settings: {name} is {getattr(self, name)}; allowed: {allowed}")

    def to_json(self) -> dict[str, Any]:
        """A plain dict that ``from_json`` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TagClassifierSettings:
        """Read what ``to_json`` wrote; a ``TypeError`` when it is something else."""
        return cls(**data)

    def network(self, classes: Sequence[int]) -> TagNetwork:
        """A new network for tag groups with these numbers of classes."""
        return TagNetwork(classes, width=self.width, depth=self.depth, looks=self.looks, dropout=self.dropout)

    def steps(self, images: int) -> int:
        """Number of optimiser steps for this number of training images."""
        kimg = min(max(self.epochs * images / 1000, self.min_kimg), self.max_kimg)
        return max(1, round(1000 * kimg / min(self.batch_size, images)))


def train_network(
    pixels: Tensor, labels: Tensor, classes: Sequence[int], settings: TagClassifierSettings, progress: Progress
) -> tuple[TagNetwork, bool]:
    """Train a network. Returns it with averaged weights in evaluation mode, and whether it learned nearly all tags.

    Uses torch's global random state; seed it before the call.

    Args:
        pixels: ``(n, 3, s, s)`` uint8, on the device to train on.
        labels: ``(n, groups)`` int64 on the same device; ``UNKNOWN`` tags do not contribute.
        classes: number of classes of each group.
        settings: how to train.
        progress: called with the share done and a line of text, at most four times a second.

    Raises:
        UserError: the loss is no longer finite.
    """
    network = settings.network(classes).to(pixels.device).to(memory_format=torch.channels_last)
    average = copy.deepcopy(network).eval()
    optimiser = _optimiser(network, settings)
    total, step = settings.steps(len(pixels)), 0
    batches = _endless_batches(len(pixels), min(settings.batch_size, len(pixels)))
    progress, began = _throttle(progress), time.monotonic()
    for size, end in _stages(pixels.shape[-1], settings.grow):
        recent: deque[Tensor] = deque(maxlen=WINDOW)
        solved = False
        while step < round(end * total) and not solved:
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * _one_cycle(step / total)
            batch = next(batches).to(pixels.device)
            images = augment(to_float_images(pixels[batch]), size, settings)
            loss, hits = _step(network, optimiser, images, labels[batch], settings)
            if not math.isfinite(loss):
                raise UserError(f"the tag classifier diverged; use a learning rate below {settings.learning_rate}")
            step += 1
            _update_ema(average, network, settings.ema, step)
            recent.append(hits)
            left = (time.monotonic() - began) * (total - step) / step
            progress(step / total, f"{size} px, loss {loss:.2f}, {left:.0f} s left")
            solved = _is_solved(recent, settings.solved_at)
        step = round(end * total)
    return average, solved


def to_float_images(pixels: Tensor) -> Tensor:
    """uint8 pixels to float in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1.0)


def tag_loss(logits: Sequence[Tensor], labels: Tensor, smoothing: float) -> Tensor:
    """Sum over groups of the mean cross-entropy over known tags; exactly 0 for a group without any.

    Args:
        logits: one ``(n, classes)`` tensor per group.
        labels: ``(n, groups)`` class indices or ``UNKNOWN``.
        smoothing: share of each tag spread over all classes.
    """
    losses = [
        F.cross_entropy(scores.float(), tags, ignore_index=UNKNOWN, reduction="sum", label_smoothing=smoothing)
        / (tags != UNKNOWN).sum().clamp(min=1)
        for scores, tags in zip(logits, labels.T, strict=True)
    ]
    return torch.stack(losses).sum()


def augment(images: Tensor, size: int, settings: TagClassifierSettings) -> Tensor:
    """Resize ``(n, 3, s, s)`` images in [-1, 1] to ``size`` and augment them; the hue, which tags describe, is kept."""
    if images.shape[-1] != size:
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    count = len(images)
    if settings.geometry or settings.flip:
        grid = F.affine_grid(_random_affine_maps(count, settings), [count, 3, size, size], align_corners=False)
        images = F.grid_sample(images, grid.to(images.device), padding_mode="reflection", align_corners=False)
    if settings.light:
        contrast, brightness = (_uniform(count, settings.light).to(images.device) for _ in range(2))
        mean = images.mean((1, 2, 3), keepdim=True)
        images = torch.addcmul(mean + brightness.view(-1, 1, 1, 1), images - mean, 1 + 1.5 * contrast.view(-1, 1, 1, 1))
    return images.contiguous(memory_format=torch.channels_last)


def _stages(side: int, grow: bool) -> list[tuple[int, float]]:
    """``(image size, share of the budget at which it ends)`` of each stage."""
    if not grow or side <= MIN_GROWN_SIZE:
        return [(side, 1.0)]
    return [(max(MIN_GROWN_SIZE, round(part * side)), end) for part, end in GROWTH]


def _optimiser(network: TagNetwork, settings: TagClassifierSettings) -> torch.optim.Optimizer:
    """SGD; AdamW was about a point less accurate in each tag group after the same number of images."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return torch.optim.SGD(
        [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        momentum=0.9,
        nesterov=True,
    )


def _step(
    network: TagNetwork,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    settings: TagClassifierSettings,
) -> tuple[float, Tensor]:
    """Take one optimiser step; returns the loss and ``(2, groups)`` counts of correct and of known tags."""
    with autocast(images.device):
        logits = network(images)
    loss = tag_loss(logits, labels, settings.label_smoothing)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    known = labels != UNKNOWN
    right = torch.stack([scores.argmax(1) for scores in logits], 1) == labels
    return loss.item(), torch.stack([(right & known).sum(0), known.sum(0)])


def _is_solved(recent: deque[Tensor], share: float) -> bool:
    """Whether the accuracy over a full window of batches is at least ``share`` in every group."""
    if len(recent) < WINDOW:
        return False
    right, known = torch.stack(tuple(recent)).sum(0)
    return bool((right >= share * known).all())


def _update_ema(average: TagNetwork, network: TagNetwork, decay: float, step: int) -> None:
    """Update averaged weights and norm statistics, with a smaller decay in the first steps."""
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    old, new = zip(*((a, b) for a, b in pairs if a.is_floating_point()), strict=True)
    get_ema_multi_avg_fn(min(decay, step / (step + 9)))(old, new, None)  # type: ignore[no-untyped-call]


def _one_cycle(done: float, warm: float = 0.15) -> float:
    """One-cycle learning rate relative to its peak: linear warm-up, then cosine annealing to 0."""
    if done < warm:
        return 0.1 + 0.9 * done / warm
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm) / (1 - warm))


def _endless_batches(count: int, size: int) -> Iterator[Tensor]:
    """Yield batches of ``size`` indices below ``count``, reshuffled every epoch; incomplete batches are dropped."""
    while True:
        yield from (batch for batch in torch.split(torch.randperm(count), size) if len(batch) == size)


def _random_affine_maps(count: int, settings: TagClassifierSettings) -> Tensor:
    """Random ``(count, 2, 3)`` affine maps from output to input coordinates."""
    strength = 1.0 if settings.geometry else 0.0
    angle, scale = _uniform(count, 0.17 * strength), _uniform(count, 0.14 * strength).exp()
    mirror = 1.0 - 2.0 * torch.randint(0, 2 if settings.flip else 1, (count,))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift = _uniform(2 * count, 0.12 * strength).view(count, 2)
    rows = torch.stack([torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1)
    return torch.cat([rows, shift[:, :, None]], 2)


def _uniform(count: int, largest: float) -> Tensor:
    return (torch.rand(count) * 2.0 - 1.0) * largest


def _throttle(progress: Progress) -> Progress:
    last = -math.inf

    def throttled(share: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 0.25 or share >= 1.0:
            last = time.monotonic()
            progress(share, text)

    return throttled
