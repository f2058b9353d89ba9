"""WebDataset: files of one sample share a name up to its first dot; ``cls`` is a class number, ``json`` has fields."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from trainables.data.defects import Defect
from trainables.data.discovery.columns import CLASS
from trainables.data.layouts.base import LabelledSource, UnusableLabelsError, column_labels, labelled
from trainables.data.tag_files.readers import decode_text
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from trainables.data.archives.listing import Listing
    from trainables.data.discovery.columns import Record
    from trainables.data.tags import Vocabulary

_FIELDS: Final = (".cls", ".json", ".txt", ".caption")
_TEXT: Final = "tags"


class WebDataset:
    """Samples with a class number or fields beside the image, in tars or as files."""

    name = "WebDataset"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read the fields of each image; at least half of the images must have a number or fields."""
        images: dict[str, list[str]] = {}
        for name in listing.images:
            images.setdefault(_key(name), []).append(name)
        parts = [name for name in listing.others(*_FIELDS) if _key(name) in images]
        told = {_key(name) for name in parts if PurePosixPath(name).suffix in {".cls", ".json"}}
        if not told or 2 * len(told) < len(images):
            return None
        cells: dict[str, dict[str, Any]] = {}
        defects = []
        for name in parts:
            try:
                cells.setdefault(_key(name), {}).update(_fields(listing, name))
            except UserError as error:
                defects.append(Defect("unreadable row", name, first_line(error)))
        records: list[Record] = [(name, fields) for key, fields in cells.items() for name in images[key]]
        labels = column_labels(records, vocabulary, listing.place(parts[0]), defects)
        kinds = Counter(PurePosixPath(name).suffix for name in parts)
        shown = [f"*{suffix} ({count})" for suffix, count in kinds.items()]
        return labelled(self.name, listing, labels, vocabulary, shown, used=parts)


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _fields(listing: Listing, name: str) -> dict[str, Any]:
    """Fields of one file of a sample.

    Raises:
        UserError: it is no text, no number, or no JSON object.
    """
    text = decode_text(listing.read(name), listing.place(name)).strip()
    suffix = PurePosixPath(name).suffix
    if suffix == ".cls":
        if not text.isdecimal() or len(text) > 9:
            raise UnusableLabelsError(f"{text[:20]!r} is no class number")
        return {CLASS: text}
    if suffix != ".json":
        return {_TEXT: text.splitlines()[0] if text else None}
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableLabelsError("no JSON") from error
    if not isinstance(content, dict):
        raise UnusableLabelsError("no JSON object")
    return content
