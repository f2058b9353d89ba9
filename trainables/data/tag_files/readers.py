"""Tag files in every format met in the wild, read into labels and a list of what could not be used.

A format only says which words a row has for each tag group; what the words mean for the image is settled in one
place, by the reports' cleaning: no usable word, several, or one of two colours leaves the group ``UNKNOWN``.
"""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trainables.data.defects import Defect
from trainables.data.tag_files.tag_formats import Columns, Phrases, TagList, UnreadableRow, row_formats
from trainables.data.tags import UNKNOWN
from trainables.data.words import NOT_COLOURS, TWO_COLOURED, match_class
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainables.data.tag_files.tag_formats import Format
    from trainables.data.tags import Vocabulary

_SNIFFED_ROWS: Final = 200


ID_NAMES: Final = frozenset({
    "id", "ids", "image", "images", "image_id", "imageid", "image_name", "image_path", "image_file", "img", "img_id",
    "img_name", "img_path", "file", "filename", "file_name", "filepath", "file_path", "path", "name", "picture",
})  # fmt: skip
"""Names of the column whose cells say which image a row is about."""


FAULTS: Final = ("missing", "unknown", "several", "two-coloured")
"""First words of defects that leave a group unknown; its name follows."""


class NotTagsError(UserError):
    """A text file in none of the formats of tags."""


@dataclass(frozen=True)
class TagRow:
    """Labels of one image, one class index per tag group, ``UNKNOWN`` where the tag is missing or unusable."""

    id: str
    labels: tuple[int, ...]

    @property
    def known(self) -> int:
        """How many groups have a usable tag."""
        return sum(label != UNKNOWN for label in self.labels)


@dataclass(frozen=True)
class TagTable:
    """The rows of one tag file, each id once, and everything in it that could not be used as it stands."""

    rows: tuple[TagRow, ...]
    problems: tuple[Defect, ...]


def read_tags(path: Path, vocabulary: Vocabulary) -> TagTable:
    """Read a tag file in whichever of the known formats its content is in.

    Raises:
        UserError: the file cannot be read or is no text; ``NotTagsError`` when it is in none of the formats.
    """
    return read_tag_lines(path, text_lines(read_text(path)), vocabulary)


def read_tag_lines(path: Path, lines: Sequence[tuple[int, list[str]]], vocabulary: Vocabulary) -> TagTable:
    """Read the numbered lines of a tag file, each split into cells.

    Raises:
        NotTagsError: they are in none of the formats.
    """
    file_format = _sniff(path, lines, vocabulary)
    rows: list[TagRow] = []
    problems: list[Defect] = []
    for number, cells in lines:
        if number == lines[0][0] and _is_header(cells, file_format):
            problems += [Defect("ignored column", path.name, repr(name)) for name in file_format.ignored]
            continue
        try:
            name, words = clean_path(cells[0]), file_format.words(cells[1:])
        except UnreadableRow as error:
            problems.append(Defect("unreadable row", f"{path.name}:{number}", str(error)))
            continue
        row, faults = settle(name, words, vocabulary)
        rows.append(row)
        problems += faults
    kept, repeats = merge(rows, "duplicate id")
    return TagTable(tuple(kept.values()), (*problems, *repeats))


def phrase_share(lines: Sequence[tuple[int, list[str]]], vocabulary: Vocabulary) -> float:
    """Share of the first lines that say ``blue hair red eyes`` or ``blue hair:12`` in the words of a vocabulary."""
    formats = Phrases(vocabulary), TagList(vocabulary)
    rows = [cells[1:] for _, cells in lines[:_SNIFFED_ROWS] if any(cell.strip() for cell in cells[1:])]
    best = max(sum(map(file_format.recognises, rows)) for file_format in formats)
    return best / len(rows) if rows else 0.0


def read_prompts(path: Path, vocabulary: Vocabulary) -> list[tuple[str, tuple[int, ...]]]:
    """Read lines ``1,blue hair red eyes`` into ``[("1", labels), ...]``, in their order.

    Raises:
        UserError: the file cannot be read or is no UTF-8 text.
        UsageError: a line that is no prompt, a number that occurs twice, or no prompt at all.
    """
    prompts: dict[str, tuple[int, ...]] = {}
    for number, cells in text_lines(read_text(path)):
        try:
            name = clean_id(cells[0])
            if name in prompts:
                raise UsageError(f"number {name!r} occurs twice; each names its images and must be different")
            prompts[name] = vocabulary.parse(",".join(cells[1:]))
        except (UnreadableRow, UsageError) as error:
            raise UsageError(f"{path}:{number}: {error}") from error
    if not prompts:
        raise UsageError(f"{path}:1: no prompt in the file; expected lines such as '1,{vocabulary.example()}'")
    return list(prompts.items())


