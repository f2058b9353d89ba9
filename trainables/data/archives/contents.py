"""The members of zip and tar archives that are plain files inside them; all others are named, none is unpacked."""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from trainables.data.defects import Defect
from trainables.data.members import Member, TarMember, ZipMember, archive_stamp, open_zip
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator

MEMBER_LIMIT: Final = 5_000_000
"""Members above which an archive is refused: their names alone would fill the memory."""
_OTHER_SYSTEMS: Final = "__MACOSX"

Contents = tuple[list[Member], list[Defect]]


def list_zip(path: Path) -> Contents:
    """Files of a zip, the first of those of one name.

    Raises:
        UserError: it is no zip, or has too many members.
    """
    try:
        stamp = archive_stamp(path)
        entries = open_zip(path, stamp).infolist()
    except Exception as error:  # a damaged directory raises anything from BadZipFile to struct.error
        raise UserError(
            f"cannot read {path}: {_zip_damage(path) or first_line(error)}; expected a zip archive"
        ) from error
    _limit(path, len(entries))
    members: dict[str, Member] = {}
    defects: list[Defect] = []
    for entry in entries:
        if entry.filename.endswith("/") or _hidden(entry.filename):  # is_dir() fails on an empty name
            continue
        if fault := _zip_fault(entry):
            defects.append(fault)
        elif (name := _inside(entry.filename)) in members:
            defects.append(Defect("same name twice", name, f"in {path.name}; the first is used"))
        else:
            members[name] = ZipMember(path, stamp, entry.filename, name, entry.file_size)
    return list(members.values()), defects


def _zip_damage(path: Path) -> str:
    """Tell an archive that ends early from a file that is none: each member begins with the same bytes."""
    try:
        with path.open("rb") as file:
            started = file.read(4) == b"PK\x03\x04"
    except OSError:
        return ""
    return "it is cut short or damaged, the list of members at its end is missing" if started else ""


def _zip_fault(entry: zipfile.ZipInfo) -> Defect | None:
    if stat.S_ISLNK(entry.external_attr >> 16):
        return Defect("link not followed", entry.filename)
    if fault := _name_fault(entry.filename):
        return fault
    return Defect("encrypted member", entry.filename) if entry.flag_bits & 1 else None


def list_tar(path: Path) -> Contents:
    """Files of an uncompressed tar, the last of those of one name, as tar itself does.

    Raises:
        UserError: it is no tar, is compressed, or has too many members.
    """
    members: dict[str, Member] = {}
    defects: list[Defect] = []
    try:
        stamp, length = archive_stamp(path), path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            for count, entry in enumerate(_entries(archive, path, defects), 1):
                _limit(path, count)
                if entry.isdir() or _hidden(entry.name):
                    continue
                if fault := _tar_fault(entry, length):
                    defects.append(fault)
                    continue
                name = _inside(entry.name)
                if name in members:
                    defects.append(Defect("same name twice", name, f"in {path.name}; the last is used"))
                members[name] = TarMember(path, stamp, entry.offset_data, name, entry.size)
        if not _ends(path, length):
            defects.append(Defect("truncated archive", path.name, "no mark of its end"))
    except UserError:
        raise
    except Exception as error:  # as with zips
        hint = "expected an uncompressed tar archive (gunzip a .tar.gz first)"
        raise UserError(f"cannot read {path}: {first_line(error)}; {hint}") from error
    return list(members.values()), defects


def _entries(archive: tarfile.TarFile, path: Path, defects: list[Defect]) -> Iterator[tarfile.TarInfo]:
    """Members up to the first that cannot be read; those before it are still good."""
    while True:
        try:
            entry = archive.next()
        except Exception as error:
            defects.append(Defect("truncated archive", path.name, first_line(error)))
            return
        if entry is None:
            return
        yield entry


def _ends(path: Path, length: int) -> bool:
    """Whether a tar ends in a block of zeros, as each must."""
    with path.open("rb") as file:
        file.seek(max(0, length - tarfile.BLOCKSIZE))
        return not any(file.read())


def _tar_fault(entry: tarfile.TarInfo, length: int) -> Defect | None:
    if entry.issym() or entry.islnk():
        return Defect("link not followed", entry.name, entry.linkname)
    if not entry.isreg() or entry.issparse():
        return Defect("unsafe member", entry.name, "no plain file")
    if fault := _name_fault(entry.name):
        return fault
    if entry.offset_data + entry.size > length:
        return Defect("truncated", entry.name, f"{entry.size:,} bytes announced, the archive ends before")
    return None


def _name_fault(name: str) -> Defect | None:
    if _inside(name) == ".":
        return Defect("unsafe member", name or "(no name)", "names no file")
    return None if _inside(name) else Defect("unsafe member", name, "leads out of the archive")


def _inside(name: str) -> str:
    """The member's path with forward slashes; empty where it would lead out of the archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = path.parts and path.parts[0].endswith(":")
    return "" if path.is_absolute() or ".." in path.parts or drive or "\0" in name else path.as_posix()


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any((part.startswith(".") and part not in {".", ".."}) or part == _OTHER_SYSTEMS for part in parts)


def _limit(path: Path, count: int) -> None:
    if count > MEMBER_LIMIT:
        raise UserError(f"cannot read {path}: more than {MEMBER_LIMIT:,} members")
