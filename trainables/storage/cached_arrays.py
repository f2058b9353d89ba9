"""Arrays that are computed once and kept in a file."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def cached_arrays(
    path: Path, names: Sequence[str], make: Callable[[], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Read arrays from the file at ``path``; make it if it is missing, damaged or lacks one of ``names``."""
    damaged = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)
    if path.exists():
        with contextlib.suppress(*damaged), np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    arrays = make()
    with atomic_write(path) as partial:
        np.savez(partial, allow_pickle=False, **arrays)
    return arrays
