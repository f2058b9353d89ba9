"""The image pool of Shrivastava et al. 2017, by which a discriminator also sees a generator's older pictures (H)."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """Keeps up to ``size`` pictures; 0 keeps none. Random numbers come from torch's generator of the CPU."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pictures: Tensor | None = None
        """``(kept, 3, s, s)``."""

    def exchange(self, pictures: Tensor) -> Tensor:
        """Pictures to show in place of ``(n, 3, s, s)`` new ones, one after the other.

        Until the pool is full, a new picture is kept and shown. Then every second one, by chance, is kept in the place
        of a random older one, which is shown instead.
        """
        if not self.size:
            return pictures
        old = pictures[:0] if self.pictures is None else self.pictures
        swaps = (torch.rand(len(pictures)) < 0.5).tolist()
        places = torch.randint(self.size, (len(pictures),)).tolist()
        kept, shown = list(range(len(old))), []
        for new, swap, place in zip(range(len(old), len(old) + len(pictures)), swaps, places, strict=True):
            if len(kept) < self.size:
                kept.append(new)
                shown.append(new)
            elif swap:
                shown.append(kept[place])
                kept[place] = new
            else:
                shown.append(new)
        both = torch.cat([old, pictures])
        self.pictures = both[kept]
        return both[shown]
