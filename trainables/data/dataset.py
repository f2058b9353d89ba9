"""A folder of tagged images -> one uint8 array, labels, and a full account of what was wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.data.defects import Defect
from trainables.data.folder import DataFolder, scan_folder
from trainables.data.images import PixelFormat
from trainables.data.known_folder import KnownFolder
from trainables.data.pixel_cache import DecodedFiles, decode_files
from trainables.data.selection import Selection
from trainables.data.tag_files.readers import TagRow
from trainables.data.tagged_images import ORPHAN, LoadedFolder, TaggedImages
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from trainables.config import Channels, Fit

__all__ = ["ALL", "SIZES", "LoadedFolder", "Progress", "TaggedImages", "load_folder", "read_folder"]

Progress = Callable[[int, int], None]
"""Called with (files decoded, files in all)."""

SIZES: Final = (4, 1024)
"""Smallest and largest side, in pixels, that images are resized to."""
ALL: Final = Selection()
"""Every image, with every tag."""
_LOOK: Final = "`gansweep data inspect` shows what is there"


def load_folder(
    folder: Path,
    size: int,
    *,
    selection: Selection = ALL,
    cache: Path | None = None,
    max_bad_share: float = 0.05,
    progress: Progress | None = None,
    fit: Fit = "crop",
    channels: Channels = 3,
) -> TaggedImages:
    """Load a folder of tagged images for training.

    Args:
        folder: images anywhere below it, tag files or an attribute list and an optional ``vocabulary.json`` at its
            top; or without those, images in subfolders ``A`` and ``B``.
        size: side to which every image is resized.
        selection: part of the images and of their tags.
        cache: folder in which decoded pixels are kept; without one, they are decoded into memory each time.
        max_bad_share: share of bad files (no readable image, or tags without an image) that is put up with.
        progress: called with (files decoded, files in all) while decoding.
        fit: how images become square.
        channels: 3 for RGB, 1 for grey; images of the other kind are converted.

    Raises:
        UsageError: an impossible size or share, or a selection that the folder's tags do not allow.
        UserError: nothing to train on, or more bad files than ``max_bad_share``.
    """
    if not 0.0 <= max_bad_share <= 1.0:
        raise UsageError(f"share of bad files {max_bad_share} is impossible; allowed is 0 to 1")
    loaded = read_folder(folder, size, selection=selection, cache=cache, progress=progress, fit=fit, channels=channels)
    if refusal := loaded.refusal(max_bad_share):
        raise UserError(f"{refusal}; {_LOOK}")
    return loaded.images


def read_folder(
    folder: Path,
    size: int,
    *,
    selection: Selection = ALL,
    cache: Path | None = None,
    progress: Progress | None = None,
    fit: Fit = "crop",
    channels: Channels = 3,
) -> LoadedFolder:
    """Read a folder whatever its defects.

    Raises:
        UsageError: an impossible size, or a selection that the folder's tags do not allow.
        UserError: it has no images or unreadable tag files.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"image size {size} is impossible; allowed are {SIZES[0]} to {SIZES[1]} pixels")
    target = PixelFormat(size, fit, channels)
    if cache is None:
        return _read(folder, target, selection, None, progress)
    known = KnownFolder.of(folder, cache, target, selection)
    if loaded := known.load():
        return loaded
    loaded = _read(folder, target, selection, cache, progress)
    known.save(loaded)
    return loaded


def _read(
    folder: Path, target: PixelFormat, selection: Selection, cache: Path | None, progress: Progress | None
) -> LoadedFolder:
    everything = scan_folder(folder)
    found, targets = selection.apply(everything)
    names = found.names or {}
    untagged = (UNKNOWN,) * len(found.vocabulary.groups)
    rows = [found.tags.get(name, TagRow(name, untagged)) for name in found.images]
    rows.sort(key=lambda row: UNKNOWN in row.labels)  # stable: natural order within either half
    decoded = decode_files(folder, [found.images[row.id] for row in rows], target, cache, progress)
    bad = (
        *(
            Defect(str(outcome[0]), names[row.id], str(outcome[1]))
            for row, outcome, good in zip(rows, decoded.outcomes, decoded.good, strict=True)
            if not good
        ),
        *everything.lost,
    )
    orphans = tuple(Defect(ORPHAN, name) for name in found.orphans)
    if not everything.larger:
        bad = (*bad, *orphans)
    untold = tuple(Defect("image without tags", name) for name in found.images if name not in found.tags)
    return LoadedFolder(
        path=folder,
        images=_assemble(
            found,
            targets,
            rows,
            decoded,
            (*dict.fromkeys((*bad, *orphans)), *untold, *found.defects),
            target,
        ),
        image_sizes=tuple(outcome for outcome in decoded.outcomes if len(outcome) == 3),
        tag_files=found.tag_files,
        bad=bad,
        files=len(rows) + len(everything.lost) + (0 if everything.larger else len(orphans)),
        unselected=len(everything.images) - len(rows),
        attributes=everything.attributes if selection == ALL else (),
        layout=found.layout,
        left_out=found.left_out,
        refusals=everything.refusals,
        fit=target.fit,
    )


def _assemble(
    found: DataFolder,
    targets: tuple[str, ...],
    rows: list[TagRow],
    decoded: DecodedFiles,
    defects: tuple[Defect, ...],
    target: PixelFormat,
) -> TaggedImages:
    good = np.flatnonzero(decoded.good)
    labels = np.array([rows[place].labels for place in good], dtype=np.int64)
    labels = labels.reshape(len(good), len(found.vocabulary.groups))
    content = hashlib.sha256(f"{target.method} {target.size} {found.vocabulary.hash} ".encode())
    content.update(" ".join(decoded.hashes[place] for place in good).encode())
    content.update(labels.astype("<i8").tobytes())
    content.update(" ".join(targets).encode())
    return TaggedImages(
        vocabulary=found.vocabulary,
        pixels=decoded.pixels,
        labels=labels,
        ids=tuple(rows[place].id for place in good),
        complete=int((labels != UNKNOWN).all(axis=1).sum()),
        fingerprint=content.hexdigest()[:16],
        defects=defects,
        targets=targets,
    )
