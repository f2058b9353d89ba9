"""Resizes of the FID tools as two matrix products.

Each of these resizes is linear and separable, so its matrix is the reference implementation applied to unit impulses.
The product equals the reference up to float32 rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

Resize = Literal["tf1", "pytorch", "clean", "antialias", "pillow"]


def resize(pixels: Tensor, size: int, kind: Resize) -> Tensor:
    """Images ``(n, c, h, w)`` float -> ``(n, c, size, size)``; a side of that length is unchanged.

    Args:
        pixels: grey levels in [0, 255].
        size: height and width of the result.
        kind: ``tf1``: bilinear without half-pixel centres, as the original FID (torch-fidelity, torchmetrics).
            ``pytorch``: bilinear with half-pixel centres, not antialiased, as pytorch-fid.
            ``clean``: Pillow's antialiased bicubic on floats, clipped to [0, 255], as clean-fid (Parmar et al. 2022).
            ``antialias``: torch's antialiased bilinear.
            ``pillow``: Pillow's antialiased bicubic on bytes, which rounds and clips after each direction.
    """
    if kind == "pillow":
        for _ in range(2):  # Pillow begins with the width
            pixels = pixels @ _matrix(kind, pixels.shape[-1], size, pixels.device).T
            pixels = (pixels + 0.5).floor().clamp(0.0, 255.0).mT
        return pixels
    height, width = pixels.shape[-2:]
    if height != size:
        pixels = _matrix(kind, height, size, pixels.device) @ pixels
    if width != size:
        pixels = pixels @ _matrix(kind, width, size, pixels.device).T
    return pixels.clamp(0.0, 255.0) if kind == "clean" else pixels


@lru_cache(maxsize=16)
def _matrix(kind: Resize, length: int, size: int, device: torch.device) -> Tensor:
    return _REFERENCES[kind](length, size).contiguous().to(device)


def _tf1(length: int, size: int) -> Tensor:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    resized = interpolate_bilinear_2d_like_tensorflow1x(_impulses(length), (size, length), align_corners=False)
    return cast("Tensor", resized)[0, 0]


def _pytorch(length: int, size: int) -> Tensor:
    return F.interpolate(_impulses(length), (size, length), mode="bilinear", align_corners=False)[0, 0]


def _antialias(length: int, size: int) -> Tensor:
    return F.interpolate(_impulses(length), (size, length), mode="bilinear", align_corners=False, antialias=True)[0, 0]


def _clean(length: int, size: int) -> Tensor:
    impulses = Image.fromarray(np.eye(length, dtype=np.float32))
    return torch.from_numpy(np.array(impulses.resize((length, size), Image.Resampling.BICUBIC)))


def _impulses(length: int) -> Tensor:
    """An identity matrix as an image, of which only the height is resized.

    It has three channels like the images, because torch rounds coordinates differently for one channel.
    """
    return torch.eye(length).repeat(1, 3, 1, 1)


_REFERENCES: dict[Resize, Callable[[int, int], Tensor]] = {
    "tf1": _tf1,
    "pytorch": _pytorch,
    "clean": _clean,
    "antialias": _antialias,
    "pillow": _clean,
}
