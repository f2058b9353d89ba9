"""What lies in a data folder or archive: images by id, their labels, and everything that is neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trainables.data.archives.listing import ARCHIVES, Listing
from trainables.data.archives.matching import Matcher, without_suffix
from trainables.data.archives.walk import is_folder, is_plain_file, list_files, natural_key
from trainables.data.defects import Defect
from trainables.data.images import SUFFIXES
from trainables.data.layouts.folders import DOMAIN
from trainables.data.layouts.registry import read_labels
from trainables.data.layouts.tables import TAG_SUFFIXES
from trainables.data.tag_files.readers import TagRow, merge
from trainables.data.tags import REPORT_VOCABULARY, Vocabulary
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from trainables.data.discovery.rows import LeftOut
    from trainables.data.layouts.base import LabelledSource
    from trainables.data.members import ImageFile

__all__ = [
    "DOMAIN",
    "TAG_SUFFIXES",
    "VOCABULARY_FILE",
    "DataFolder",
    "list_files",
    "natural_key",
    "scan_folder",
    "vocabulary_file",
]

VOCABULARY_FILE: Final = "vocabulary.json"
NO_LAYOUT: Final = "none"
_SHOWN: Final = 3


@dataclass(frozen=True)
class DataFolder:
    """Images by id in natural order, the labels of ids (with or without an image), and what was found wrong.

    ``names`` are the images' paths below the root. ``attributes`` are the names of an attribute list as it has them,
    in the order of the vocabulary's groups, and ``usual`` the places of those used when none is chosen; none where
    the labels come from elsewhere. ``larger`` says that the labels are of a larger collection: those without an image
    are no damage. ``refusals`` say why there are no labels, ``lost`` which rows fit several images.
    """

    path: Path
    vocabulary: Vocabulary
    images: Mapping[str, ImageFile]
    tags: Mapping[str, TagRow]
    tag_files: tuple[str, ...]
    defects: tuple[Defect, ...]
    attributes: tuple[str, ...] = ()
    usual: tuple[int, ...] = ()
    names: Mapping[str, str] | None = None
    layout: str = NO_LAYOUT
    left_out: tuple[LeftOut, ...] = ()
    lost: tuple[Defect, ...] = ()
    larger: bool = False
    refusals: tuple[str, ...] = ()

    @property
    def orphans(self) -> list[str]:
        """Ids that have tags and no image file."""
        return [name for name in self.tags if name not in self.images]


def scan_folder(folder: Path, vocabulary: Vocabulary | None = None) -> DataFolder:
    """List a data folder, zip, tar, parquet file or shards, and read the labels in the layout that they are in.

    They are read in the words of its ``vocabulary.json``, or else of ``vocabulary``, or else of a vocabulary that is
    found in them. Hidden files are passed over; links are followed, each folder once.

    Raises:
        UserError: there is no such data, no image in it, or its ``vocabulary.json`` cannot be read.
    """
    listing = Listing.of(folder)
    if is_plain_file(beside := vocabulary_file(folder)):
        vocabulary = Vocabulary.from_file(beside)
    elif VOCABULARY_FILE in listing.files:
        vocabulary = Vocabulary.from_bytes(listing.read(VOCABULARY_FILE), listing.place(VOCABULARY_FILE))
    source, refusals = read_labels(listing, vocabulary)
    images = dict(source.images) if source else {name: listing.files[name] for name in listing.images}
    if not images:
        raise UserError(_no_images(folder, listing, refusals))
    used = {*images, VOCABULARY_FILE, *(source.used if source else ())}
    named = {defect.name for defect in (source.defects if source else ()) if defect.kind == "ignored file"}
    ignored = [
        Defect("ignored file", name, "no image, and no labels of this layout")
        for name in listing.files
        if name not in used and name not in named
    ]
    found = (*listing.defects, *ignored)
    if source is None:
        by_id = _by_id(images, whole=False)
        files = {name: images[path] for name, path in by_id.items()}
        words = vocabulary or REPORT_VOCABULARY
        return DataFolder(folder, words, files, {}, (), found, names=by_id, refusals=tuple(refusals))
    return _matched(folder, source, images, found, refusals)


def vocabulary_file(folder: Path) -> Path:
    """Where the vocabulary of a data set is looked for: in the folder, or beside an archive under its name."""
    return folder / VOCABULARY_FILE if is_folder(folder) else folder.with_suffix(f".{VOCABULARY_FILE}")


def _no_images(folder: Path, listing: Listing, refusals: Sequence[str]) -> str:
    links = sorted(defect.name for defect in listing.defects if defect.kind == "link not followed")
    others = [f"{defect.name} ({defect.detail or defect.kind})" for defect in listing.defects] or list(listing.files)
    if refusals and not links:
        return refusals[0] if str(folder) in refusals[0] else f"data folder {folder}: {refusals[0]}"
    if links:
        why = f"; links to folders above it, and to devices, are not followed: {', '.join(links[:_SHOWN])}"
    else:
        why = f"; it holds {', '.join(others[:_SHOWN])}{', ...' if len(others) > _SHOWN else ''}" if others else ""
    kinds = ", ".join(sorted([*SUFFIXES, *ARCHIVES, ".parquet"]))
    return f"data folder {folder} has no images; looked for {kinds} below it{why}"


def _by_id(images: Iterable[str], *, whole: bool) -> dict[str, str]:
    """Paths of images by id, in natural order."""
    ids = {one: name for name, one in Matcher(images).ids(whole=whole).items()}
    return {one: ids[one] for one in sorted(ids, key=natural_key)}


def _matched(
    folder: Path,
    source: LabelledSource,
    images: Mapping[str, ImageFile],
    found: Sequence[Defect],
    refusals: Sequence[str],
) -> DataFolder:
    by_id = _by_id(images, whole=source.path_ids)
    ids = {name: one for one, name in by_id.items()}
    matcher = Matcher(images)
    rows: list[TagRow] = []
    lost: list[Defect] = []
    keys: dict[str, set[str]] = {}
    for row in source.rows:
        fitting = matcher.find(row.id)
        if len(fitting) > 1:
            detail = f"fits {' and '.join(fitting[:_SHOWN])}{', ...' if len(fitting) > _SHOWN else ''}"
            lost.append(Defect("ambiguous id", row.id, detail))
            continue
        one = ids[fitting[0]] if fitting else without_suffix(row.id)
        keys.setdefault(one, set()).add(without_suffix(row.id))
        rows.append(TagRow(one, row.labels))
    for one, said in keys.items():
        if len(said) > 1 and one in by_id:
            detail = f"{', '.join(sorted(said)[:_SHOWN])} all fit {by_id[one]}"
            lost.append(Defect("ambiguous id", one, detail))
    clear = {one for one, said in keys.items() if len(said) == 1 or one not in by_id}
    tags, conflicts = merge([row for row in rows if row.id in clear])
    return DataFolder(
        path=folder,
        vocabulary=source.vocabulary,
        images={one: images[name] for one, name in by_id.items()},
        tags=tags,
        tag_files=source.files,
        defects=(*found, *source.defects, *conflicts),
        attributes=source.attributes,
        usual=source.usual,
        names=by_id,
        layout=source.layout,
        left_out=source.left_out,
        lost=tuple(lost),
        larger=source.larger,
        refusals=tuple(refusals),
    )
