"""Where a sweep keeps the decoded pixels: on the training device, in memory, or in the memory-mapped cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from trainables.config import PixelPlace
    from trainables.data.dataset import TaggedImages

GIB: Final = 2**30
MEMORY_SHARE: Final = 0.25
"""Share of the free memory above which pixels stay on disk; sending them to the workers takes twice their size."""
DEVICE_SHARE: Final = 0.25
"""Share of a GPU's memory above which pixels stay in host memory."""
_WHERE: Final = {
    "auto": "on the GPU if they take at most {:.0%} of its memory, else gathered from host memory",
    "device": "one tensor on the training device",
    "memory": "batches are gathered from host memory",
    "disk": "batches are gathered from the memory-mapped cache",
}


def gathers_batches(place: PixelPlace, image_bytes: int, gpu_bytes: int | None) -> bool:
    """Whether a trial gathers its batches in host memory instead of keeping all pixels on its device.

    Args:
        place: where the pixels are kept; auto decides by size.
        image_bytes: size of all pixels.
        gpu_bytes: memory of the GPU; ``None`` on a CPU, where one tensor on the device costs no copy.
    """
    if place == "auto":
        return gpu_bytes is not None and image_bytes > DEVICE_SHARE * gpu_bytes
    return place != "device"


def place_pixels(images: TaggedImages, place: PixelPlace, *, local: bool) -> tuple[TaggedImages, PixelPlace]:
    """Decide whether the pixels of a sweep stay on disk.

    Args:
        images: the data.
        place: as requested; auto becomes disk for large data if the trials run on this machine.
        local: whether the trials run on this machine; other nodes may not have the cache.

    Returns:
        The images, which workers open by path if they stay on disk, and the place; auto if trials decide by their GPU.

    Raises:
        UserError: disk is requested for images that are not in a memory-mapped file.
    """
    large = images.pixels.nbytes > MEMORY_SHARE * psutil.virtual_memory().available
    if place == "disk" or (place == "auto" and large and local and images.mapped_file is not None):
        return images.opened_by_path(), "disk"
    return images, place


def describe_place(place: PixelPlace, image_bytes: int, *, gpus: bool) -> str:
    """Say in one line where the pixels are kept."""
    decided = "device" if place == "auto" and not gpus else place
    where = _WHERE[decided].format(DEVICE_SHARE)
    return f"pixels: {image_bytes / GIB:.2f} GiB, {where} (--pixels {decided})"
