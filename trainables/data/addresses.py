"""Data at an address such as ``s3://bucket/faces``: copied once, through fsspec, to a folder that is then read."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from trainables.errors import UserError, first_line
from trainables.storage.atomic import atomic_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDRESS: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+):/+(.*)")
_VERSION_KEYS: Final = ("size", "ETag", "etag", "LastModified", "last_modified", "mtime", "created", "blob_id", "oid")
"""What file systems call the things that change with the content of a file."""


def as_address(path: Path) -> str | None:
    """Return the address that a path stands for, with the second slash that ``Path`` drops; ``None`` for others."""
    match = _ADDRESS.fullmatch(str(path))
    return f"{match[1]}://{'/' if match[1] == 'file' else ''}{match[2]}" if match and not path.exists() else None


def local_data(path: Path, cache: Path) -> Path:
    """Return the folder or file that a path or address names; what is elsewhere is copied into ``cache``.

    A copy is used again while the names, sizes and versions that the file system lists stay the same.

    Raises:
        UserError: the address cannot be read, or the package that reads such addresses is not installed.
    """
    address = as_address(path)
    if address is None:
        return path
    if address.startswith("file://"):
        return Path(address.removeprefix("file://"))
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(address)
        found = files.find(root, detail=True)
    except ImportError as error:
        raise UserError(f"--data {address}: {first_line(error)}; or copy the data to a local folder") from error
    except Exception as error:  # what file systems raise has no common class
        raise UserError(f"cannot list --data {address}: {first_line(error)}") from error
    names = {name: _relative(name, root, address) for name in found}
    if not names:
        raise UserError(f"data folder {address} does not exist, or is empty")
    copy = cache / f"data-{_version(address, found)}"
    if not copy.is_dir():
        try:
            with atomic_directory(copy) as folder:
                targets = [str(folder / relative) for relative in names.values()]
                files.get(list(names), targets)
        except Exception as error:
            raise UserError(f"cannot copy --data {address} to {cache}: {first_line(error)}") from error
    only = next(iter(found))
    return copy / names[only] if only.rstrip("/") == root.rstrip("/") else copy


def _relative(name: str, root: str, address: str) -> str:
    """Path of a file below ``root``; the name of a file that is ``root`` itself.

    Raises:
        UserError: it leads out of the folder.
    """
    inside = name.removeprefix(root.rstrip("/")).lstrip("/") or PurePosixPath(name).name
    if ".." in PurePosixPath(inside).parts:
        raise UserError(f"--data {address} has a file {name!r}, which leads out of the folder; rename it")
    return inside


def _version(address: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    listed = [
        [name, *(str(about[key]) for key in _VERSION_KEYS if about.get(key) is not None)]
        for name, about in sorted(found.items())
    ]
    return hashlib.sha256(json.dumps([address, listed]).encode()).hexdigest()[:16]
