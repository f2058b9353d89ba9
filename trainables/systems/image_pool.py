"""The image pool of Shrivastava et al. 2017, which also shows a discriminator a generator's older images (H)."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to ``size`` images; 0 keeps none. Random numbers come from torch's global CPU generator."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: Tensor | None = None
        """``(kept, 3, s, s)``."""

    def exchange(self, images: Tensor) -> Tensor:
        """Return the images to show in place of ``(n, 3, s, s)`` new ones.

        Until the pool is full, every new image is kept and shown. After that, a new image replaces a random older one
        with probability 0.5, and the older one is shown instead.
        """
        if not self.size:
            return images
        old = images[:0] if self.images is None else self.images
        swaps = (torch.rand(len(images)) < 0.5).tolist()
        places = torch.randint(self.size, (len(images),)).tolist()
        kept, shown = list(range(len(old))), []
        for new, swap, place in zip(range(len(old), len(old) + len(images)), swaps, places, strict=True):
            if len(kept) < self.size:
                kept.append(new)
                shown.append(new)
            elif swap:
                shown.append(kept[place])
                kept[place] = new
            else:
                shown.append(new)
        both = torch.cat([old, images])
        self.images = both[kept]
        return both[shown]
