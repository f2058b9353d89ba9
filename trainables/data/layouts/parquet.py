"""Parquet shards with images in a column, as Hugging Face keeps data sets; and parquet tables of labels."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from trainables.data.archives.listing import PARQUET, TEXT_LIMIT
from trainables.data.defects import Defect
from trainables.data.layouts.base import LabelledSource, UnusableLabelsError, column_labels, labelled
from trainables.data.members import ParquetCells, ParquetMember, archive_stamp
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainables.data.archives.listing import Listing
    from trainables.data.discovery.columns import Record
    from trainables.data.members import ImageFile
    from trainables.data.tags import Vocabulary

GROUP_LIMIT: Final = 2**32
"""Bytes of images in one row group, which is read at once."""


@dataclass(frozen=True)
class ParquetTable:
    """Cells of a parquet file, apart from its images.

    ``declared`` has the class names of columns of class numbers. ``groups`` are the rows of each row group.
    """

    path: Path
    rows: tuple[Mapping[str, Any], ...]
    declared: Mapping[str, tuple[str, ...]]
    image: str | None
    groups: tuple[int, ...]


class ParquetShards:
    """Files whose rows are an image each, with labels in the other columns."""

    name = "parquet shards"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read every parquet file that has a column of images.

        Raises:
            UserError: no file has one, and there are no images beside them.
        """
        files: list[str] = []
        faults: list[Defect] = []
        images: dict[str, ImageFile] = {}
        records: list[Record] = []
        declared: dict[str, tuple[str, ...]] = {}
        for name in listing.others(PARQUET):
            try:
                table = read_parquet(listing, name)
                if table.image is None:
                    raise UnusableLabelsError(
                        f"{listing.place(name)} has no column of images; expected one of struct<bytes, path> or binary"
                    )
            except UserError as error:
                faults.append(Defect("ignored file", name, first_line(error)))
                continue
            contents = _images(table, PurePosixPath(name).with_suffix("").as_posix())
            records += zip(contents, table.rows, strict=True)
            images |= contents
            declared |= table.declared
            files.append(name)
        if not files:
            if faults and not listing.images:
                raise UnusableLabelsError(faults[0].detail)
            return None
        if not any(cells for _, cells in records):
            raise UnusableLabelsError(
                f"{listing.place(files[0])} has {'images and no column of labels' if records else 'no rows'}"
            )
        labels = column_labels(records, vocabulary, listing.place(files[0]), declared=declared)
        found = labelled(self.name, listing, labels, vocabulary, files, images=images, path_ids=True)
        return replace(found, defects=(*faults, *found.defects))


def read_parquet(listing: Listing, name: str) -> ParquetTable:
    """Read the labels of a parquet file; its images are read when they are asked for.

    Raises:
        UserError: it is no parquet file, is damaged, or lies in an archive.
    """
    import pyarrow.parquet as pq

    path = listing.files[name]
    if not isinstance(path, Path):
        raise UnusableLabelsError(f"cannot read {listing.place(name)}: a parquet file in an archive; unpack it first")
    try:
        with pq.ParquetFile(path) as file:
            schema, about = file.schema_arrow, file.metadata
            image = _image_column(schema)
            groups = [about.row_group(place) for place in range(about.num_row_groups)]
            _limit(path, groups, image)
            others = [column for column in schema.names if column != image]
            rows = file.read(columns=others).to_pylist() if others else [{}] * about.num_rows
            declared = _class_names(schema.metadata or {})
    except UserError:
        raise
    except Exception as error:  # damage reaches Arrow's decoders, which raise anything from OSError to KeyError
        raise UnusableLabelsError(f"cannot read {path}: no sound parquet file ({first_line(error)[:100]})") from error
    if sum(group.num_rows for group in groups) != len(rows):
        raise UnusableLabelsError(f"cannot read {path}: no sound parquet file (row groups do not add up)")
    return ParquetTable(path, tuple(rows), declared, image, tuple(group.num_rows for group in groups))


def _image_column(schema: Any) -> str | None:
    """The column of structs with ``bytes``, else of binary values."""
    import pyarrow as pa

    binary = []
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            binary.append(str(field.name))
    return binary[0] if binary else None


def _limit(path: Path, groups: list[Any], image: str | None) -> None:
    """Refuse row groups that would not fit into memory, before anything of them is read.

    Statistics of single columns are not asked for: Arrow ends the process where those are damaged.
    """
    limit = TEXT_LIMIT if image is None else GROUP_LIMIT
    for group in groups:
        if group.total_byte_size > limit:
            raise UnusableLabelsError(
                f"cannot read {path}: a row group of {group.total_byte_size:,} bytes; the limit is {limit:,}"
            )


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Class names that Hugging Face writes into a file's schema."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            str(name): tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and isinstance(feature.get("names"), list)
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _images(table: ParquetTable, stem: str) -> dict[str, ImageFile]:
    cells = ParquetCells(table.path, archive_stamp(table.path), table.image or "", threading.Lock(), {})
    places = ((group, place) for group, count in enumerate(table.groups) for place in range(count))
    return {
        f"{stem}/{number:07d}": ParquetMember(cells, group, place, f"{stem}/{number:07d}")
        for number, (group, place) in enumerate(places)
    }
