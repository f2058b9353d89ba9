"""Images between uint8 arrays and float tensors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages


def as_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor on the array's own memory, which may be read-only or shared by many trials: never write to it."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


class HostPixels:
    """Pixels ``(n, s, s, channels)`` in host memory or a memory map, of which batches are copied to the device.

    Indexing is that of the tensor on the device, bit for bit.
    """

    def __init__(self, pixels: NDArray[np.uint8], device: str) -> None:
        self.pixels, self.device = pixels, torch.device(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """The images at ``chosen``, ``(k,)`` indices on any device -> ``(k, s, s, channels)`` uint8 on the device."""
        batch = torch.from_numpy(np.asarray(self.pixels[chosen.cpu().numpy()]))
        if self.device.type != "cuda":
            return batch
        return batch.pin_memory().to(self.device, non_blocking=True)


def as_rgb(images: Tensor) -> Tensor:
    """Images ``(n, 3, s, s)`` as they are, and ``(n, 1, s, s)`` with the grey channel three times."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def to_uint8(images: Tensor) -> Tensor:
    """Images in [-1, 1], values outside cut -> uint8, same shape."""
    import torch

    return images.float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)


def in_range(images: TaggedImages, places: NDArray[np.int64], device: str) -> Tensor:
    """The images at these places, ``(n, channels, s, s)`` in [-1, 1]."""
    pixels = torch.from_numpy(np.asarray(images.pixels[places])).to(device)
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
