"""A table whose first row names its columns: ids and the cells of the other columns, by name."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trainables.data.defects import Defect
from trainables.data.tag_files.readers import NotTagsError, clean_path, is_id_name
from trainables.data.tag_files.tag_formats import UnreadableRow

if TYPE_CHECKING:
    from trainables.data.archives.listing import Listing

_SNIFFED_ROWS: Final = 200
_INDEX: Final = re.compile(r"(unnamed: ?\d+)?", re.IGNORECASE)
"""Header of an index that pandas wrote, too."""

Record = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class HeaderTable:
    """Rows of a table: image ids with cells by column name."""

    name: str
    records: tuple[Record, ...]
    defects: tuple[Defect, ...]


def read_header_table(name: str, text: str, listing: Listing) -> HeaderTable | None:
    """Read a table; ``None`` where the first row is no header or no column names images.

    Raises:
        NotTagsError: two columns have one name.
    """
    rows = _rows(text)
    if len(rows) < 2 or len(rows[0][1]) < 2:
        return None
    header = [cell.strip() for cell in rows[0][1]]
    place = _id_column(header, [cells for _, cells in rows[1 : _SNIFFED_ROWS + 1]], listing)
    if place is None:
        return None
    columns = {at: column for at, column in enumerate(header) if at != place and not _is_index(column)}
    if twice := [column for column, count in Counter(columns.values()).items() if count > 1]:
        raise NotTagsError(f"{listing.place(name)}: two columns are called {twice[0]!r}; each needs a name of its own")
    records: list[Record] = []
    defects: list[Defect] = []
    seen: set[str] = set()
    for number, cells in rows[1:]:
        try:
            if len(cells) != len(header):
                raise UnreadableRow(f"expected {len(header)} columns, found {len(cells)}")
            key = clean_path(cells[place], absolute=True)
        except UnreadableRow as error:
            defects.append(Defect("unreadable row", f"{name}:{number}", str(error)))
            continue
        if key in seen:
            defects.append(Defect("duplicate id", key))
        seen.add(key)
        records.append((key, {column: cells[at] for at, column in columns.items()}))
    return HeaderTable(name, tuple(records), tuple(defects))


def read_named_rows(name: str, text: str) -> tuple[list[tuple[int, dict[str, str]]], list[Defect]]:
    """Numbered rows of a table, as cells by the names of the first row, and the rows that do not fit it."""
    rows = _rows(text)
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    width = len(header)
    fitting = [(number, dict(zip(header, cells, strict=True))) for number, cells in rows[1:] if len(cells) == width]
    odd = [
        Defect("unreadable row", f"{name}:{number}", f"expected {len(header)} columns, found {len(cells)}")
        for number, cells in rows[1:]
        if len(cells) != width
    ]
    return fitting, odd


def merge_tables(tables: Sequence[HeaderTable]) -> HeaderTable:
    """Rows of all tables; those of one id are one row where the tables have different columns."""
    defects = tuple(defect for table in tables for defect in table.defects)
    columns = [column for table in tables for column in (table.records[0][1] if table.records else ())]
    records = [record for table in tables for record in table.records]
    if len(tables) > 1 and len(set(columns)) == len(columns):
        cells: dict[str, dict[str, Any]] = {}
        for key, found in records:
            cells.setdefault(key, {}).update(found)
        records = list(cells.items())
    return HeaderTable(tables[0].name, tuple(records), defects)


def _is_index(column: str) -> bool:
    return _INDEX.fullmatch(column) is not None


def _id_column(header: Sequence[str], rows: Sequence[Sequence[str]], listing: Listing) -> int | None:
    """The column whose cells name images, of those that may: called so, or the first, or the first after an index."""
    if any(listing.matcher.find(cell) for cell in header[:2] if cell):
        return None  # a row of data
    named = [place for place, column in enumerate(header) if is_id_name(column)]
    first = [place for place in range(2) if place not in named and not _is_datum(place, header, rows)]
    scores = {
        place: sum(len(row) > place and bool(listing.matcher.find(row[place])) for row in rows)
        for place in (*named, *first)
    }
    best = max(scores, key=lambda place: scores[place], default=None)
    if best is not None and 2 * scores[best] >= len(rows):
        return best
    return named[0] if named else None


def _is_datum(place: int, header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a first row whose id column has no usual name reads like the rows below it."""
    cells = {(at, cell.strip()) for row in rows for at, cell in enumerate(row)}
    return any(map(str.isdigit, header[place])) or any(
        (at, name) in cells for at, name in enumerate(header) if name and not _is_index(name)
    )


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Numbered rows; quoted cells may hold line breaks, unless a stray quotation mark would swallow rows."""
    mark = _separator(text)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        whole = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error:
        whole = []
    apart = [(number, _cells(line, mark)) for number, line in lines]
    return min((rows for rows in (whole, apart) if rows), key=_misfits, default=[])


def _misfits(rows: Sequence[tuple[int, Sequence[str]]]) -> tuple[int, int]:
    """Rows that are not as wide as the header; of equals, more rows are better."""
    width = len(rows[0][1])
    return sum(len(cells) != width for _, cells in rows) + (len(rows) < 2), -len(rows)


def _cells(line: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=mark))
    except (csv.Error, StopIteration):
        return line.split(mark)


def _separator(text: str) -> str:
    """The mark that splits the header into most cells."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=lambda mark: (header.count(mark), mark == ","))
