"""Atomic writes: a file or folder appears complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_SUFFIX: Final = r"\.[a-z][a-z0-9]{2,4}"
"""Suffixes such as ``.png`` and ``.xyz``, in lower case, that names of files have and those of folders do not."""


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, and rename it to ``path`` if the block succeeds; remove it otherwise.

    The temporary path keeps the suffix, because some writers choose the format by it. A device or pipe (``/dev/null``)
    is written to, not replaced.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def require_folder_name(folder: Path, option: str = "-o") -> None:
    """Refuse a new folder whose name ends like a file's, such as ``faces.png`` or ``faces.zip``.

    Raises:
        UsageError: such a name. A folder that exists already may have it.
    """
    if re.fullmatch(FILE_SUFFIX, folder.suffix.lower()) and not folder.is_dir():
        raise UsageError(
            f"{option} is {folder}: {folder.suffix} names a file, and a folder is written; "
            f"give a name without suffix, for instance {folder.with_suffix('')}"
        )


def require_empty(folder: Path) -> None:
    """Check that ``folder`` can be written atomically.

    Raises:
        UsageError: its name ends like a file's.
        UserError: it is a file, it is not empty, or it is the working folder.
    """
    require_folder_name(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; give another -o")
    if folder.resolve() == Path.cwd():
        raise UserError(f"{folder.resolve()} is the working folder and would be replaced; give another -o")


@contextlib.contextmanager
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder``, and rename it to ``folder`` if the block succeeds; remove it otherwise.

    Raises:
        UsageError: the name of ``folder`` ends like a file's.
        UserError: it is a file, not empty, or the working folder.
    """
    require_empty(folder)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, data: Any) -> None:
    """Write indented, strict JSON (no NaN) atomically."""
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
