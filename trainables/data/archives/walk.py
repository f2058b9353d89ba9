"""The files of a folder, in natural order, without what is hidden."""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trainables.data.defects import Defect
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


def natural_key(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which "9" comes before "10"."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [(0, _number(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], text


def _number(digits: str) -> int:
    return int(digits[:4000])  # Python refuses longer ones


class FolderLinks:
    """Decides which links to folders are followed: each folder once, and none that holds the data or lies in them."""

    def __init__(self, root: Path) -> None:
        self._entered = {root.resolve()}
        self._above = set(root.resolve().parents)

    def follow(self, link: Path) -> bool:
        """Return whether to list the folder that a link leads to, and remember it."""
        target = link.resolve()
        if target in self._above or not self._entered.isdisjoint((target, *target.parents)):
            return False
        self._entered.add(target)
        self._above.update(target.parents)
        return True


class Kind(Enum):
    """What an entry of a folder is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link not followed"
    SPECIAL = "not a plain file"
    UNREADABLE = "unreadable folder"


class Entry(NamedTuple):
    """One entry of a folder; for a folder that cannot be listed, ``why``."""

    path: str
    kind: Kind
    stat: os.DirEntry[str] | None = None
    why: str = ""


def is_plain_file(path: Path) -> bool:
    """Whether a path leads to a file; not where that cannot be found out."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where a folder on the way is closed


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; not where that cannot be found out."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def walk_folder(folder: Path) -> Iterator[Entry]:
    """All entries below a folder that are not hidden: those of each folder by name, then those of its folders.

    Whatever depends on the files of a data set walks this way: which link to a folder is followed, and which one is
    not since that folder is listed already, depends on the order.
    """
    links, pending = FolderLinks(folder), [str(folder)]
    while pending:
        top = pending.pop()
        try:
            with os.scandir(top) as found:
                entries = sorted((one for one in found if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError as error:
            yield Entry(top, Kind.UNREADABLE, None, error.strerror or str(error))
            continue
        below = []
        for entry in entries:
            kind = _kind(entry, links)
            yield Entry(entry.path, kind, entry)
            if kind is Kind.FOLDER:
                below.append(entry.path)
        pending += reversed(below)


def _kind(entry: os.DirEntry[str], links: FolderLinks) -> Kind:
    try:
        if entry.is_dir():
            return Kind.FOLDER if not entry.is_symlink() or links.follow(Path(entry.path)) else Kind.LINK
        if entry.is_file():
            return Kind.FILE
        entry.stat()
    except OSError:  # a link that leads nowhere, in a circle or into a closed folder: whoever reads it says why
        return Kind.FILE
    return Kind.LINK if entry.is_symlink() else Kind.SPECIAL


def list_files(folder: Path) -> tuple[list[Path], list[Defect]]:
    """All files of a folder that are not hidden, in natural order, and what was passed over.

    Links to files are followed, and those to other folders. A link to a folder that is listed already, or to one above
    the data, and a link to a device or pipe are not; pipes, sockets and devices are not read, and folders that cannot
    be listed are named.

    Raises:
        UserError: no such folder, or it cannot be listed.
    """
    if not is_folder(folder):
        there = os.path.exists(folder)  # noqa: PTH110 - as above
        raise UserError(f"data folder {folder} {'is not a folder' if there else 'does not exist'}")
    files, defects = [], []
    for path, kind, _, why in walk_folder(folder):
        if kind is Kind.FILE:
            files.append(Path(path))
        elif kind is Kind.UNREADABLE and path == str(folder):
            raise UserError(f"cannot read data folder {folder}: {why}")
        elif kind is not Kind.FOLDER:
            detail = str(Path(path).readlink()) if kind is Kind.LINK else why
            defects.append(Defect(kind.value, Path(path).relative_to(folder).as_posix(), detail))
    return sorted(files, key=lambda path: natural_key(path.relative_to(folder).as_posix())), defects
