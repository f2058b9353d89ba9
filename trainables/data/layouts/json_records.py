"""One JSON or JSONL for all images: captions and tags of training scripts, and Danbooru's posts."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from trainables.data.defects import Defect
from trainables.data.discovery.rows import RawLabels, RawRow
from trainables.data.layouts.base import (
    LabelledSource,
    UnusableLabelsError,
    column_labels,
    labelled,
    path_id,
    read_json,
    read_json_lines,
)
from trainables.data.layouts.hf_metadata import FILE_NAME, NAMES
from trainables.data.tag_files.readers import ID_NAMES
from trainables.data.words import canonical
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainables.data.archives.listing import Listing
    from trainables.data.discovery.columns import Record
    from trainables.data.tags import Vocabulary

_POST_TAGS: Final = ("tag_string_general", "tag_string", "tags")
_OTHERS: Final = ("dataset.json", *NAMES)
"""Files of other layouts, whose readers say what is wrong with them."""
_FEW: Final = 0.5
"""Share of entries that must be about an image."""


class DanbooruPosts:
    """Posts with ``id`` and ``tag_string_general``; an image is called by its id."""

    name = "Danbooru metadata"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read every file of posts at the root."""
        files, rows = [], []
        defects: list[Defect] = []
        for name in listing.others(".jsonl", ".json", top=True):
            entries, faults = _entries(listing, name)
            posts = [(place, fields) for place, fields in entries if _is_post(fields)]
            if not posts or len(posts) < _FEW * len(entries):
                continue
            files.append(name)
            defects += faults
            known = dict(entries)
            defects += [Defect("unreadable row", place, "no post") for place in known if place not in dict(posts)]
            there = [fields for _, fields in posts if listing.matcher.find(str(path_id(fields["id"])))]
            rows += [RawRow(str(path_id(fields["id"])), tags=_post_tags(fields)) for fields in there]
            if absent := len(posts) - len(there):  # the metadata are of a larger collection: no damage
                defects.append(Defect("posts without image", name, f"{absent:,} of {len(posts):,}"))
        if not files:
            return None
        once, repeats = _once(rows)
        return labelled(self.name, listing, RawLabels(once, defects=(*defects, *repeats)), vocabulary, files)


class CaptionFile:
    """``{"p.png": {"caption": ..., "tags": "a, b"}}``, or entries with a path, a caption and tags."""

    name = "caption file"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read every JSON or JSONL at the root whose entries are about images.

        Raises:
            UnusableLabelsError: their captions have no tags in common, or no file is JSON.
        """
        files: list[str] = []
        broken: list[str] = []
        records: list[Record] = []
        defects: list[Defect] = []
        for name in listing.others(".jsonl", ".json", top=True):
            entries, faults = _entries(listing, name)
            if faults and not entries and name.lower() not in _OTHERS:
                broken.append(f"cannot read {listing.place(name)}: no JSON, and no JSON in any of its lines")
            if PurePosixPath(name).name.lower() in NAMES and any(FILE_NAME in fields for _, fields in entries):
                continue  # Hugging Face metadata, which have been refused
            found: list[Record] = []
            odd = []
            for place, fields in entries:
                keys = [path_id(value) for column, value in fields.items() if _names_image(column)]
                if (key := next(filter(None, keys), None)) is None:
                    odd.append(Defect("unreadable row", place, "names no image"))
                    continue
                found.append((key, {column: value for column, value in fields.items() if not _names_image(column)}))
            matching = sum(bool(listing.matcher.find(key)) for key, _ in found)
            if not found or matching < _FEW * len(found) or matching < _FEW * len(entries):
                continue
            files.append(name)
            records += found
            defects += (*faults, *odd)
            counts = Counter(key for key, _ in found)
            defects += [Defect("duplicate id", key) for key, count in counts.items() if count > 1]
        if not files:
            if broken:
                raise UnusableLabelsError(broken[0])
            return None
        labels = column_labels(records, vocabulary, listing.place(files[0]), defects)
        return labelled(self.name, listing, labels, vocabulary, files)


def _names_image(column: str) -> bool:
    return column.strip().lower() in ID_NAMES


def _entries(listing: Listing, name: str) -> tuple[list[tuple[str, dict[str, Any]]], list[Defect]]:
    """Places and fields of the entries of a file, whichever of the forms it has; none where it has none."""
    try:
        content = None if name.lower().endswith(".jsonl") else read_json(listing, name)
    except UnusableLabelsError:
        content = None  # a line for each entry, whatever the suffix says
    except UserError:
        return [], []
    if isinstance(content, dict):
        return [
            (f"{name} {key}", {"file_name": key, **(value if isinstance(value, dict) else {"tags": value})})
            for key, value in content.items()
        ], []
    if isinstance(content, list):
        return [(f"{name}:{place}", _fields(entry)) for place, entry in enumerate(content, 1)], []
    try:
        values, bad = read_json_lines(listing, name)
    except UserError:
        return [], []
    faults = [Defect("unreadable row", f"{name}:{number}", "no JSON") for number in bad]
    return [(f"{name}:{number}", _fields(entry)) for number, entry in values], faults


def _fields(entry: Any) -> dict[str, Any]:
    return entry if isinstance(entry, dict) else {}


def _is_post(fields: dict[str, Any]) -> bool:
    number = fields.get("id")
    key = path_id(number)
    return key is not None and (isinstance(number, int) or key.isdecimal()) and _post_tags(fields) is not None


def _post_tags(fields: dict[str, Any]) -> tuple[str, ...] | None:
    """Tags of a post: text that spaces separate, or a list of names or of entries with a name."""
    for field in _POST_TAGS:
        value = fields.get(field)
        if isinstance(value, str) and (field != "tags" or "_" in value):
            return tuple(dict.fromkeys(canonical(tag) for tag in value.split()))
        if isinstance(value, list) and field == "tags":
            names = [tag.get("name") if isinstance(tag, dict) else tag for tag in value]
            return tuple(dict.fromkeys(canonical(name) for name in names if isinstance(name, str)))
    return None


def _once(rows: Sequence[RawRow]) -> tuple[tuple[RawRow, ...], list[Defect]]:
    kept: dict[str, RawRow] = {}
    repeats = []
    for row in rows:
        if kept.setdefault(row.id, row) is not row:
            repeats.append(Defect("duplicate id", row.id))
    return tuple(kept.values()), repeats
