"""How the judge learns: settings, light augmentation, growing pictures, one learning-rate cycle."""

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

from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError, UserError
from trainables.scoring.tagger_network import TagNetwork, autocast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Progress = Callable[[float, str], None]

SMALLEST_GROWN = 32
"""Side in pixels that training does not go below to save time: eyes would be lost."""

GROWTH = ((2 / 3, 0.6), (1.0, 1.0))
"""``(part of full size, share of the budget at which it ends)``. Small pictures cost half and teach most."""

WINDOW = 50
"""Batches over which a size counts as solved."""


@dataclass(frozen=True)
class JudgeSettings:
    """Everything that decides what the judge becomes, given data: part of the key of its cache.

    Attributes:
        width: channels of the first of three stages; the others have two and four times as many.
        depth: residual blocks in each stage.
        looks: places each head looks at, besides the mean of the whole feature map.
        dropout: share of a head's inputs dropped in training.
        largest_size: pictures with a longer side in pixels are shrunk to this one; on faces 64 was no better.
        members: networks whose probabilities are averaged; just one where the first learns all tags.
        epochs: passes of each network over the training pictures, within the bounds of the next two.
        min_kimg: thousand pictures to see at least, however few there are.
        max_kimg: thousand pictures to see at most, however many there are.
        batch_size: pictures a step; all of them when there are fewer.
        learning_rate: peak of the one cycle (SGD with Nesterov momentum 0.9).
        weight_decay: on weights of layers and not on biases and norms.
        label_smoothing: share of each tag spread over all classes; tags are noisy.
        ema: decay a step of the averaged weights, which are the ones kept.
        grow: train on pictures of two thirds the size first, but not below 32 pixels.
        flip: mirror half of the pictures; predictions average over both sides as well.
        geometry: whether pictures are shifted (6 %), scaled (14 %) and rotated (10 degrees) a little.
        light: largest change of brightness, in units of the range [-1, 1]; contrast changes 1.5 times it.
        solved_at: a size ends early when this share of the training tags is judged right in every group.
        holdout: share of the pictures that are held out.
        seed: of split, weights and batches.
    """

    width: int = 64
    depth: int = 1
    looks: int = 4
    dropout: float = 0.1
    largest_size: int = 48
    members: int = 1
    epochs: float = 24.0
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
            raise UsageError(f"judge settings: {name} is {getattr(self, name)}; allowed is {allowed}")

    def to_json(self) -> dict[str, Any]:
        """A plain dict that ``from_json`` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JudgeSettings:
        """Read what ``to_json`` wrote; a ``TypeError`` when it is something else."""
        return cls(**data)

    def network(self, classes: Sequence[int]) -> TagNetwork:
        """A fresh network for groups of so many classes."""
        return TagNetwork(classes, width=self.width, depth=self.depth, looks=self.looks, dropout=self.dropout)

    def steps(self, pictures: int) -> int:
        """Optimiser steps to take over so many training pictures."""
        kimg = min(max(self.epochs * pictures / 1000, self.min_kimg), self.max_kimg)
        return max(1, round(1000 * kimg / min(self.batch_size, pictures)))


def fit(
    pixels: Tensor, labels: Tensor, classes: Sequence[int], settings: JudgeSettings, progress: Progress
) -> tuple[TagNetwork, bool]:
    """Train a network: its averaged weights, in evaluation mode, and whether it learned nearly all tags.

    Draws from torch's global random state: seed it before.

    Args:
        pixels: ``(n, 3, s, s)`` uint8, on the device to train on.
        labels: ``(n, groups)`` int64 on the same device; ``UNKNOWN`` tags teach nothing.
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
    progress = _at_most_four_a_second(progress)
    for size, end in _stages(pixels.shape[-1], settings.grow):
        recent: deque[Tensor] = deque(maxlen=WINDOW)
        solved = False
        while step < round(end * total) and not solved:
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * _cycle(step / total)
            batch = next(batches).to(pixels.device)
            images = augment(as_images(pixels[batch]), size, settings)
            loss, hits = _step(network, optimiser, images, labels[batch], settings)
            if not math.isfinite(loss):
                raise UserError(f"the judge diverged; use a learning rate below {settings.learning_rate}")
            step += 1
            _follow(average, network, settings.ema, step)
            recent.append(hits)
            progress(step / total, f"judge: {size} px, loss {loss:.2f}")
            solved = _solved(recent, settings.solved_at)
        step = round(end * total)
    return average, solved


def as_images(pixels: Tensor) -> Tensor:
    """uint8 pixels to float in [-1, 1]."""
    return pixels.float().div_(127.5).sub_(1.0)


