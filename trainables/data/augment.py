"""Differentiable augmentation of all that a discriminator sees, real or fake (Zhao et al. 2020), and rotation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from trainables.config import TrainingConfig


def augment(images: Tensor, config: TrainingConfig) -> Tensor:
    """Return the images ``(n, 3, s, s)`` as the discriminator sees them."""
    if not config.diff_augment:
        return images
    varies = config.augment_schedule != "constant" or config.augment_target  # by a tensor, which is not read here
    always = not varies and config.augment_probability == 1
    return diff_augment(images, None if always else config.augment_probability)


def diff_augment(images: Tensor, probability: float | Tensor | None = None) -> Tensor:
    """Random brightness, saturation and contrast, translation by up to an eighth, and a cutout of half the side.

    With a ``probability``, a scalar in [0, 1], each of the three changes an image with that probability.
    """
    for change in (_recolour, _translate, _cut):
        changed = change(images)
        if probability is not None:
            chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < probability
            changed = torch.where(chosen, changed, images)
        images = changed
    return images


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn each image ``(n, 3, s, s)`` by an angle of its own, up to ``degrees`` either way; edges are mirrored."""
    angles = (torch.rand(len(images), device=images.device) * 2 - 1) * math.radians(degrees)
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros_like(angles)
    turn = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)
    places = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, places, padding_mode="reflection", align_corners=False)


def _recolour(x: Tensor) -> Tensor:
    def factor() -> Tensor:
        return torch.rand(len(x), 1, 1, 1, device=x.device)

    x = x + (factor() - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (factor() * 2) + grey
    middle = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - middle) * (factor() + 0.5) + middle


def _translate(x: Tensor, share: float = 0.125) -> Tensor:
    n, size = len(x), x.shape[-1]
    most = int(size * share + 0.5)
    rows, columns = (torch.randint(-most, most + 1, (n, 1), device=x.device) for _ in range(2))
    steps = torch.arange(size, device=x.device)
    padded = F.pad(x, (1, 1, 1, 1))  # places outside read the zero border
    row = (steps + rows + 1).clamp(0, size + 1)
    column = (steps + columns + 1).clamp(0, size + 1)
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, row[:, :, None], column[:, None, :]].permute(0, 3, 1, 2)


def _cut(x: Tensor, share: float = 0.5) -> Tensor:
    n, size = len(x), x.shape[-1]
    half = size * share / 2
    centres = [torch.randint(0, size + 1, (n, 1), device=x.device) for _ in range(2)]
    steps = torch.arange(size, device=x.device)
    inside = [(steps - centre).abs() < half for centre in centres]
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])
