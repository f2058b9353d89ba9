"""A folder of tagged pictures -> one uint8 array, labels, and a full account of what was wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.data.defects import Defect
from trainables.data.folder import DataFolder, scan_folder
from trainables.data.images import METHOD
from trainables.data.pixel_cache import DecodedFiles, decode_files
from trainables.data.readers import TagRow
from trainables.data.selection import Selection
from trainables.data.tags import UNKNOWN, Vocabulary
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Called with (files decoded, files in all)."""

SIZES: Final = (4, 1024)
"""Smallest and largest side, in pixels, that pictures are resized to."""
ALL: Final = Selection()
"""Every picture, with every tag."""
_LOOK: Final = "`gansweep data inspect` lists every one"


@dataclass(frozen=True)
class TaggedImages:
    """Pictures with their tags, completely tagged ones first.

    Attributes:
        vocabulary: what the labels mean.
        pixels: ``(n, size, size, 3)`` RGB, maybe a read-only memory map.
        labels: ``(n, tag groups)`` class indices, ``UNKNOWN`` where a tag is missing or unusable.
        ids: file stems, ``n`` of them.
        complete: the first ``complete`` pictures have every tag; the others lack one or more.
        fingerprint: 16 hex digits that change with any picture's content, label, the size, vocabulary or targets.
        defects: everything that was wrong with the folder.
        targets: names of the tag groups that a translation changes; none means all.
    """

    vocabulary: Vocabulary
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    complete: int
    fingerprint: str
    defects: tuple[Defect, ...] = ()
    targets: tuple[str, ...] = ()

    @property
    def target_places(self) -> tuple[int, ...]:
        """Positions of the tag groups that a translation changes."""
        return tuple(self.vocabulary.index(name) for name in self.targets or self.vocabulary.names)

    @property
    def size(self) -> int:
        """Side of the pictures in pixels."""
        return int(self.pixels.shape[1])

    def __len__(self) -> int:
        return len(self.ids)

    def counts(self, group: str) -> NDArray[np.int64]:
        """``(classes,)``: pictures of each class of a tag group, whatever their other tags."""
        place = self.vocabulary.index(group)
        known = self.labels[:, place][self.labels[:, place] != UNKNOWN]
        return np.bincount(known, minlength=self.vocabulary.sizes[place]).astype(np.int64)


@dataclass(frozen=True)
class LoadedFolder:
    """A folder as it is, before anything is refused.

    ``picture_sizes`` has the original (width, height) of each of ``images``; ``bad`` are the unusable files: those
    that gave no picture and the tag rows that have none, but for those of an attribute list. ``files`` counts both the
    picture files and those rows. ``unselected`` counts picture files outside the selection; ``attributes`` are those of
    an attribute list of which none were chosen.
    """

    path: Path
    images: TaggedImages
    picture_sizes: tuple[tuple[int, int], ...]
    tag_files: tuple[str, ...]
    bad: tuple[Defect, ...]
    files: int
    unselected: int = 0
    attributes: tuple[str, ...] = ()

    def refusal(self, max_bad_share: float) -> str | None:
        """Why no run should start on this folder, or ``None``."""
        where = f"data folder {self.path}"
        if not self.tag_files:
            return (
                f"{where} has no tag file at its top (a .csv or .txt with lines '7,{self._example}') and no pictures "
                f"in subfolders A and B; {_LOOK}"
            )
        if self.attributes:
            some = ",".join(self.attributes[:2])
            return (
                f"{where} has a list of {len(self.attributes)} attributes; choose, for instance --attributes {some}, "
                f"from: {', '.join(self.attributes)}"
            )
        share = len(self.bad) / self.files
        if share > max_bad_share:
            first = ", ".join(f"{defect.name} ({defect.kind})" for defect in self.bad[:3])
            return (
                f"{where}: {len(self.bad)} of {self.files} files are bad ({share:.1%}, allowed are "
                f"{max_bad_share:.1%}): {first}{', ...' if len(self.bad) > 3 else ''}; {_LOOK}"
            )
        if not self.images.complete:
            groups = " and ".join(self.images.vocabulary.names)
            return f"{where} has no picture with complete tags ({groups}) among {len(self.images)}; {_LOOK}"
        return None

    @property
    def _example(self) -> str:
        return self.images.vocabulary.describe((0,) * len(self.images.vocabulary.groups))