def tag_loss(logits: Sequence[Tensor], labels: Tensor, smoothing: float) -> Tensor:
    """Sum over groups of the mean cross-entropy over known tags; exactly 0 for a group with none.

    Args:
        logits: one ``(n, classes)`` tensor a group.
        labels: ``(n, groups)`` class indices or ``UNKNOWN``.
        smoothing: share of each tag spread over all classes.
    """
    losses = [
        F.cross_entropy(scores.float(), tags, ignore_index=UNKNOWN, reduction="sum", label_smoothing=smoothing)
        / (tags != UNKNOWN).sum().clamp(min=1)
        for scores, tags in zip(logits, labels.T, strict=True)
    ]
    return torch.stack(losses).sum()


def augment(images: Tensor, size: int, settings: JudgeSettings) -> Tensor:
    """Resize ``(n, 3, s, s)`` images in [-1, 1] to ``size`` and vary them, never in hue: hue is what is judged."""
    if images.shape[-1] != size:
        images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    count = len(images)
    if settings.geometry or settings.flip:
        grid = F.affine_grid(_placements(count, settings), [count, 3, size, size], align_corners=False)
        images = F.grid_sample(images, grid.to(images.device), padding_mode="reflection", align_corners=False)
    if settings.light:
        contrast, brightness = (_uniform(count, settings.light).to(images.device) for _ in range(2))
        mean = images.mean((1, 2, 3), keepdim=True)
        images = torch.addcmul(mean + brightness.view(-1, 1, 1, 1), images - mean, 1 + 1.5 * contrast.view(-1, 1, 1, 1))
    return images.contiguous(memory_format=torch.channels_last)


def _stages(side: int, grow: bool) -> list[tuple[int, float]]:
    """``(picture size, share of the budget at which it ends)`` one after the other."""
    if not grow or side <= SMALLEST_GROWN:
        return [(side, 1.0)]
    return [(max(SMALLEST_GROWN, round(part * side)), end) for part, end in GROWTH]


def _optimiser(network: TagNetwork, settings: JudgeSettings) -> torch.optim.Optimizer:
    """SGD: after as many faces AdamW was about a point behind on each group of tags."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return torch.optim.SGD(
        [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        momentum=0.9,
        nesterov=True,
    )


def _step(
    network: TagNetwork, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor, settings: JudgeSettings
) -> tuple[float, Tensor]:
    """One update; returns the loss and ``(2, groups)`` counts: tags judged right, tags known."""
    with autocast(images.device):
        logits = network(images)
    loss = tag_loss(logits, labels, settings.label_smoothing)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
    known = labels != UNKNOWN
    right = torch.stack([scores.argmax(1) for scores in logits], 1) == labels
    return loss.item(), torch.stack([(right & known).sum(0), known.sum(0)])


def _solved(recent: deque[Tensor], share: float) -> bool:
    """Whether a full window of batches has that share of its known tags right in each group."""
    if len(recent) < WINDOW:
        return False
    right, known = torch.stack(tuple(recent)).sum(0)
    return bool((right >= share * known).all())


def _follow(average: TagNetwork, network: TagNetwork, decay: float, step: int) -> None:
    """Move the averaged weights, and the norms' statistics, towards the trained ones; quickly at first."""
    weight = 1.0 - min(decay, step / (step + 9))
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    old, new = zip(*((a, b) for a, b in pairs if a.is_floating_point()), strict=True)
    torch._foreach_lerp_(old, new, weight)


def _cycle(done: float, warm: float = 0.15) -> float:
    """Learning rate as a part of its peak: a straight rise, then half a cosine down to 0."""
    if done < warm:
        return 0.1 + 0.9 * done / warm
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm) / (1 - warm))


def _endless_batches(count: int, size: int) -> Iterator[Tensor]:
    """Batches of ``size`` of the numbers below ``count``, reshuffled on each pass; a short rest is dropped."""
    while True:
        yield from (batch for batch in torch.split(torch.randperm(count), size) if len(batch) == size)


def _placements(count: int, settings: JudgeSettings) -> Tensor:
    """``(count, 2, 3)`` affine maps from places in the result to places in the picture."""
    strength = 1.0 if settings.geometry else 0.0
    angle, scale = _uniform(count, 0.17 * strength), _uniform(count, 0.14 * strength).exp()
    mirror = 1.0 - 2.0 * torch.randint(0, 2 if settings.flip else 1, (count,))
    cos, sin = angle.cos() * scale, angle.sin() * scale
    shift = _uniform(2 * count, 0.12 * strength).view(count, 2)
    rows = torch.stack([torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1)
    return torch.cat([rows, shift[:, :, None]], 2)


def _uniform(count: int, largest: float) -> Tensor:
    return (torch.rand(count) * 2.0 - 1.0) * largest


def _at_most_four_a_second(progress: Progress) -> Progress:
    last = -math.inf

    def throttled(share: float, text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 0.25 or share >= 1.0:
            last = time.monotonic()
            progress(share, text)

    return throttled
