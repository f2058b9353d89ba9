"""Tag files in every format met in the wild, read into labels and a list of what could not be used.

A format only says which words a row has for each tag group; what the words mean for the picture is settled in one
place, by the reports' cleaning: no usable word, several, or one of two colours leaves the group ``UNKNOWN``.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trainables.data.defects import Defect
from trainables.data.tag_formats import Columns, Phrases, UnreadableRow, row_formats
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainables.data.tag_formats import Format
    from trainables.data.tags import Vocabulary

_SNIFFED_ROWS: Final = 200
_TWO_COLOURED: Final = frozenset({
    "heterochromia", "heterochromatic", "two-coloured", "two-colored", "two-tone", "multi-colored", "multicolored",
    "multicoloured", "multi-coloured", "gradient", "streaked", "split-color", "rainbow", "mismatched", "odd",
})  # fmt: skip
"""Words of image boards for more than one colour at once."""
_NOT_COLOURS: Final = frozenset({
    "long", "medium", "short", "messy", "wavy", "curly", "straight", "spiked", "spiky", "braided", "tied", "wet",
    "floating", "shiny", "big", "drill", "twin", "hime", "parted", "asymmetrical", "folded", "pubic", "chest",
    "body", "facial", "holding", "adjusting", "brushing", "touching", "playing", "over", "between", "in", "with",
    "closed", "half-closed", "narrowed", "empty", "wide", "rolling", "crossed", "hidden", "covered", "covering",
    "glowing", "sparkling", "bright", "crying", "teary", "tearful", "bulging", "button", "symbol-shaped", "x-shaped",
    "heart-shaped", "slit", "red-rimmed", "animal", "cat", "rubbing", "tsurime", "tareme", "jitome", "sanpaku",
})  # fmt: skip
"""Last words before the noun in tags that say nothing of its colour ("very long hair", "hair over eyes").

Listed are these rather than the colours: a word that nobody foresaw is then counted and named as unknown, where a
list of colours would pass over a misspelt or new one in silence.
"""


class NotTagsError(UserError):
    """A text file in none of the formats of tags."""


@dataclass(frozen=True)
class TagRow:
    """Labels of one picture, one class index per tag group, ``UNKNOWN`` where the tag is missing or unusable."""

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
        UserError: the file cannot be read or is no UTF-8 text; ``NotTagsError`` when it is in none of the formats.
    """
    lines = list(text_lines(path))
    file_format = _sniff(path, lines, vocabulary)
    rows: list[TagRow] = []
    problems: list[Defect] = []
    for number, cells in lines:
        if number == lines[0][0] and _is_header(cells, file_format):
            problems += [Defect("ignored column", path.name, repr(name)) for name in file_format.ignored]
            continue
        try:
            name, words = clean_id(cells[0]), file_format.words(cells[1:])
        except UnreadableRow as error:
            problems.append(Defect("unreadable row", f"{path.name}:{number}", str(error)))
            continue
        row, faults = settle(name, words, vocabulary)
        rows.append(row)
        problems += faults
    kept, repeats = merge(rows, "duplicate id")
    return TagTable(tuple(kept.values()), (*problems, *repeats))


def read_prompts(path: Path, vocabulary: Vocabulary) -> list[tuple[str, tuple[int, ...]]]:
    """Read lines ``1,blue hair red eyes`` into ``[("1", labels), ...]``, in their order.

    Raises:
        UserError: the file cannot be read or is no UTF-8 text.
        UsageError: a line that is no prompt, a number that occurs twice, or no prompt at all.
    """
    prompts: dict[str, tuple[int, ...]] = {}
    for number, cells in text_lines(path):
        try:
            name = clean_id(cells[0])
            if name in prompts:
                raise UsageError(f"number {name!r} occurs twice; each names its pictures and must be different")
            prompts[name] = vocabulary.parse(",".join(cells[1:]))
        except (UnreadableRow, UsageError) as error:
            raise UsageError(f"{path}:{number}: {error}") from error
    if not prompts:
        raise UsageError(f"{path}:1: no prompt in the file; expected lines such as '1,{_example(vocabulary)}'")
    return list(prompts.items())


def text_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and comma-separated cells of the lines that are not blank.

    Raises:
        UserError: the file cannot be read or is no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    if "\0" in text:
        raise UserError(f"cannot read {path}: binary data, a tag file is UTF-8 text")
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, _cells(line.rstrip("\n"))


def clean_id(text: str) -> str:
    """Strip an id and put it in one Unicode form (file systems differ); one that cannot be a file stem is refused."""
    name = unicodedata.normalize("NFC", text.strip())
    if not name or name in {".", ".."} or any(mark in name for mark in "/\\"):
        raise UnreadableRow(f"{text!r} is no picture id")
    return name


def settle(name: str, words: dict[str, list[str]], vocabulary: Vocabulary) -> tuple[TagRow, list[Defect]]:
    """Turn the words found for each group into one label each, or ``UNKNOWN`` and the reason."""
    labels, faults = [], []
    for group in vocabulary.groups:
        said = dict.fromkeys(words.get(group.name, ()))
        useful = [word for word in said if word in group.classes or word.split()[-1] not in _NOT_COLOURS]
        two = [word for word in useful if word not in group.classes and word.split()[-1] in _TWO_COLOURED]
        if len(useful) == 1 and useful[0] in group.classes:
            labels.append(group.classes.index(useful[0]))
            continue
        labels.append(UNKNOWN)
        kind = "two-coloured" if two else ("missing", "unknown")[len(useful)] if len(useful) < 2 else "several"
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


def _cells(line: str) -> list[str]:
    """Split a line by itself: over a whole file, a stray quotation mark would swallow the lines after it."""
    try:
        return next(csv.reader([line]))
    except csv.Error:  # a field beyond csv's limit
        return line.split(",")


def _sniff(path: Path, lines: list[tuple[int, list[str]]], vocabulary: Vocabulary) -> Format:
    """Find the format in which most of the first rows can be read; at least half of them must be."""
    rows = [cells for _, cells in lines[:_SNIFFED_ROWS]]
    if rows and (columns := Columns.from_header(rows[0], vocabulary)):
        return columns
    telling = [cells[1:] for cells in rows if len(cells) == 1 or any(cell.strip() for cell in cells[1:])]
    if rows and not telling:
        return Phrases(vocabulary)  # ids only, in any of the formats
    if len(telling) > 1 and rows[0][0].strip().lower() == "id":
        telling = telling[1:]
    counts = {file_format: sum(map(file_format.recognises, telling)) for file_format in row_formats(vocabulary)}
    best = max(counts, key=lambda file_format: counts[file_format])
    if not counts[best] or 2 * counts[best] < len(telling):
        raise NotTagsError(
            f"{path} is no tag file: of its first {len(rows)} rows, {counts[best]} are in a known format: "
            f"'7,{_example(vocabulary)}', '7,' and tab-separated 'tag:count', {sum(vocabulary.sizes)} columns of 0 or "
            f"1 after the id, or a header 'id,{','.join(vocabulary.names)}' above bare classes"
        )
    return best


def _is_header(cells: list[str], file_format: Format) -> bool:
    return cells[0].strip().lower() == "id" and not file_format.recognises(cells[1:])


def _example(vocabulary: Vocabulary) -> str:
    return vocabulary.describe((0,) * len(vocabulary.groups))
