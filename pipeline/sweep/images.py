"""Load the images of a sweep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeline.console import time_left
from pipeline.sweep.data_checks import require_selection, require_targets, untrainable_images
from trainables.config import GanConfig
from trainables.data.addresses import local_data
from trainables.data.dataset import load_folder
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.sweep.resolve import DataSource
    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages


def decoding_progress(update: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return a function that passes the images decoded so far, and an estimate, to ``update``."""
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        left = time_left(time.monotonic() - began, done / max(total, 1))
        update(f"images: {done:,} of {total:,} decoded{left}")

    return progress


def load_images(
    data: DataSource, space: Space, cache: Path, progress: Callable[[int, int], None] | None = None
) -> TaggedImages:
    """Load the part of the images that a sweep trains on.

    Args:
        data: folder and selection.
        space: searched space.
        cache: folder of decoded images.
        progress: called with (images decoded, images in all).

    Raises:
        UsageError: a selection that does not fit the space.
        UserError: images that cannot be read, or too few of them.
    """
    require_selection(space, data.selection)
    images = load_folder(
        local_data(data.folder, cache),
        data.image_size,
        selection=data.selection,
        cache=cache,
        max_bad_share=data.max_bad_share,
        progress=progress,
        fit=data.fit,
        channels=data.channels,
    )
    conditional = GanConfig.from_params(space.recipe).conditional
    if refusal := untrainable_images(images, data.folder, conditional=conditional):
        raise UserError(refusal)
    require_targets(space, images)
    return images
