"""Defects of generated images that are visible in their pixels: periodic grids, and saturated values.

``grid_energy`` measures checkerboard artefacts (Odena et al. 2016). Layers that upsample by their stride repeat the
spectrum of their input, so that their artefacts lie at the frequencies of these strides (Zhang et al. 2019): periods of
2 and 4 pixels. First each pixel loses the mean of its surroundings over exactly one period in either direction (the box
of 4 pixels, centred by halving its ends): grids stay as they are, and constants and ramps vanish, which otherwise count
as a jump between opposite borders. The energy is that of the part of the rest that repeats every 4 pixels in both
directions: the variance of the 16 means of the pixels with equal position modulo 4, averaged over the channels. By
Parseval's theorem it is the sum of the squared Fourier coefficients at the multiples of a quarter of the sampling
frequency, except the mean. Sharp edges have a little, 5 / 4 (step / height)^2 from border to border wherever they are,
and white noise of variance v about 15 v / (height * width). The score is the mean over generated images, divided by
that over the real ones.

``saturated`` is the share of values (of every pixel and channel) at either end of the range, 0 or 255.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from trainables.data.tensors import as_tensor
from trainables.scoring.metrics.estimate import Estimate
from trainables.storage.cached_arrays import cached_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from trainables.data.dataset import TaggedImages

GRID_ENERGY: Final = "grid_energy"
SATURATED: Final = "saturated"
PERIOD: Final = 4
"""Pixels; patterns of period 2 repeat at it, too."""
_BATCH: Final = 64


@dataclass(frozen=True)
class PixelReference:
    """Means over the real images: energy of the grid, in squared steps of 1/255, and share of saturated values."""

    grid_energy: float
    saturated: float

    @property
    def floor(self) -> dict[str, float]:
        """Scores of the real images themselves."""
        return {GRID_ENERGY: 1.0, SATURATED: self.saturated}


def grid_energies(images: Tensor) -> Tensor:
    """Compute the energy at periods of 2 and 4 pixels of uint8 images ``(n, c, h, w)``: ``(n,)`` float64.

    Two pixels at each border have no surroundings and are left out, as are rows and columns beyond a multiple of 4. NaN
    for images of fewer than 8 pixels a side.
    """
    if min(images.shape[2:]) < 2 * PERIOD:
        return torch.full((len(images),), math.nan, dtype=torch.float64)
    pixels = images.float()
    surroundings = avg_pool2d(avg_pool2d(pixels, PERIOD, stride=1), 2, stride=1)
    border = PERIOD // 2
    rest = pixels[:, :, border:-border, border:-border] - surroundings
    height, width = (side // PERIOD for side in rest.shape[2:])
    cut = rest[:, :, : height * PERIOD, : width * PERIOD]
    means = cut.reshape(*images.shape[:2], height, PERIOD, width, PERIOD).mean(dim=(2, 4))
    return means.double().flatten(2).var(dim=2, correction=0).mean(dim=1)


def saturated_shares(images: Tensor) -> Tensor:
    """Compute the share of values at 0 or 255 of uint8 images ``(n, c, h, w)``: ``(n,)`` float64."""
    return ((images == 0) | (images == 255)).double().mean(dim=(1, 2, 3))


def measure_pixels(images: TaggedImages, cache: Path) -> PixelReference:
    """Measure all fully tagged real images; the result is cached."""
    measured = f"{images.fingerprint} {images.size} {PERIOD} without surroundings"
    path = cache / f"pixels-{hashlib.sha256(measured.encode()).hexdigest()[:16]}.npz"

    def measure() -> dict[str, NDArray[Any]]:
        sums = np.zeros(2)
        for start in range(0, images.complete, _BATCH):
            batch = as_tensor(images.pixels[start : min(start + _BATCH, images.complete)]).permute(0, 3, 1, 2)
            sums += [float(grid_energies(batch).sum()), float(saturated_shares(batch).sum())]
        return {"means": sums / images.complete}

    return PixelReference(*cached_arrays(path, ["means"], measure)["means"].tolist())


@dataclass(frozen=True, eq=False)
class PixelCounter:
    """Measures generated images, batch by batch; does nothing without a reference."""

    reference: PixelReference | None
    energies: list[Tensor] = field(default_factory=list)
    shares: list[Tensor] = field(default_factory=list)

    def add(self, images: Tensor) -> None:
        """Measure uint8 images ``(n, c, h, w)``."""
        if self.reference:
            self.energies.append(grid_energies(images).cpu())
            self.shares.append(saturated_shares(images).cpu())

    def estimates(self) -> dict[str, Estimate]:
        """``grid_energy`` and ``saturated``; the former is NaN if the real images have no such energy."""
        if not (self.reference and self.energies):
            return {}
        return pixel_estimates(torch.cat(self.energies).numpy(), torch.cat(self.shares).numpy(), self.reference)


def pixel_estimates(
    energies: NDArray[np.float64], shares: NDArray[np.float64], reference: PixelReference
) -> dict[str, Estimate]:
    """Estimate the scores from the measurements ``(n,)`` of single images; the reference counts as known."""
    real, count = reference.grid_energy or math.nan, len(energies)
    error = float(shares.std(ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    grid_error = float(energies.std(ddof=1)) / real / math.sqrt(count) if count > 1 else math.nan
    return {
        GRID_ENERGY: Estimate(float(energies.mean()) / real, grid_error, count, lowest=0.0),
        SATURATED: Estimate(float(shares.mean()), error, count, share=True),
    }
