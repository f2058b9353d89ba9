"""Network of the tag classifier: a small residual network with one attention head per tag group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence


BATCH = 256
"""Images per batch in inference."""


class ResidualBlock(nn.Module):
    """``relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))``, all 3x3; halves height and width with ``stride`` 2."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels_out)
        self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels_out)
        # A block that starts as the identity trains faster at a high learning rate.
        nn.init.zeros_(self.second_norm.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride != 1 else nn.Identity(),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels_in, h, w)`` to ``(n, channels_out, ceil(h / stride), ceil(w / stride))``."""
        inner = F.relu(self.first_norm(self.first(x)), inplace=True)
        return F.relu(self.second_norm(self.second(inner)) + self.shortcut(x), inplace=True)


class AttentionHead(nn.Module):
    """Classifies from the mean of the feature map and from attention-weighted means of it.

    Average pooling alone loses a tag that shows in a few percent of the image; attention over positions does not.
    """

    def __init__(self, channels: int, classes: int, looks: int, dropout: float) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, looks, 1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(channels * (looks + 1), classes)

    def forward(self, features: Tensor) -> Tensor:
        """``(n, channels, h, w)`` features to ``(n, classes)`` logits."""
        flat = features.flatten(2)
        weights = self.look(features).flatten(2).float().softmax(-1).to(flat.dtype)
        seen = torch.bmm(weights, flat.transpose(1, 2)).flatten(1)
        logits: Tensor = self.classify(self.dropout(torch.cat([seen, flat.mean(-1)], 1)))
        return logits.float()


class TagNetwork(nn.Module):
    """Residual stages at 1/2, 1/4 and 1/8 of the image's size, then one head per tag group."""

    def __init__(self, classes: Sequence[int], *, width: int, depth: int, looks: int, dropout: float) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.stem = nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        channels = width
        for stage, out in enumerate(widths):
            for index in range(depth):
                blocks.append(ResidualBlock(channels, out, 2 if stage and index == 0 else 1))
                channels = out
        self.body = nn.Sequential(*blocks)
        self.heads = nn.ModuleList(AttentionHead(channels, count, looks, dropout) for count in classes)

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(n, 3, h, w)`` in [-1, 1] to one ``(n, classes)`` tensor of logits for each tag group."""
        features = self.body(F.relu(self.stem_norm(self.stem(images)), inplace=True))
        return [head(features) for head in self.heads]


@torch.inference_mode()
def log_probabilities(members: nn.ModuleList, images: Tensor, *, size: int, mirror: bool) -> list[Tensor]:
    """Classify images in batches on the networks' device.

    Args:
        members: networks in evaluation mode whose probabilities are averaged.
        images: ``(n, 3, h, w)`` in [-1, 1], on any device; n may be 0.
        size: side in pixels that the networks were trained at; others are resized to it.
        mirror: also average over each image and its mirror image.

    Returns:
        One ``(n, classes)`` float32 tensor of log-probabilities per group, on the device of ``images``.
    """
    device = next(members.parameters()).device
    parts = []
    for batch in torch.split(images, BATCH):
        shown = batch.to(device, torch.float32)
        if shown.shape[-2:] != (size, size):
            shown = F.interpolate(shown, size=(size, size), mode="bilinear", antialias=True)
        shown = shown.contiguous(memory_format=torch.channels_last)
        with autocast(device):
            views = (shown, shown.flip(-1)) if mirror else (shown,)
            seen = [network(view) for network in members for view in views]
        parts.append([_mean_log_softmax(torch.stack(logits)) for logits in zip(*seen, strict=True)])
    return [torch.cat(group).to(images.device) for group in zip(*parts, strict=True)]


def _mean_log_softmax(logits: Tensor) -> Tensor:
    """Logarithm of the mean probability over the first axis of ``(views, n, classes)``."""
    return logits.log_softmax(-1).logsumexp(0) - math.log(len(logits))


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 autocast where the device has bfloat16 instructions (three times as fast on a CPU with AMX)."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_bf16_supported())
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cpu" and bool(native()))
