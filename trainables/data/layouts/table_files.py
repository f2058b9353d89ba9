"""Texts that may be tables of labels: which of them are read, and what each one is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from trainables.data.defects import Defect
from trainables.data.discovery.rows import RawLabels, RawRow
from trainables.data.layouts.folders import SPLITS, in_class_folders
from trainables.data.tag_files.attribute_list import read_attribute_lines
from trainables.data.tag_files.header_table import HeaderTable, read_header_table
from trainables.data.tag_files.readers import (
    NotTagsError,
    TagTable,
    decode_text,
    is_id_name,
    phrase_share,
    read_tag_lines,
    text_lines,
)
from trainables.data.tags import REPORT_VOCABULARY
from trainables.data.words import class_name
from trainables.errors import UserError, first_line, shortened

if TYPE_CHECKING:
    from trainables.data.archives.listing import Listing
    from trainables.data.tags import Vocabulary

TAG_SUFFIXES: Final = frozenset({".csv", ".txt", ".tsv"})
_SUBMISSION: Final = re.compile(r"(sample|example)?[ _-]?submissions?", re.IGNORECASE)
"""What is handed in to a competition has the form of the labels: without a prefix it may be labels, too."""
_PREDICTIONS: Final = "predictions of a competition, not labels"
Lines = Sequence[tuple[int, list[str]]]


@dataclass(frozen=True)
class TableFile:
    """A file that is read as one of: an attribute list, a table with a header, rows of tags, or nothing."""

    name: str
    table: HeaderTable | None = None
    attributes: tuple[tuple[str, ...], TagTable] | None = None
    tags: TagTable | None = None
    phrases: RawLabels | None = None


@dataclass(frozen=True)
class Texts:
    """Texts of one place, the tables among them, and why the others are none."""

    names: tuple[str, ...]
    files: tuple[TableFile, ...]
    ignored: tuple[Defect, ...]


def classify_texts(listing: Listing, texts: Sequence[str], vocabulary: Vocabulary | None, *, exact: bool) -> Texts:
    """Find out which texts are tables; with ``exact`` only those of which a row names an image."""
    images = {_without_suffix(name) for name in listing.images}
    names = [name for name in texts if _without_suffix(name) not in images]
    captioned = 2 * (len(texts) - len(names)) >= len(images)
    files, ignored = [], []
    for name in names:
        if _SUBMISSION.fullmatch(PurePosixPath(name).stem):
            ignored.append(Defect("ignored file", name, _PREDICTIONS))
            continue
        try:
            file = classify_text(listing, name, vocabulary)
        except UserError as error:
            ignored.append(Defect("ignored file", name, first_line(error)))
            continue
        if captioned and not _about_images(file, listing):  # else "red hair, blue eyes" were a row of "red hair"
            ignored.append(Defect("ignored file", name, "no row names an image; a caption without its image?"))
        elif exact and not _about_images(file, listing, any_kind=True):
            ignored.append(Defect("ignored file", name, "no row names an image"))
        else:
            files.append(file)
    return Texts(tuple(names), tuple(files), tuple(ignored))


def tables_of_splits(listing: Listing) -> list[str]:
    """Tables in ``train/``, ``test/`` and the like, as ``train/_classes.csv``; none where these hold class folders."""
    names = listing.others(".csv", ".tsv")
    names = [name for name in names if name.count("/") == 1 and name.partition("/")[0].lower() in SPLITS]
    splits = {name.partition("/")[0] for name in names}
    return [] if any(in_class_folders(listing, split) for split in splits) else names


def possible_submissions(listing: Listing) -> list[str]:
    """Tables at the top called ``submission.csv``: predictions, or the only labels, which that name does not tell."""
    names = listing.others(*TAG_SUFFIXES, top=True)
    return [name for name in names if (found := _SUBMISSION.fullmatch(PurePosixPath(name).stem)) and not found[1]]


def _without_suffix(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _about_images(file: TableFile, listing: Listing, *, any_kind: bool = False) -> bool:
    """Whether a row names an image; of tables and attribute lists that is asked only with ``any_kind``."""
    ids = None
    if rows := file.tags.rows if file.tags else file.phrases.rows if file.phrases else None:
        ids = [row.id for row in rows]
    elif any_kind and file.table:
        ids = [key for key, _ in file.table.records]
    elif any_kind and file.attributes:
        ids = [row.id for row in file.attributes[1].rows]
    return ids is None or any(map(listing.matcher.find, ids))


def classify_text(listing: Listing, name: str, vocabulary: Vocabulary | None) -> TableFile:
    """Find out what a file is.

    Raises:
        NotTagsError: it is no tag file.
        UserError: it cannot be read.
    """
    path, words = Path(listing.place(name)), vocabulary or REPORT_VOCABULARY
    text = decode_text(listing.read(name), str(path))
    lines = text_lines(text)
    if attributes := read_attribute_lines(path, lines):
        return TableFile(name, attributes=attributes)
    if phrase_share(lines, words) < 0.5:
        if table := read_header_table(name, text, listing):
            return TableFile(name, table=_below(table, name.rpartition("/")[0]))
        if vocabulary is None and (phrases := _phrases(lines)):
            return TableFile(name, phrases=phrases)
    try:
        return TableFile(name, tags=read_tag_lines(path, lines, words))
    except NotTagsError as error:
        if vocabulary is not None or phrase_share(lines, words):
            raise
        raise NotTagsError(f"{path} is no table of labels: {_no_table(lines)}") from error


def _below(table: HeaderTable, folder: str) -> HeaderTable:
    """A table whose ids are paths below the root, as those of a table in a folder are below that."""
    if not folder:
        return table
    return replace(
        table, records=tuple((f"{folder}/{key.removeprefix(f'{folder}/')}", cells) for key, cells in table.records)
    )


def _no_table(lines: Lines) -> str:
    """Say what keeps a text from being a table with a header."""
    if not lines:
        return "it is empty"
    header = [cell.strip() for cell in lines[0][1]]
    shown = shortened(",".join(header))
    if len(lines) == 1:
        return f"{shown} is its only row"
    if len(header) == 1 and is_id_name(header[0]):
        return f"it has no column beside {shown}"
    mark = "" if len(header) > 1 else ", and cells are separated by commas, semicolons or tabs"
    return f"its first row {shown} names no column of image ids, as 'image,label' does{mark}"


def _phrases(lines: Lines) -> RawLabels | None:
    """Rows such as ``7,red square big size``, where every second word is a group and the same in every row."""
    texts = [(number, cells[0], " ".join(cells[1:]).lower().split()) for number, cells in lines]
    nouns = {tuple(words[1::2]) for _, _, words in texts if words}
    if len(nouns) != 1 or not all(len(words) % 2 == 0 and words for _, _, words in texts):
        return None
    (names,) = nouns
    if not names or len(set(names)) < len(names) or not all(class_name(name) == name for name in names):
        return None
    rows = [
        RawRow(key, {noun: (class_name(word),) for noun, word in zip(names, words[::2], strict=True)})
        for _, key, words in texts
    ]
    return RawLabels(tuple(rows))
