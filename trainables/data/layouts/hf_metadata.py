"""``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet`` with a column ``file_name`` (Hugging Face)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from trainables.data.defects import Defect
from trainables.data.layouts.base import (
    LabelledSource,
    UnusableLabelsError,
    column_labels,
    labelled,
    path_id,
    read_json_lines,
)
from trainables.data.layouts.parquet import read_parquet
from trainables.data.tag_files.header_table import read_named_rows
from trainables.data.tag_files.readers import decode_text
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainables.data.archives.listing import Listing
    from trainables.data.discovery.columns import Record
    from trainables.data.tags import Vocabulary

FILE_NAME: Final = "file_name"
NAMES: Final = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
Numbered = tuple[int, Any]


class HuggingFaceMetadata:
    """One file of metadata, or one in the folder of each split, whose ``file_name`` is relative to it."""

    name = "Hugging Face metadata"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read all files of metadata.

        Raises:
            UserError: none of them can be used.
        """
        names = [name for name in listing.files if PurePosixPath(name).name.lower() in NAMES]
        records: list[Record] = []
        defects: list[Defect] = []
        declared: dict[str, tuple[str, ...]] = {}
        files = []
        for name in names:
            try:
                rows, faults, classes = _rows(listing, name)
            except UserError as error:
                defects.append(Defect("ignored file", name, first_line(error)))
                continue
            if not any(isinstance(row, dict) and FILE_NAME in row for _, row in rows):
                defects.append(Defect("ignored file", name, f"{listing.place(name)} {_no_names(rows, faults)}"))
                continue
            found, more = _records(name, rows)
            records += found
            defects += (*faults, *more)
            declared |= classes
            files.append(name)
        if not files:
            if defects:
                raise UnusableLabelsError(defects[0].detail)
            return None
        labels = column_labels(records, vocabulary, listing.place(files[0]), defects, declared)
        return labelled(self.name, listing, labels, vocabulary, files, used=names)


def _rows(listing: Listing, name: str) -> tuple[list[Numbered], list[Defect], dict[str, tuple[str, ...]]]:
    """Numbered rows, lines that are none, and the class names of columns of numbers."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".parquet":
        table = read_parquet(listing, name)
        return list(enumerate(table.rows, 1)), [], dict(table.declared)
    if suffix == ".jsonl":
        values, bad = read_json_lines(listing, name)
        return values, [Defect("unreadable row", f"{name}:{number}", "no JSON") for number in bad], {}
    rows, faults = read_named_rows(name, decode_text(listing.read(name), listing.place(name)))
    return rows, faults, {}


def _no_names(rows: Iterable[Numbered], faults: list[Defect]) -> str:
    """Say what a file without a single ``file_name`` has instead."""
    columns = sorted({str(column) for _, row in rows if isinstance(row, dict) for column in row})
    if columns:
        return f"has no column {FILE_NAME}; it has {', '.join(columns[:5])}"
    return f"has no row that can be read, first {faults[0].name}: {faults[0].detail}" if faults else "has no rows"


def _records(name: str, rows: Iterable[Numbered]) -> tuple[list[Record], list[Defect]]:
    folder = PurePosixPath(name).parent
    records: list[Record] = []
    defects = []
    seen = set()
    for number, row in rows:
        key = path_id(row.get(FILE_NAME)) if isinstance(row, dict) else None
        if key is None:
            defects.append(Defect("unreadable row", f"{name}:{number}", f"no {FILE_NAME}"))
            continue
        key = (folder / key).as_posix()
        if key in seen:
            defects.append(Defect("duplicate id", key))
        seen.add(key)
        records.append((key, {column: value for column, value in row.items() if column != FILE_NAME}))
    return records, defects
