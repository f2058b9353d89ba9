"""What ``--data`` names, as files by name: a folder, a zip, a tar, a parquet file, or a pattern of shards."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trainables.data.archives.contents import list_tar, list_zip
from trainables.data.archives.matching import Matcher
from trainables.data.archives.walk import is_folder, is_plain_file, list_files, natural_key
from trainables.data.images import SUFFIXES
from trainables.data.members import Member, file_name
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainables.data.defects import Defect
    from trainables.data.members import ImageFile

TEXT_LIMIT: Final = 2**28
"""Bytes above which a file of labels is not read."""
ARCHIVES: Final = {".zip": list_zip, ".tar": list_tar}
PARQUET: Final = ".parquet"
_RANGE: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SHARDS: Final = 100_000
_PACKED: Final = frozenset({".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})


class UnreadableFileError(UserError):
    """A file of labels that cannot be read; the message names it."""


@dataclass(frozen=True)
class Listing:
    """Files by path below the root, in natural order, and what was passed over.

    ``shards`` are folders of names that stand for archives and mean nothing.
    """

    root: Path
    files: Mapping[str, ImageFile]
    defects: tuple[Defect, ...] = ()
    shards: frozenset[str] = frozenset()
    _texts: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, path: Path) -> Listing:
        """List a folder, an archive, a parquet file or shards.

        Raises:
            UserError: there is no such thing, or it is of another kind.
        """
        if is_folder(path):
            return _of_folder(path)
        if files := data_files(path):
            return _of_files(path, files)
        if _RANGE.search(str(path)) or set(path.name) & set("*?["):
            raise UserError(f"data {path}: no file fits this pattern")
        raise UserError(f"data folder {path} does not exist")

    @property
    def images(self) -> list[str]:
        """Names of the image files."""
        return [name for name in self.files if is_image(name)]

    @cached_property
    def matcher(self) -> Matcher:
        """Looks ids up among the images."""
        return Matcher(self.images)

    def others(self, *suffixes: str, top: bool = False) -> list[str]:
        """Names of files with one of the suffixes; of those at the top only where asked for."""
        found = (name for name in self.files if suffix_of(name) in suffixes)
        return [name for name in found if not top or "/" not in name]

    def read(self, name: str) -> bytes:
        """Content of a file of labels.

        Raises:
            UnreadableFileError: it is too large or cannot be read.
        """
        if name not in self._texts:
            file = self.files[name]
            try:
                size = file.size if not isinstance(file, Path) else file.stat().st_size
                if size > TEXT_LIMIT:
                    raise UnreadableFileError(
                        f"cannot read {self.place(name)}: {size:,} bytes; the limit for labels is {TEXT_LIMIT:,}"
                    )
                self._texts[name] = file.read_bytes()
            except OSError as error:
                raise UnreadableFileError(f"cannot read {self.place(name)}: {error.strerror or error}") from error
        return self._texts[name]

    def place(self, name: str) -> str:
        """A file's path as a message shows it; the data may be that file itself."""
        return str(self.root if self.files.get(name) == self.root else self.root / name)


def data_files(path: Path) -> list[Path]:
    """The files that a path names which is no folder: itself, or shards; empty where there are none.

    Raises:
        UserError: some of the shards are missing, or they are absurdly many.
    """
    return [path] if is_plain_file(path) else list(_shards(path))


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image."""
    return suffix_of(name) in SUFFIXES


def suffix_of(name: str) -> str:
    """Suffix of a path in lower case, with its dot; empty where there is none."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return f"{dot}{suffix}".lower() if stem else ""


def _of_folder(folder: Path) -> Listing:
    paths, defects = list_files(folder)
    files: dict[str, ImageFile] = {_normal(file_name(path, folder)): path for path in paths}
    if not any(map(is_image, files)) and (archives := [p for p in paths if p.suffix.lower() in ARCHIVES]):
        for path in archives:
            del files[_normal(file_name(path, folder))]
        inside = _of_files(folder, archives)
        return Listing(folder, _natural({**files, **inside.files}), (*defects, *inside.defects), inside.shards)
    return Listing(folder, files, tuple(defects))


def _of_files(root: Path, paths: Sequence[Path]) -> Listing:
    """The members of archives; those of several stand in a folder of the archive's name where names recur."""
    members: list[tuple[str, list[Member]]] = []
    files: dict[str, ImageFile] = {}
    defects: list[Defect] = []
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in ARCHIVES:
            found, faults = ARCHIVES[suffix](path)
            members.append((path.stem, found))
            defects += faults
        elif suffix == PARQUET:
            files[path.name] = path
        else:
            hint = "; unpack it first" if suffix in _PACKED else f"; give the folder that holds it, {path.parent}"
            raise UserError(
                f"data {root} is not a folder, and {path.name} is none of: {', '.join([*ARCHIVES, PARQUET])}{hint}"
            )
    names = [member.name for _, found in members for member in found]
    recur = len(set(names)) < len(names)
    top = "" if recur else _common_top(names)
    for stem, found in members:
        for member in found:
            files[_normal(f"{stem}/{member.name}" if recur else member.name.removeprefix(top))] = member
    shards = frozenset(stem for stem, _ in members) if recur else frozenset[str]()
    return Listing(root, _natural(files), tuple(defects), shards)


def _common_top(names: Sequence[str]) -> str:
    """``data/`` where every member lies below one folder of that name, as when somebody zips a folder."""
    tops = {name.partition("/")[0] + "/" for name in names}
    return tops.pop() if len(tops) == 1 and all("/" in name for name in names) else ""


def _natural(files: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
    return {name: files[name] for name in sorted(files, key=natural_key)}


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _shards(path: Path) -> Iterator[Path]:
    """Existing files of ``x-{000000..000146}.tar`` or ``x-*.tar``.

    Raises:
        UserError: a range of absurdly many, or one of which files are missing.
    """
    text = str(path)
    if not (match := _RANGE.search(text)):
        if set(path.name) & set("*?["):
            yield from sorted(file for file in path.parent.glob(path.name) if file.is_file())
        return
    low, high = int(match[1]), int(match[2])
    if high - low >= _SHARDS:
        raise UserError(f"data {path} names {high - low + 1:,} shards; the limit is {_SHARDS:,}")
    names = [Path(f"{text[: match.start()]}{n:0{len(match[1])}d}{text[match.end() :]}") for n in range(low, high + 1)]
    found = [name for name in names if name.is_file()]
    if found and len(found) < len(names):
        missing = [name.name for name in names if name not in found]
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"data {path}: {len(missing)} of {len(names)} shards {verb} missing: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}"
        )
    yield from found
