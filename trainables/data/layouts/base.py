"""The interface of a layout: from the files of a data set to labelled images."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from trainables.data.discovery.columns import ForeignColumnsError, read_columns
from trainables.data.discovery.resolve import NoGroupsError, resolve
from trainables.data.tag_files.readers import NotTagsError, clean_path, decode_text
from trainables.data.tag_files.tag_formats import UnreadableRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainables.data.archives.listing import Listing
    from trainables.data.defects import Defect
    from trainables.data.discovery.columns import Record
    from trainables.data.discovery.rows import LeftOut, RawLabels
    from trainables.data.members import ImageFile
    from trainables.data.tag_files.readers import TagRow
    from trainables.data.tags import Vocabulary


class UnusableLabelsError(NotTagsError):
    """Files that are in a layout, but give no labels; the message says why."""


@dataclass(frozen=True)
class LabelledSource:
    """Images and labels of a data set, before either is matched with the other.

    Attributes:
        layout: name of the layout.
        vocabulary: what the labels mean.
        rows: labels by image id as it is written: the image's path or part of it.
        files: names of the files of labels, as they are shown.
        images: contents by path below the root.
        used: names of files that need no further mention.
        attributes: names of the groups as they are written, where each is a yes/no attribute that may be chosen.
        usual: places of the attributes used when none is chosen.
        left_out: what of the labels is not part of the vocabulary.
        defects: what was wrong.
        path_ids: ids are whole paths, since folders are part of what they say.
        larger: the labels are of a larger collection, so that rows without an image are no damage.
    """

    layout: str
    vocabulary: Vocabulary
    rows: tuple[TagRow, ...]
    files: tuple[str, ...]
    images: Mapping[str, ImageFile]
    used: frozenset[str] = frozenset()
    attributes: tuple[str, ...] = ()
    usual: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    defects: tuple[Defect, ...] = field(default=())
    path_ids: bool = False
    larger: bool = False


class Layout(Protocol):
    """One way in which people keep labelled images."""

    @property
    def name(self) -> str:
        """What the layout is called in messages."""

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read a data set, in the words of ``vocabulary`` if one is given; ``None`` if it is in another layout.

        Raises:
            UserError: it is in this layout, but has no usable labels; the message says why.
        """


def column_labels(
    records: Sequence[Record],
    vocabulary: Vocabulary | None,
    place: str,
    defects: Sequence[Defect] = (),
    declared: Mapping[str, Sequence[str]] | None = None,
) -> RawLabels:
    """Labels of a table of the file at ``place``, with the defects of reading it; arguments as of ``read_columns``.

    Raises:
        UnusableLabelsError: no column names a group or class of the given vocabulary.
    """
    try:
        labels = read_columns(records, vocabulary, declared)
    except ForeignColumnsError as error:
        raise UnusableLabelsError(f"{place}: {error}") from error
    return replace(labels, defects=(*defects, *labels.defects))


def labelled(
    layout: str,
    listing: Listing,
    labels: RawLabels,
    vocabulary: Vocabulary | None,
    files: Sequence[str],
    *,
    used: Sequence[str] = (),
    images: Mapping[str, ImageFile] | None = None,
    path_ids: bool = False,
) -> LabelledSource:
    """Settle labels in the words of the vocabulary, given or found.

    Raises:
        UnusableLabelsError: there is no usable label.
    """
    try:
        found = resolve(labels, vocabulary, f"{', '.join(files[:3])} ({layout})")
    except NoGroupsError as error:
        raise UnusableLabelsError(str(error)) from error
    return LabelledSource(
        layout=layout,
        vocabulary=found.vocabulary,
        rows=found.rows,
        files=tuple(files),
        images=image_files(listing) if images is None else images,
        used=frozenset((*files, *used)),
        attributes=found.attributes,
        usual=found.usual,
        left_out=found.left_out,
        defects=found.defects,
        path_ids=path_ids,
        larger=bool(found.attributes),
    )


def image_files(listing: Listing) -> dict[str, ImageFile]:
    """Contents of the images of a listing."""
    return {name: listing.files[name] for name in listing.images}


def read_json(listing: Listing, name: str) -> Any:
    """Content of a JSON file.

    Raises:
        UserError: it cannot be read.
        UnusableLabelsError: it is no JSON.
    """
    try:
        return json.loads(decode_text(listing.read(name), listing.place(name)))
    except (ValueError, RecursionError) as error:
        raise UnusableLabelsError(f"cannot read {listing.place(name)}: no JSON ({_short(error)})") from error


def read_json_lines(listing: Listing, name: str) -> tuple[list[tuple[int, Any]], list[int]]:
    """Numbered values of a file of one JSON value per line, and the numbers of lines that are none.

    Raises:
        UserError: it cannot be read.
    """
    values, bad = [], []
    for number, line in enumerate(decode_text(listing.read(name), listing.place(name)).split("\n"), 1):
        if line.strip():
            try:
                values.append((number, json.loads(line)))
            except (ValueError, RecursionError):
                bad.append(number)
    return values, bad


def path_id(value: Any) -> str | None:
    """An image id as a path below the root; ``None`` where a value is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        return clean_path(str(value), absolute=True)
    except (UnreadableRow, ValueError):
        return None


def _short(error: Exception) -> str:
    return str(error)[:100]
