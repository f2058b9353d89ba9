"""DINOv2 (Oquab et al. 2024) as Stein et al. 2023 use it for ``FD-DINOv2``: the class token of a vision transformer.

Images are resized to 224 px with Pillow's bicubic filter and normalised as ImageNet's. The official weights are
downloaded on first use or given as a file; the names of the parameters are those of the official files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.errors import UserError, first_line
from trainables.scoring.extractors.inference import (
    DTYPES,
    FeatureNetwork,
    Precision,
    choose_batch_size,
    prepare_network,
)
from trainables.scoring.extractors.resize import resize
from trainables.scoring.extractors.weights import fetch_state, hash_file, read_state

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE, PATCH, TRAINED = 224, 14, 37
"""Sides of images and of patches in pixels, and of the grid of patches that the positions were learnt on."""
OFFSET = 0.1
"""Added to the number of patches when positions are interpolated, as the official code does."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Size(NamedTuple):
    """Size of a vision transformer, and the name of its official weights."""

    width: int
    depth: int
    heads: int
    weights: str


SIZES = {
    "dinov2": Size(1024, 24, 16, "dinov2_vitl14"),
    "dinov2-base": Size(768, 12, 12, "dinov2_vitb14"),
}
URL = "https://dl.fbaipublicfiles.com/dinov2/{0}/{0}_pretrain.pth"


class Attention(nn.Module):
    """Self-attention with one projection to queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, tokens, width)``; the shape is unchanged."""
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        projected: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return projected


class LayerScale(nn.Module):
    """A learnt factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, tokens, width)``; the shape is unchanged."""
        return tokens * self.gamma


class Block(nn.Module):
    """Attention, then a perceptron, each behind a layer norm and scaled before it is added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1, self.ls2 = LayerScale(width), LayerScale(width)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        """``(n, tokens, width)``; the shape is unchanged."""
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        hidden = F.gelu(self.mlp["fc1"](self.norm2(tokens)))
        moved: Tensor = tokens + self.ls2(self.mlp["fc2"](hidden))
        return moved


class VisionTransformer(nn.Module):
    """Maps normalised images ``(n, 3, 224, 224)`` to class tokens ``(n, width)``."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED**2, size.width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, size.width, PATCH, PATCH)})
        self.blocks = nn.Sequential(*(Block(size.width, size.heads) for _ in range(size.depth)))
        self.norm = nn.LayerNorm(size.width, eps=1e-6)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Load official weights, without the token of masked patches, which training alone needs."""
        self.load_state_dict({name: value for name, value in state.items() if name != "mask_token"})
        own, patches = self.pos_embed[:, :1], self.pos_embed[:, 1:].mT.reshape(1, -1, TRAINED, TRAINED)
        scale = (SIDE // PATCH + OFFSET) / TRAINED
        patches = F.interpolate(patches, scale_factor=(scale, scale), mode="bicubic")
        self.pos_embed = nn.Parameter(torch.cat([own, patches.flatten(2).transpose(1, 2)], dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised class token of each image."""
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        normed: Tensor = self.norm(self.blocks(tokens)[:, 0])
        return normed


def load_dinov2(name: str, weights: Path | None, device: str, precision: Precision) -> FeatureNetwork:
    """Load a network of ``SIZES``.

    Raises:
        UserError: weights that cannot be read or downloaded, or those of another network.
    """
    size = SIZES[name]
    url = URL.format(size.weights)
    state = read_state(weights) if weights is not None else fetch_state(url, "DINOv2")
    path = weights or Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    network = VisionTransformer(size)
    try:
        network.load(state)
    except (RuntimeError, AttributeError) as error:
        raise UserError(f"{path} holds no weights of {name} ({size.weights}): {first_line(error)}") from error
    prepare_network(network, device, precision)
    mean, deviation = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, DEVIATION))

    def features(images: Tensor) -> Tensor:
        pixels = resize(images.to(device).float(), SIDE, "pillow")
        normal = (pixels / 255.0 - mean) / deviation
        result: Tensor = network(normal.to(DTYPES[precision])).float()
        return result

    activations = 4 * size.width * (1 + (SIDE // PATCH) ** 2) * 4
    batch = choose_batch_size(activations, device)
    return FeatureNetwork(features, hash_file(path), f"Pillow bicubic antialiased to {SIDE} px", batch)
