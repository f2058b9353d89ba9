"""Attribute lists as CelebA's: a line with the count, a line of names, then per image its file and 1 or -1 each.

The same table as a .csv, with the header ``image_id,...`` and without the count, is read too. Where some cell is -1, a
0 leaves that cell unspecified.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from trainables.data.defects import Defect
from trainables.data.images import SUFFIXES
from trainables.data.tag_files.readers import TagRow, TagTable, clean_path, merge, read_text, text_lines
from trainables.data.tag_files.tag_formats import UnreadableRow
from trainables.data.tags import UNKNOWN, is_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SNIFFED_ROWS: Final = 200
_LABELS: Final = {"-1": 0, "1": 1, "0": UNKNOWN}


def read_attributes(path: Path) -> tuple[tuple[str, ...], TagTable] | None:
    """Read an attribute list: its names as they are written, and a label per name; ``None`` if the file is none.

    Raises:
        UserError: the file cannot be read or is no UTF-8 text.
    """
    return read_attribute_lines(path, text_lines(read_text(path)))


def read_attribute_lines(path: Path, cells: Sequence[tuple[int, list[str]]]) -> tuple[tuple[str, ...], TagTable] | None:
    """Read the numbered lines of an attribute list; ``None`` if they are none."""
    lines = [(number, _words(line)) for number, line in cells]
    said = int(lines.pop(0)[1][0]) if lines and _is_count(lines[0][1]) else None
    names = _names([words for _, words in lines[: _SNIFFED_ROWS + 1]])
    if not names:
        return None
    rows: list[TagRow] = []
    problems: list[Defect] = []
    for number, words in lines[1:]:
        try:
            rows.append(_row(words, len(names)))
        except UnreadableRow as error:
            problems.append(Defect("unreadable row", f"{path.name}:{number}", str(error)))
    if said is not None and said != len(lines) - 1:
        problems.append(Defect("wrong count", path.name, f"says {said} rows, has {len(lines) - 1}"))
    kept, repeats = merge(rows, "duplicate id")
    return names, TagTable(tuple(kept.values()), (*problems, *repeats))


def _words(cells: list[str]) -> list[str]:
    """The words of a line, which commas or else spaces separate."""
    return [cell.strip() for cell in cells] if len(cells) > 1 else cells[0].split()


def _is_count(words: list[str]) -> bool:
    return len(words) == 1 and words[0].isdecimal() and len(words[0]) < 10


def _names(lines: list[list[str]]) -> tuple[str, ...]:
    """Names in the header of what reads like an attribute list, else none: half of the rows must fit it."""
    header, rows = lines[0] if lines else [], lines[1:]
    if any("0" in words[1:] for words in rows) and not any("-1" in words[1:] for words in rows):
        return ()  # 0 says no: a table of 0 and 1
    widths = Counter(len(words) for words in rows if len(words) > 1 and set(words[1:]) <= _LABELS.keys())
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    if not count or 2 * count < len(rows) or len(header) not in (width - 1, width):
        return ()
    names = header[len(header) - width + 1 :]
    lowered = [name.lower() for name in names]
    words = all(is_name(name) and any(map(str.isalpha, name)) for name in lowered)
    return tuple(names) if words and len(set(lowered)) == len(names) else ()


def _row(words: list[str], attributes: int) -> TagRow:
    if len(words) != attributes + 1 or not set(words[1:]) <= _LABELS.keys():
        raise UnreadableRow(f"expected a file and {attributes} times 1, -1 or 0, found {len(words) - 1} values")
    name = clean_path(words[0])
    path = PurePath(name)
    stem = path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else name
    return TagRow(stem, tuple(_LABELS[word] for word in words[1:]))
