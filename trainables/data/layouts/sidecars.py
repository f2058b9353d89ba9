"""A file of tags beside each image: ``0001.txt`` or ``0001.caption``, as training scripts and taggers keep them."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from trainables.data.archives.matching import without_suffix
from trainables.data.defects import Defect
from trainables.data.discovery.column_kinds import split_tags
from trainables.data.discovery.rows import RawLabels, RawRow
from trainables.data.layouts.base import LabelledSource, labelled
from trainables.data.tag_files.readers import decode_text
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from trainables.data.archives.listing import Listing
    from trainables.data.tags import Vocabulary

SUFFIXES: Final = (".txt", ".caption", ".tags")


class Sidecars:
    """Tags in the first line, which commas separate."""

    name = "sidecar captions"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read the file beside each image; at least half of the images must have one."""
        beside = {without_suffix(name): name for name in reversed(listing.images)}
        names = [name for name in listing.others(*SUFFIXES) if PurePosixPath(name).with_suffix("").as_posix() in beside]
        stems = {PurePosixPath(name).with_suffix("").as_posix() for name in names}
        if not names or 2 * len(stems) < len(beside):
            return None
        tags: dict[str, tuple[str, ...]] = {}
        defects = []
        for name in names:
            try:
                text = decode_text(listing.read(name), listing.place(name))
            except UserError as error:
                defects.append(Defect("unreadable captions", name, first_line(error)))
                continue
            line = next((line for line in text.splitlines() if line.strip()), "")
            image = beside[PurePosixPath(name).with_suffix("").as_posix()]
            tags[image] = tuple(dict.fromkeys((*tags.get(image, ()), *split_tags(line))))
        kinds = Counter(PurePosixPath(name).suffix for name in names)
        shown = [f"*{suffix} ({count})" for suffix, count in kinds.items()]
        labels = RawLabels(tuple(RawRow(image, tags=found) for image, found in tags.items()), defects=tuple(defects))
        return labelled(self.name, listing, labels, vocabulary, shown, used=names)