def read_text(path: Path) -> str:
    """Text of a file.

    Raises:
        UserError: it cannot be read or is no UTF-8 text.
    """
    try:
        return decode_text(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def decode_text(data: bytes, place: str) -> str:
    """Decode UTF-8, or UTF-16 that says so by its first bytes.

    Raises:
        UserError: it is neither.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {place}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    if "\0" in text:
        raise UserError(f"cannot read {place}: binary data, a tag file is UTF-8 text")
    return text


def text_lines(text: str) -> list[tuple[int, list[str]]]:
    """Numbers and cells of the lines that are not blank; cells are separated by commas, or else ; or tabs."""
    lines = [(number, line.rstrip("\n")) for number, line in enumerate(io.StringIO(text, newline=None), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    marks = [mark for mark in ",;\t" if 2 * sum(mark in line for _, line in lines) >= len(lines)]
    return [(number, _cells(line, marks[0] if marks else ",")) for number, line in lines]


def clean_path(text: str, *, absolute: bool = False) -> str:
    """An id that may be a path below the data folder, with forward slashes, in one Unicode form.

    With ``absolute`` it may be one of the machine on which a table was written, which is matched by its end.
    ``UnreadableRow`` when it is empty or leads out of the folder.
    """
    name = unicodedata.normalize("NFC", text.strip()).replace("\\", "/")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or (name.startswith("/") and not absolute) or ".." in parts:
        raise UnreadableRow(f"{text!r} is no image id")
    return "/".join(parts)


def clean_id(text: str) -> str:
    """Strip an id and put it in one Unicode form (file systems differ); one that cannot be a file stem is refused."""
    name = unicodedata.normalize("NFC", text.strip())
    if not name or name in {".", ".."} or any(mark in name for mark in "/\\"):
        raise UnreadableRow(f"{text!r} is no image id")
    return name


def settle(name: str, words: dict[str, list[str]], vocabulary: Vocabulary) -> tuple[TagRow, list[Defect]]:
    """Turn the words found for each group into one label each, or ``UNKNOWN`` and the reason."""
    labels, faults = [], []
    for group in vocabulary.groups:
        said = dict.fromkeys(match_class(word, group.classes) or word for word in words.get(group.name, ()) if word)
        useful = [word for word in said if word in group.classes or word.split()[-1] not in NOT_COLOURS]
        two = [word for word in useful if word not in group.classes and word.split()[-1] in TWO_COLOURED]
        if len(useful) == 1 and useful[0] in group.classes:
            labels.append(group.classes.index(useful[0]))
            continue
        labels.append(UNKNOWN)
        kind = FAULTS[3] if two else FAULTS[min(len(useful), 2)]
        faults.append(Defect(f"{kind} {group.name}", name, ", ".join(useful)))
    return TagRow(name, tuple(labels)), faults


def merge(rows: list[TagRow], repeat_kind: str | None = None) -> tuple[dict[str, TagRow], list[Defect]]:
    """Keep one row per id: the more complete one, the earlier of two equals. Contradictions are counted.

    ``repeat_kind`` names the defect that any repetition is; ``None`` where repeating an id is no fault.
    """
    kept: dict[str, TagRow] = {}
    faults = []
    for row in rows:
        earlier = kept.setdefault(row.id, row)
        if earlier is row:
            continue
        if repeat_kind:
            faults.append(Defect(repeat_kind, row.id))
        pairs = zip(earlier.labels, row.labels, strict=True)
        if any(UNKNOWN not in pair and pair[0] != pair[1] for pair in pairs):
            faults.append(Defect("conflicting tags", row.id, f"{earlier.labels} and {row.labels}"))
        if row.known > earlier.known:
            kept[row.id] = row
    return kept, faults


def _cells(line: str, mark: str) -> list[str]:
    """Split a line by itself: over a whole file, a stray quotation mark would swallow the lines after it."""
    try:
        return next(csv.reader([line], delimiter=mark))
    except csv.Error:  # a field beyond csv's limit
        return line.split(mark)


def _sniff(path: Path, lines: Sequence[tuple[int, list[str]]], vocabulary: Vocabulary) -> Format:
    """Find the format in which most of the first rows can be read; at least half of them must be."""
    rows = [cells for _, cells in lines[:_SNIFFED_ROWS]]
    if rows and (columns := Columns.from_header(rows[0], vocabulary)):
        return columns
    telling = [cells[1:] for cells in rows if len(cells) == 1 or any(cell.strip() for cell in cells[1:])]
    if rows and not telling:
        return Phrases(vocabulary)  # ids only, in any of the formats
    if len(telling) > 1 and is_id_name(rows[0][0]):
        telling = telling[1:]
    counts = {file_format: sum(map(file_format.recognises, telling)) for file_format in row_formats(vocabulary)}
    best = max(counts, key=lambda file_format: counts[file_format])
    if not counts[best] or 2 * counts[best] < len(telling):
        raise NotTagsError(
            f"{path} is no tag file: of its first {len(rows)} rows, {counts[best]} are in a known format: "
            f"'7,{vocabulary.example()}', '7,' and tab-separated 'tag:count', {sum(vocabulary.sizes)} columns of 0 or "
            f"1 after the id, or a header 'id,{','.join(vocabulary.names)}' above bare classes"
        )
    return best


def is_id_name(text: str) -> bool:
    """Whether a header calls a column the images' ids."""
    return text.strip().lower().replace(" ", "_") in ID_NAMES


def _is_header(cells: list[str], file_format: Format) -> bool:
    return is_id_name(cells[0]) and not file_format.recognises(cells[1:])
