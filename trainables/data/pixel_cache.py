"""Decoding many picture files once: pixels in one memory-mapped array, kept under the hash of what they came from.

Two things are kept in a cache folder. ``index-<folder>.json`` remembers content hashes by path, size and time of
change, so that an unchanged folder is not read again. ``pixels-<key>.npy`` holds pixels; its key covers every content
hash, so that it is never stale, and ``pixels-<key>.json`` beside it says which files were bad and checks its bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import PIL
from PIL import Image

from trainables.data.images import METHOD, BadImage, decode_image, read_bytes
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Progress = Callable[[int, int], None]
    Outcome = tuple[int, int] | tuple[str, str]

_THREADS: Final = min(8, os.cpu_count() or 1)
"""Pillow releases the interpreter while it decodes, so threads do as well as processes and start at once."""
_UNREADABLE: Final = "-"


@dataclass(frozen=True)
class DecodedFiles:
    """What became of picture files: pixels of the good ones, and for every file its outcome.

    ``pixels`` is ``(good files, size, size, 3)`` in the order of the files. ``outcomes`` has for each file the
    picture's own (width, height), or (kind, detail) of what is wrong with it. ``hashes`` are of the contents.
    """

    pixels: NDArray[np.uint8]
    outcomes: tuple[Outcome, ...]
    hashes: tuple[str, ...]

    @property
    def good(self) -> NDArray[np.bool_]:
        """``(files,)``: which files gave a picture."""
        return np.array([isinstance(outcome[0], int) for outcome in self.outcomes], dtype=np.bool_)


def decode_files(
    folder: Path, files: Sequence[Path], size: int, cache: Path | None = None, progress: Progress | None = None
) -> DecodedFiles:
    """Decode ``files`` of ``folder`` to ``size`` pixels a side, or take them from ``cache`` when nothing changed.

    ``progress`` is called with (files decoded, all files), only when decoding.

    Raises:
        UserError: the cache cannot be written.
    """
    if cache is None:
        hashes = tuple(_content_hash(path) for path in files)
        decoded = list(_decoded(files, size, progress))
        good = [pixels for pixels, _ in decoded if pixels is not None]
        pixels = np.stack(good) if good else np.zeros((0, size, size, 3), dtype=np.uint8)
        return DecodedFiles(pixels, tuple(outcome for _, outcome in decoded), hashes)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        hashes = _indexed_hashes(folder, files, cache)
        made_from = [METHOD, PIL.__version__, size, *hashes]
        path = cache / f"pixels-{hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]}.npy"
        kept = _open(path, len(files), size)
        if kept is None:
            _write(path, files, size, progress)
            kept = _open(path, len(files), size)
    except OSError as error:
        raise UserError(f"cannot keep decoded pictures in {cache}: {error.strerror or error}") from error
    if kept is None:
        raise UserError(f"cannot keep decoded pictures in {cache}: {path.name} reads back differently; check the disk")
    return DecodedFiles(*kept, hashes)


def _content_hash(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except BadImage as bad:
        return f"{_UNREADABLE}{bad.kind}"


def _indexed_hashes(folder: Path, files: Sequence[Path], cache: Path) -> tuple[str, ...]:
    """Content hash of each file, from the index where path, size and time of change are the same."""
    path = cache / f"index-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}.json"
    known = _read_json(path) or {}
    stamps = [_stamp(folder, file) for file in files]
    unread = [place for place, stamp in enumerate(stamps) if stamp not in known]
    with ThreadPoolExecutor(_THREADS) as pool:
        read = dict(zip(unread, pool.map(_content_hash, (files[place] for place in unread)), strict=True))
    hashes = tuple(read.get(place) or str(known[stamp]) for place, stamp in enumerate(stamps))
    if unread:
        fresh = {stamp: digest for stamp, digest in zip(stamps, hashes, strict=True) if digest[0] != _UNREADABLE}
        with _replacing(path) as file:
            file.write(json.dumps(fresh).encode())
    return hashes


def _stamp(folder: Path, file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return f"{file}: missing"
    # The time of the last change to the file itself, too: programs that copy or edit may put back the other one.
    return f"{file.relative_to(folder).as_posix()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _decoded(
    files: Sequence[Path], size: int, progress: Progress | None
) -> Iterator[tuple[NDArray[np.uint8] | None, Outcome]]:
    """Decode in parallel, in order: ``(pixels, (width, height))`` or ``(None, (kind, detail))`` for each file."""

    def decode(path: Path) -> tuple[NDArray[np.uint8] | None, Outcome]:
        try:
            return decode_image(read_bytes(path), size)
        except BadImage as bad:
            return None, (bad.kind, bad.detail)

    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        # Large pictures are refused or, below our limit, meant; Pillow's warning in between helps nobody.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for done, result in enumerate(pool.map(decode, files), 1):
            yield result
            if progress:
                progress(done, len(files))


def _write(path: Path, files: Sequence[Path], size: int, progress: Progress | None) -> None:
    """Decode into ``path`` row by row, so that a set larger than memory works and a full disk is an ``OSError``."""
    outcomes, checksum, good = [], 0, 0
    with _replacing(path) as file:
        _write_header(file, len(files), size)
        for pixels, outcome in _decoded(files, size, progress):
            outcomes.append(outcome)
            if pixels is not None:
                row = pixels.tobytes()
                file.write(row)
                checksum = zlib.crc32(row, checksum)
                good += 1
        file.seek(0)  # numpy pads headers so that the number of rows can be set afterwards
        _write_header(file, good, size)
    with _replacing(path.with_suffix(".json")) as file:
        file.write(json.dumps({"outcomes": outcomes, "crc32": checksum}).encode())


def _write_header(file: IO[bytes], rows: int, size: int) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def _open(path: Path, count: int, size: int) -> tuple[NDArray[np.uint8], tuple[Outcome, ...]] | None:
    """Map cached pixels and read their outcomes; ``None`` when there are none or they are damaged."""
    notes = _read_json(path.with_suffix(".json"))
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        outcomes = tuple((outcome[0], outcome[1]) for outcome in (notes or {})["outcomes"])
        good = sum(isinstance(outcome[0], int) for outcome in outcomes)
        sound = len(outcomes) == count and pixels.shape == (good, size, size, 3) and pixels.dtype == np.uint8
        return (pixels, outcomes) if sound and zlib.crc32(pixels) == (notes or {})["crc32"] else None
    except (OSError, ValueError, EOFError, KeyError, TypeError, IndexError):
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when it is complete, and is gone when it fails."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("w+b") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
