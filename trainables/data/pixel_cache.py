"""Decoding many image files once: pixels in one memory-mapped array, kept under the hash of what they came from.

Two things are kept in a cache folder. ``index-<folder>.json`` remembers content hashes by path, size and time of
change, so that an unchanged folder is not read again. ``pixels-<key>.npy`` holds pixels; its key covers every content
hash, so that it is never stale, and ``pixels-<key>.json`` beside it says which files were bad and checks its bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import PIL
from PIL import Image

from trainables.data.images import LARGEST_ASPECT, SMALLEST_SIDE, BadImage, decode_image, read_bytes
from trainables.errors import UserError
from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from trainables.data.images import PixelFormat
    from trainables.data.members import ImageFile

    Progress = Callable[[int, int], None]
    Outcome = tuple[int, int, int] | tuple[str, str]

_THREADS: Final = min(8, os.cpu_count() or 1)
"""Pillow releases the interpreter while it decodes, so threads do as well as processes and start at once."""
_BLOCK: Final = 4096
"""Files handed to the threads at once."""
_UNREADABLE: Final = "-"


@dataclass(frozen=True)
class DecodedFiles:
    """What became of image files: pixels of the good ones, and for every file its outcome.

    ``pixels`` is ``(good files, size, size, channels)`` in the order of the files. ``outcomes`` has for each file the
    image's own (width, height, channels), or (kind, detail) of what is wrong with it. ``hashes`` are of the contents.
    """

    pixels: NDArray[np.uint8]
    outcomes: tuple[Outcome, ...]
    hashes: tuple[str, ...]

    @property
    def good(self) -> NDArray[np.bool_]:
        """``(files,)``: which files gave an image."""
        return np.array([isinstance(outcome[0], int) for outcome in self.outcomes], dtype=np.bool_)


def decode_files(
    folder: Path,
    files: Sequence[ImageFile],
    target: PixelFormat,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> DecodedFiles:
    """Decode ``files`` of ``folder`` to ``target``, or take them from ``cache`` when nothing changed.

    ``progress`` is called with (files decoded, all files), only when decoding.

    Raises:
        UserError: the cache cannot be written.
    """
    if cache is None:
        hashes = tuple(_content_hash(path) for path in files)
        rows, outcomes, good = np.empty(_shape(len(files), target), dtype=np.uint8), [], 0
        for pixels, outcome in _decoded(files, target, progress):
            outcomes.append(outcome)
            if pixels is not None:
                rows[good] = pixels
                good += 1
        return DecodedFiles(rows[:good], tuple(outcomes), hashes)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        hashes = _indexed_hashes(folder, files, cache)
        made_from = [target.method, SMALLEST_SIDE, LARGEST_ASPECT, PIL.__version__, target.size, *hashes]
        path = cache / f"pixels-{hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]}.npy"
        kept = _open(path, len(files), target)
        if kept is None:
            _write(path, files, target, progress)
            kept = _open(path, len(files), target)
    except OSError as error:
        raise UserError(f"cannot keep decoded images in {cache}: {error.strerror or error}") from error
    if kept is None:
        raise UserError(f"cannot keep decoded images in {cache}: {path.name} reads back differently; check the disk")
    return DecodedFiles(*kept, hashes)


def map_pixels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Open the memory-mapped pixels of an earlier ``decode_files`` by path.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        pixels: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"cannot open decoded images {path}: {reason}; start the sweep again to decode them") from error
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise UserError(f"decoded images {path} are {pixels.dtype} {pixels.shape}, expected uint8 {shape}; delete it")
    return pixels


def damaged_pixels(cache: Path) -> tuple[int, list[Path]]:
    """Read all decoded images of a cache; return the number of files, and those that are not as they were written."""
    files = sorted(cache.glob("pixels-*.npy"))
    return len(files), [path for path in files if not _is_sound(path)]


def _is_sound(path: Path) -> bool:
    notes = _read_json(path.with_suffix(".json"))
    try:
        return notes is not None and zlib.crc32(np.load(path, mmap_mode="r", allow_pickle=False)) == notes["crc32"]
    except (OSError, ValueError, EOFError, KeyError):
        return False


def _content_hash(path: ImageFile) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except BadImage as bad:
        return f"{_UNREADABLE}{bad.kind}"


def _indexed_hashes(folder: Path, files: Sequence[ImageFile], cache: Path) -> tuple[str, ...]:
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
        with atomic_write(path) as partial, partial.open("w+b") as file:
            file.write(json.dumps(fresh).encode())
    return hashes


def _stamp(folder: Path, file: ImageFile) -> str:
    if not isinstance(file, Path):
        return file.stamp
    try:
        status = file.stat()
    except OSError:
        return f"{file}: missing"
    # The time of the last change to the file itself, too: programs that copy or edit may put back the other one.
    return f"{file.relative_to(folder).as_posix()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _decoded(
    files: Sequence[ImageFile], target: PixelFormat, progress: Progress | None
) -> Iterator[tuple[NDArray[np.uint8] | None, Outcome]]:
    """Decode in parallel, in order: ``(pixels, (width, height))`` or ``(None, (kind, detail))`` for each file."""

    def decode(path: ImageFile) -> tuple[NDArray[np.uint8] | None, Outcome]:
        try:
            return decode_image(read_bytes(path), target.size, target.fit, target.channels)
        except BadImage as bad:
            return None, (bad.kind, bad.detail)

    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        # Large images are refused or, below our limit, meant; Pillow's warning in between helps nobody.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        # In blocks: ``map`` takes all of its input at once, and a task of each of a million files is a gigabyte.
        results = (
            result
            for start in range(0, len(files), _BLOCK)
            for result in pool.map(decode, files[start : start + _BLOCK])
        )
        for done, result in enumerate(results, 1):
            yield result
            if progress:
                progress(done, len(files))


def _write(path: Path, files: Sequence[ImageFile], target: PixelFormat, progress: Progress | None) -> None:
    """Decode into ``path`` row by row, so that a set larger than memory works and a full disk is an ``OSError``."""
    outcomes, checksum, good = [], 0, 0
    with atomic_write(path) as partial, partial.open("w+b") as file:
        _write_header(file, _shape(len(files), target))
        for pixels, outcome in _decoded(files, target, progress):
            outcomes.append(outcome)
            if pixels is not None:
                row = pixels.tobytes()
                file.write(row)
                checksum = zlib.crc32(row, checksum)
                good += 1
        file.seek(0)  # numpy pads headers so that the number of rows can be set afterwards
        _write_header(file, _shape(good, target))
    with atomic_write(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps({"outcomes": outcomes, "crc32": checksum}))


def _shape(rows: int, target: PixelFormat) -> tuple[int, int, int, int]:
    return rows, target.size, target.size, target.channels


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _open(path: Path, count: int, target: PixelFormat) -> tuple[NDArray[np.uint8], tuple[Outcome, ...]] | None:
    """Map cached pixels and read their outcomes; ``None`` when there are none or they are damaged."""
    notes = _read_json(path.with_suffix(".json"))
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        outcomes = tuple(_outcome(outcome) for outcome in (notes or {})["outcomes"])
        good = sum(isinstance(outcome[0], int) for outcome in outcomes)
        sound = len(outcomes) == count and pixels.shape == _shape(good, target) and pixels.dtype == np.uint8
        return (pixels, outcomes) if sound and zlib.crc32(pixels) == (notes or {})["crc32"] else None
    except (OSError, ValueError, EOFError, KeyError, TypeError, IndexError):
        return None


def _outcome(stored: list[Any]) -> Outcome:
    return (stored[0], stored[1], stored[2]) if isinstance(stored[0], int) else (stored[0], stored[1])


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
