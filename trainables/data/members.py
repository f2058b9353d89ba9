"""Contents inside other files: a member of a zip or tar, or a cell of a parquet file, read when asked for."""

from __future__ import annotations

import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


class Member(Protocol):
    """Something that has a name, a size in bytes and a content, without being a file of its own."""

    @property
    def name(self) -> str:
        """Path below the root of the data, with forward slashes."""

    @property
    def size(self) -> int:
        """Bytes, as the archive states them."""

    @property
    def stamp(self) -> str:
        """Text that changes when the archive or the member changes."""

    def read_bytes(self) -> bytes:
        """Content; ``OSError`` when it cannot be read."""


ImageFile = Path | Member


def file_name(file: ImageFile, root: Path) -> str:
    """Path of a file below the root of the data, with forward slashes."""
    return file.relative_to(root).as_posix() if isinstance(file, Path) else file.name


def archive_stamp(path: Path) -> str:
    """Identify an archive by path, size and times of change."""
    status = path.stat()
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _as_os_error(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except OSError:
        raise
    except Exception as error:  # damaged archives raise anything from zlib.error to NotImplementedError
        raise OSError(str(error) or type(error).__name__) from error


@functools.lru_cache(maxsize=4)
def open_zip(path: Path, _stamp: str) -> zipfile.ZipFile:
    """Keep the last few archives open: reading a directory of 100,000 members takes a second."""
    return zipfile.ZipFile(path)


@dataclass(frozen=True)
class ZipMember:
    """One file of a zip archive."""

    archive: Path
    archive_stamp: str
    member: str
    name: str
    size: int

    @property
    def stamp(self) -> str:
        """Archive and member."""
        return f"{self.archive_stamp} {self.member} {self.size}"

    def read_bytes(self) -> bytes:
        """Content, of at most the size that the archive states."""
        return _as_os_error(lambda: open_zip(self.archive, self.archive_stamp).read(self.member))


@dataclass(frozen=True)
class TarMember:
    """One file of an uncompressed tar archive."""

    archive: Path
    archive_stamp: str
    offset: int
    name: str
    size: int

    @property
    def stamp(self) -> str:
        """Archive and place."""
        return f"{self.archive_stamp} {self.offset} {self.size}"

    def read_bytes(self) -> bytes:
        """Content; ``OSError`` when the archive ends within it."""
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"the archive ends after {len(data)} of {self.size} bytes")
        return data


@dataclass(frozen=True, eq=False)
class ParquetCells:
    """A column of images in a parquet file; the last row group read is kept."""

    archive: Path
    archive_stamp: str
    column: str
    lock: threading.Lock
    kept: dict[int, list[Any]]

    def cell(self, group: int, place: int) -> bytes:
        """Bytes of one row of a row group."""
        import pyarrow.parquet as pq

        with self.lock:
            if group not in self.kept:
                self.kept.clear()
                with pq.ParquetFile(self.archive) as file:
                    self.kept[group] = file.read_row_group(group, columns=[self.column])[self.column].to_pylist()
            value = self.kept[group][place]
        content = value.get("bytes") if isinstance(value, dict) else value
        return content if isinstance(content, bytes) else b""


@dataclass(frozen=True)
class ParquetMember:
    """One image in a parquet file."""

    cells: ParquetCells
    group: int
    place: int
    name: str
    size: int = 0

    @property
    def stamp(self) -> str:
        """File, row group and row."""
        return f"{self.cells.archive_stamp} {self.group} {self.place}"

    def read_bytes(self) -> bytes:
        """Content; empty where the cell is null."""
        return _as_os_error(lambda: self.cells.cell(self.group, self.place))