def load_folder(
    folder: Path,
    size: int,
    *,
    selection: Selection = ALL,
    cache: Path | None = None,
    max_bad_share: float = 0.05,
    progress: Progress | None = None,
) -> TaggedImages:
    """Load a folder of tagged pictures for training.

    Args:
        folder: pictures anywhere below it, tag files or an attribute list and an optional ``vocabulary.json`` at its
            top; or without those, pictures in subfolders ``A`` and ``B``.
        size: side to which the centre square of every picture is resized.
        selection: part of the pictures and of their tags.
        cache: folder in which decoded pixels are kept; without one, they are decoded into memory each time.
        max_bad_share: share of bad files (no readable picture, or tags without a picture) that is put up with.
        progress: called with (files decoded, files in all) while decoding.

    Raises:
        UsageError: an impossible size or share, or a selection that the folder's tags do not allow.
        UserError: nothing to train on, or more bad files than ``max_bad_share``.
    """
    if not 0.0 <= max_bad_share <= 1.0:
        raise UsageError(f"share of bad files {max_bad_share} is impossible; allowed is 0 to 1")
    loaded = read_folder(folder, size, selection=selection, cache=cache, progress=progress)
    if refusal := loaded.refusal(max_bad_share):
        raise UserError(refusal)
    return loaded.images


def read_folder(
    folder: Path,
    size: int,
    *,
    selection: Selection = ALL,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> LoadedFolder:
    """Read a folder whatever its defects.

    Raises:
        UsageError: an impossible size, or a selection that the folder's tags do not allow.
        UserError: it has no pictures or unreadable tag files.
    """
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"picture size {size} is impossible; allowed are {SIZES[0]} to {SIZES[1]} pixels")
    everything = scan_folder(folder)
    found, targets = selection.apply(everything)
    untagged = (UNKNOWN,) * len(found.vocabulary.groups)
    rows = [found.tags.get(name, TagRow(name, untagged)) for name in found.pictures]
    rows.sort(key=lambda row: UNKNOWN in row.labels)  # stable: natural order within either half
    decoded = decode_files(folder, [found.pictures[row.id] for row in rows], size, cache, progress)
    bad = (
        *(
            Defect(str(outcome[0]), found.pictures[row.id].relative_to(folder).as_posix(), str(outcome[1]))
            for row, outcome, good in zip(rows, decoded.outcomes, decoded.good, strict=True)
            if not good
        ),
    )
    orphans = tuple(Defect("tags without picture", name) for name in found.orphans)
    if not everything.attributes:  # such a list is of a whole data set, and part of its pictures is no damage
        bad = (*bad, *orphans)
    untold = tuple(Defect("picture without tags", name) for name in found.pictures if name not in found.tags)
    return LoadedFolder(
        folder,
        _assemble(found, targets, rows, decoded, (*dict.fromkeys((*bad, *orphans)), *untold, *found.defects)),
        tuple((int(outcome[0]), int(outcome[1])) for outcome in decoded.outcomes if isinstance(outcome[0], int)),
        found.tag_files,
        bad,
        len(rows) + (0 if everything.attributes else len(orphans)),
        len(everything.pictures) - len(rows),
        found.attributes if selection == ALL else (),
    )


def _assemble(
    found: DataFolder,
    targets: tuple[str, ...],
    rows: list[TagRow],
    decoded: DecodedFiles,
    defects: tuple[Defect, ...],
) -> TaggedImages:
    good = np.flatnonzero(decoded.good)
    labels = np.array([rows[place].labels for place in good], dtype=np.int64)
    labels = labels.reshape(len(good), len(found.vocabulary.groups))
    size = decoded.pixels.shape[1]
    content = hashlib.sha256(f"{METHOD} {size} {found.vocabulary.hash} ".encode())
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
