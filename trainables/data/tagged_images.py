"""Tagged images, and all that was found in the folder that they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainables.data.pixel_cache import map_pixels
from trainables.data.tags import UNKNOWN, Vocabulary, combinations
from trainables.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainables.config import Fit
    from trainables.data.defects import Defect
    from trainables.data.discovery.rows import LeftOut

ORPHAN: Final = "tags without image"
"""Kind of the defect of a row whose id is of no image."""


@dataclass(frozen=True)
class TaggedImages:
    """Images with their tags, completely tagged ones first.

    Attributes:
        vocabulary: what the labels mean.
        pixels: ``(n, size, size, channels)`` RGB or grey, maybe a read-only memory map.
        labels: ``(n, tag groups)`` class indices, ``UNKNOWN`` where a tag is missing or unusable.
        ids: file stems, ``n`` of them.
        complete: the first ``complete`` images have every tag; the others lack one or more.
        fingerprint: 16 hex digits that change with any image's content, label, the size, vocabulary or targets.
        defects: everything that was wrong with the folder.
        targets: names of the tag groups that a translation changes; none means all.
        by_path: pickle the path of the memory-mapped file instead of the pixels; unpickling opens it again.
    """

    vocabulary: Vocabulary
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: tuple[str, ...]
    complete: int
    fingerprint: str
    defects: tuple[Defect, ...] = ()
    targets: tuple[str, ...] = ()
    by_path: bool = False

    @property
    def mapped_file(self) -> Path | None:
        """The ``.npy`` file whose memory map ``pixels`` is; ``None`` for pixels in memory."""
        return Path(self.pixels.filename) if isinstance(self.pixels, np.memmap) and self.pixels.filename else None

    @property
    def pickled_bytes(self) -> int:
        """Bytes of the pixels that every copy sent to another process holds."""
        return 0 if self.by_path else self.pixels.nbytes

    def opened_by_path(self) -> TaggedImages:
        """Return these images, which other processes open by the path of their file.

        Raises:
            UserError: the pixels are not in a file.
        """
        if self.mapped_file is None:
            raise UserError("the pixels are in memory and not in a file, so no other process can open them by path")
        return replace(self, by_path=True)

    def __getstate__(self) -> dict[str, Any]:
        # NumPy pickles arrays without a copy, but not memory maps.
        pixels = (self.mapped_file, self.pixels.shape) if self.by_path else np.asarray(self.pixels)
        return {**self.__dict__, "pixels": pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["by_path"]:
            state = {**state, "pixels": map_pixels(*state["pixels"])}
        self.__dict__.update(state)

    @property
    def target_places(self) -> tuple[int, ...]:
        """Positions of the tag groups that a translation changes."""
        return tuple(self.vocabulary.index(name) for name in self.targets or self.vocabulary.names)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """3 for RGB, 1 for grey."""
        return int(self.pixels.shape[3])

    @property
    def shape_params(self) -> dict[str, int]:
        """The parameters of a configuration that the images decide."""
        return {"image_size": self.size, "channels": self.channels}

    def __len__(self) -> int:
        return len(self.ids)

    def pairs(self, encoding: str) -> tuple[tuple[int, ...], ...]:
        """The combinations of tags that occur, if networks have a column for each (``tags.encoding`` is pairs)."""
        return combinations(self.labels[: self.complete]) if encoding == "pairs" else ()

    def counts(self, group: str) -> NDArray[np.int64]:
        """``(classes,)``: images of each class of a tag group, whatever their other tags."""
        place = self.vocabulary.index(group)
        known = self.labels[:, place][self.labels[:, place] != UNKNOWN]
        return np.bincount(known, minlength=self.vocabulary.sizes[place]).astype(np.int64)


@dataclass(frozen=True)
class LoadedFolder:
    """A folder as it is, before anything is refused.

    ``image_sizes`` has the original (width, height, channels) of each of ``images``; ``bad`` are the unusable files:
    those that gave no image and the tag rows that have none, but for those of an attribute list. ``files`` counts both
    the image files and those rows. ``unselected`` counts image files outside the selection; ``attributes`` are those of
    an attribute list of which none were chosen. ``refusals`` say why files that seemed to be labels gave none.
    """

    path: Path
    images: TaggedImages
    image_sizes: tuple[tuple[int, int, int], ...]
    tag_files: tuple[str, ...]
    bad: tuple[Defect, ...]
    files: int
    unselected: int = 0
    attributes: tuple[str, ...] = ()
    layout: str = ""
    left_out: tuple[LeftOut, ...] = ()
    refusals: tuple[str, ...] = ()
    fit: Fit = "crop"

    def refusal(self, max_bad_share: float) -> str | None:
        """Why no run should start on this folder, or ``None``."""
        where = f"data folder {self.path}"
        if not self.tag_files:
            return f"{where} has no labels: {'; '.join(self.refusals[:2]) or self._no_layout}"
        if self._foreign_ids:
            row, image = self._foreign_ids[0].name, self.images.ids[0]
            return (
                f"{where}: none of the {len(self._foreign_ids)} ids of {', '.join(self.tag_files[:3])} is of an image; "
                f"an id is for instance {row!r}, an image {image!r}: an id is the image's path below the folder, or "
                "the end of it"
            )
        share = len(self.bad) / self.files
        if share > max_bad_share:
            first = ", ".join(f"{defect.name} ({defect.kind})" for defect in self.bad[:3])
            return (
                f"{where}: {len(self.bad)} of {self.files} files are bad ({share:.1%}, allowed are "
                f"{max_bad_share:.1%}): {first}{', ...' if len(self.bad) > 3 else ''}"
            )
        if not self.images.complete:
            groups = " and ".join(self.images.vocabulary.names)
            ignored = [f"{one.name} ({one.detail})" for one in self.images.defects if one.kind == "ignored file"]
            beside = f"; ignored: {', '.join(ignored[:3])}" if ignored else ""
            return f"{where} has no image with complete tags ({groups}) among {len(self.images)}{beside}"
        return None

    @property
    def _foreign_ids(self) -> list[Defect]:
        """Labels without an image, where every label is one."""
        orphans = [defect for defect in self.bad if defect.kind == ORPHAN]
        return orphans if len(self.images) and not (self.images.labels != UNKNOWN).any() else []

    @property
    def _no_layout(self) -> str:
        others = [one.name for one in self.images.defects if one.kind == "ignored file"]
        unused = f"; not used: {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}" if others else ""
        return (
            "expected two or more class folders (cat/1.png, dog/2.png), a table with a header such as image,label, "
            f"captions beside the images, or another layout of the documentation's page on data layouts{unused}"
        )
