"""Panels drawn by a generator during training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainables.data.tensors import as_tensor, to_uint8
from trainables.visuals.image_grid import grid
from trainables.visuals.panels import make_panel

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image
    from torch import Tensor

    from trainables.data.dataset import TaggedImages

BATCH = 64


def draw_sheet(
    name: str,
    images: TaggedImages,
    draw: Callable[[Tensor, Tensor], Tensor],
    *,
    noise_dim: int,
    seed: int,
    device: str,
    conditional: bool,
) -> Image.Image:
    """Draw the panel called ``name``; equal seeds give equal noise in every panel."""
    panel = make_panel(name, images.vocabulary, images.labels[: images.complete], conditional=conditional)
    random = torch.Generator().manual_seed(seed)
    # One row at a time: torch's draws depend on the size of the tensor, and panels of any size share their noises.
    noise = torch.stack([torch.randn(noise_dim, generator=random) for _ in range(int(panel.noises.max()) + 1)])
    parts = zip(torch.split(as_tensor(panel.noises), BATCH), torch.split(as_tensor(panel.labels), BATCH), strict=True)
    drawn = torch.cat([draw(noise[chosen].to(device), tags.to(device)) for chosen, tags in parts])
    pixels = to_uint8(drawn).permute(0, 2, 3, 1).cpu().numpy()
    return grid(pixels, panel.columns, panel.rows, scale=max(1, 64 // pixels.shape[1]))
