"""Tag files of a data set: tables with a header, attribute lists, and the reports' tag lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trainables.data.defects import Defect
from trainables.data.discovery.columns import YES_NO
from trainables.data.discovery.rows import LeftOut, RawLabels, RawRow
from trainables.data.layouts.base import LabelledSource, UnusableLabelsError, column_labels, image_files, labelled
from trainables.data.layouts.table_files import (
    TAG_SUFFIXES,
    TableFile,
    classify_text,
    classify_texts,
    possible_submissions,
    tables_of_splits,
)
from trainables.data.tag_files.header_table import HeaderTable, merge_tables
from trainables.data.tag_files.readers import NotTagsError, TagTable, merge
from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainables.data.archives.listing import Listing
    from trainables.data.tags import Vocabulary


class Tables:
    """Text files with a row for each image: at the top, else in the folders of splits."""

    name = "tag files"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read every tag file of the first place in which one gives labels; text that is none is named.

        Raises:
            UserError: none of the files gives a label.
        """
        splits = tables_of_splits(listing)
        ignored: list[Defect] = []
        names: set[str] = set()
        failed: UnusableLabelsError | None = None
        for texts, exact in ((listing.others(*TAG_SUFFIXES, top=True), bool(splits)), (splits, False)):
            here = classify_texts(listing, texts, vocabulary, exact=exact)
            ignored += here.ignored
            names.update(here.names)
            try:
                found, more = _read_best(listing, here.files, vocabulary)
            except UnusableLabelsError as error:
                failed = failed or UnusableLabelsError("; ".join([str(error), *(one.detail for one in ignored[:2])]))
                ignored += [Defect("ignored file", file.name, first_line(error)) for file in here.files]
                continue
            if found:
                return replace(found, defects=(*ignored, *more, *found.defects), used=found.used | names)
        if failed:
            raise failed
        if ignored:
            place = listing.place(ignored[0].name)
            named = place in ignored[0].detail
            raise UnusableLabelsError(ignored[0].detail if named else f"{place}: {ignored[0].detail}")
        return None


class Submissions:
    """``submission.csv`` at the top of images that nothing else labels."""

    name = "tag files"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read the tables of this name.

        Raises:
            UserError: they give no labels.
        """
        files = [classify_text(listing, name, vocabulary) for name in possible_submissions(listing)]
        found, more = _read_best(listing, files, vocabulary)
        return found and replace(found, defects=(*more, *found.defects))


def _read_best(
    listing: Listing, files: Sequence[TableFile], vocabulary: Vocabulary | None
) -> tuple[LabelledSource | None, list[Defect]]:
    """Read rows of tags where there are any, else tables, else an attribute list; name the lists beside them."""
    if any(file.tags for file in files):
        return _read_tags(listing, files, vocabulary or REPORT_VOCABULARY)
    if tables := [file.table for file in files if file.table]:
        return _read_tables(listing, tables, vocabulary), _lists_ignored(files, tables[0].name)
    if phrases := [file for file in files if file.phrases]:
        labels = _joined([file.phrases for file in phrases if file.phrases])
        found = labelled("tag list", listing, labels, vocabulary, [file.name for file in phrases])
        return found, _lists_ignored(files, phrases[0].name)
    if lists := [file for file in files if file.attributes]:
        return _read_attributes(listing, lists[0], vocabulary), _lists_ignored(lists[1:], lists[0].name)
    return None, []


def _read_tags(
    listing: Listing, files: Sequence[TableFile], vocabulary: Vocabulary
) -> tuple[LabelledSource, list[Defect]]:
    """Rows in the words of the reports, or of the given vocabulary; tables beside them in the same words."""
    tables: dict[str, TagTable] = {}
    ignored = _lists_ignored(files, ", ".join(file.name for file in files if file.tags))
    left_out: list[LeftOut] = []
    for file in files:
        if file.tags:
            tables[file.name] = file.tags
        elif file.table:
            try:
                found = _read_tables(listing, [file.table], vocabulary)
                tables[file.name] = TagTable(found.rows, found.defects)
                left_out += found.left_out
            except UserError as error:
                ignored.append(Defect("ignored file", file.name, first_line(error)))
    for name in _prompts(tables, listing):
        rows = tables.pop(name).rows
        there = sum(bool(listing.matcher.find(row.id)) for row in rows)
        ignored.append(
            Defect("ignored file", name, f"prompts: numbered 1 to {len(rows)}, {there} of them name an image")
        )
    kept, conflicts = merge([row for table in tables.values() for row in table.rows])
    problems = [problem for table in tables.values() for problem in table.problems]
    source = LabelledSource(
        layout="tag list",
        vocabulary=vocabulary,
        rows=tuple(kept.values()),
        files=tuple(tables),
        images=image_files(listing),
        left_out=tuple(left_out),
        defects=(*problems, *conflicts),
    )
    return source, ignored


def _prompts(tables: dict[str, TagTable], listing: Listing) -> list[str]:
    """Files whose ids merely count lines: their text is otherwise that of a tag file.

    Were all of them prompts, they are more likely the tags of other images: better a refusal that counts those.
    """
    found = []
    for name, table in tables.items():
        ids = [row.id for row in table.rows]
        counted = ids == [str(number) for number in range(1, len(ids) + 1)]
        if counted and 2 * sum(bool(listing.matcher.find(one)) for one in ids) < len(ids):
            found.append(name)
    return found if len(found) < len(tables) else []


def _read_tables(listing: Listing, tables: Sequence[HeaderTable], vocabulary: Vocabulary | None) -> LabelledSource:
    table = merge_tables(tables)
    labels = column_labels(table.records, vocabulary, listing.place(table.name), table.defects)
    return labelled("CSV with a header", listing, labels, vocabulary, [one.name for one in tables])


def _read_attributes(listing: Listing, file: TableFile, vocabulary: Vocabulary | None) -> LabelledSource:
    names, table = file.attributes or ((), TagTable((), ()))
    groups = [name.lower() for name in names]
    rows = tuple(
        RawRow(row.id, {
            group: () if label == UNKNOWN else (YES_NO[label],) for group, label in zip(groups, row.labels, strict=True)
        })
        for row in table.rows
    )  # fmt: skip
    labels = RawLabels(rows, dict.fromkeys(groups, YES_NO), names, defects=table.problems)
    return labelled("attribute list", listing, labels, vocabulary, [file.name])


def _lists_ignored(files: Sequence[TableFile], used: str) -> list[Defect]:
    why = f"attribute list; the tags are those of {used}"
    return [Defect("ignored file", file.name, why) for file in files if file.attributes]


def _joined(parts: Sequence[RawLabels]) -> RawLabels:
    return RawLabels(
        tuple(row for part in parts for row in part.rows), defects=tuple(d for p in parts for d in p.defects)
    )


__all__ = ["TAG_SUFFIXES", "NotTagsError", "Submissions", "Tables"]
