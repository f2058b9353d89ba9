"""Features of every picture in a folder, each at its own size, without ever holding all the pictures at once."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import PIL
from PIL import Image

from trainables.data.defects import Defect
from trainables.data.folder import TAG_SUFFIXES, VOCABULARY_FILE, list_files
from trainables.data.images import SUFFIXES, BadImage, decode_whole, read_bytes
from trainables.errors import UserError
from trainables.files import whole_file
from trainables.pictures import as_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.scoring.faces import FaceDetector
    from trainables.scoring.features import Extractor

    Pixels = NDArray[np.uint8]

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""

_THREADS: Final = min(8, os.cpu_count() or 1)
"""Pillow releases the interpreter while it decodes."""
_BATCH_BYTES: Final = 32 * 2**20
"""Pixels of one batch; as floats they take four times as much."""
_BATCH_PICTURES: Final = 256
_WAITING_BYTES: Final = 256 * 2**20
"""Pixels that may wait for others of their size."""


@dataclass(frozen=True)
class PictureFolder:
    """Picture files of a folder in the order of their contents' SHA-256, so that names change no number.

    ``hashes`` are of the contents, one a file. ``defects`` are what else is there and what cannot be read.
    """

    path: Path
    files: tuple[Path, ...]
    hashes: tuple[str, ...]
    defects: tuple[Defect, ...]

    def sample(self, count: int, seed: int) -> PictureFolder:
        """``count`` of the files, drawn without replacement."""
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.files))[:count])
        files, hashes = (tuple(each[place] for place in chosen) for each in (self.files, self.hashes))
        return PictureFolder(self.path, files, hashes, self.defects)


@dataclass(frozen=True, eq=False)
class FolderFeatures:
    """What was measured on the pictures of a folder that could be read.

    Attributes:
        features: ``(n, d)`` float32, in the order of ``files``.
        files: the pictures' files, in the order of their contents' hashes.
        hashes: those hashes, one a picture.
        faces: ``(n,)``, whether a face was found on each; ``None`` where nobody looked.
        sizes: pictures of each ``(width, height)``, the commonest first.
        fingerprint: 16 hex digits that change with any picture's content.
        defects: files that gave no picture, and everything else in the folder that was left out.
    """

    features: NDArray[np.float32]
    files: tuple[Path, ...]
    hashes: tuple[str, ...]
    faces: NDArray[np.bool_] | None
    sizes: dict[tuple[int, int], int]
    fingerprint: str
    defects: tuple[Defect, ...]

    def __len__(self) -> int:
        return len(self.features)


def list_pictures(folder: Path, progress: Progress | None = None) -> PictureFolder:
    """Find the pictures anywhere below a folder and read their contents' hashes; tags are not looked at.

    Raises:
        UserError: no such folder, or no readable picture file in it.
    """
    paths, defects = list_files(folder)
    pictures = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise UserError(f"folder {folder} has no pictures; looked for {', '.join(sorted(SUFFIXES))} below it")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        tags = path.parent == folder and (path.suffix.lower() in TAG_SUFFIXES or name == VOCABULARY_FILE)
        if path.suffix.lower() not in SUFFIXES and not tags:
            defects.append(Defect("ignored file", name, "no picture"))
    readable: list[tuple[str, Path]] = []
    for done, (path, digest) in enumerate(_in_order(_content_hash, pictures), 1):
        if isinstance(digest, BadImage):
            defects.append(_defect(folder, path, digest))
        else:
            readable.append((digest, path))
        if progress:
            progress(done, len(pictures))
    if not readable:
        raise UserError(f"folder {folder} has no readable picture: {defects[-1].name} is {defects[-1].kind}")
    readable.sort()
    return PictureFolder(
        folder, tuple(path for _, path in readable), tuple(digest for digest, _ in readable), tuple(defects)
    )


def measure_pictures(
    pictures: PictureFolder,
    extractor: Extractor,
    *,
    detector: FaceDetector | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> FolderFeatures:
    """Features of every picture, and whether it shows a face.

    Pictures go through the extractor at their own size, in batches of equal sizes; it resizes them.

    Args:
        pictures: the files.
        extractor: the feature network.
        detector: looks for faces where given.
        cache: folder in which the result is kept under the contents' hashes; without one it is computed each time.
        progress: called while measuring.

    Raises:
        UserError: none of the files gives a picture, or the cache cannot be written.
    """
    path = cache / f"features-{_key(pictures, extractor, detector)}.npz" if cache else None
    measured = _load(path) if path else None
    if measured is None:
        measured = _measure(pictures, extractor, detector, progress)
        if path:
            _save(path, measured)
    bad = [_defect(pictures.path, pictures.files[place], what) for place, what in measured.bad.items()]
    if not len(measured.features):
        raise UserError(f"folder {pictures.path} has no readable picture: {bad[0].name} is {bad[0].kind}")
    good = [place for place in range(len(pictures.files)) if place not in measured.bad]
    hashes = tuple(pictures.hashes[place] for place in good)
    return FolderFeatures(
        features=measured.features,
        files=tuple(pictures.files[place] for place in good),
        hashes=hashes,
        faces=measured.faces,
        sizes=measured.sizes,
        fingerprint=hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16],
        defects=(*pictures.defects, *bad),
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is kept of a folder: of its pictures by place, not by name."""

    features: NDArray[np.float32]
    faces: NDArray[np.bool_] | None
    sizes: dict[tuple[int, int], int]
    bad: dict[int, BadImage]


def _measure(
    pictures: PictureFolder, extractor: Extractor, detector: FaceDetector | None, progress: Progress | None
) -> _Measured:
    rows: dict[int, NDArray[np.float32]] = {}
    faces: dict[int, bool] = {}
    sizes: Counter[tuple[int, int]] = Counter()
    bad: dict[int, BadImage] = {}
    for size, places, pixels in _batches(pictures.files, bad):
        sizes[size] += len(places)
        features = extractor(as_tensor(np.stack(pixels)).permute(0, 3, 1, 2)).numpy()
        rows |= dict(zip(places, features, strict=True))
        if detector:
            faces |= {place: detector(picture) for place, picture in zip(places, pixels, strict=True)}
        if progress:
            progress(len(rows) + len(bad), len(pictures.files))
    good = sorted(rows)
    return _Measured(
        np.stack([rows[place] for place in good]) if good else np.zeros((0, 0), np.float32),
        np.array([faces[place] for place in good], np.bool_) if detector else None,
        dict(sizes.most_common()),
        bad,
    )


def _batches(
    files: Sequence[Path], bad: dict[int, BadImage]
) -> Iterator[tuple[tuple[int, int], list[int], list[Pixels]]]:
    """``((width, height), places among the files, pixels)`` of pictures of one size; others go to ``bad``."""
    waiting: dict[tuple[int, int], dict[int, Pixels]] = {}
    held = 0
    with warnings.catch_warnings():
        # Large pictures are refused or, below our limit, meant; Pillow's warning in between helps nobody.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for place, (_, picture) in enumerate(_in_order(_decode, files)):
            if isinstance(picture, BadImage):
                bad[place] = picture
                continue
            size = (picture.shape[1], picture.shape[0])
            batch = waiting.setdefault(size, {})
            batch[place] = picture
            held += picture.nbytes
            full = len(batch) == _BATCH_PICTURES or len(batch) * picture.nbytes >= _BATCH_BYTES
            while full or held > _WAITING_BYTES:
                heaviest = size if full else max(waiting, key=lambda one: len(waiting[one]) * one[0] * one[1])
                ready, full = waiting.pop(heaviest), False
                held -= sum(one.nbytes for one in ready.values())
                yield heaviest, list(ready), list(ready.values())
    for size, ready in waiting.items():
        yield size, list(ready), list(ready.values())


def _in_order(work: Callable[[Path], Result], files: Sequence[Path]) -> Iterator[tuple[Path, Result | BadImage]]:
    """Results of ``work`` on each file, a few ahead of whoever takes them, so that memory stays bounded."""

    def done() -> tuple[Path, Result | BadImage]:
        path, future = ahead.popleft()
        try:
            return path, future.result()
        except BadImage as bad:
            return path, bad

    ahead: deque[tuple[Path, Future[Result]]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        for path in files:
            ahead.append((path, pool.submit(work, path)))
            if len(ahead) > 2 * _THREADS:
                yield done()
        while ahead:
            yield done()


def _decode(path: Path) -> Pixels:
    return decode_whole(read_bytes(path))


def _content_hash(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _defect(folder: Path, path: Path, bad: BadImage) -> Defect:
    return Defect(bad.kind, path.relative_to(folder).as_posix(), bad.detail)


def _key(pictures: PictureFolder, extractor: Extractor, detector: FaceDetector | None) -> str:
    about = (extractor.name, extractor.weights, extractor.resize, extractor.precision)
    parts = [PIL.__version__, *about, detector.fingerprint if detector else "", *pictures.hashes]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _save(path: Path, measured: _Measured) -> None:
    notes = {
        "sizes": [[*size, count] for size, count in measured.sizes.items()],
        "bad": [[place, what.kind, what.detail] for place, what in measured.bad.items()],
        "looked": measured.faces is not None,
    }
    faces = measured.faces if measured.faces is not None else np.zeros(0, np.bool_)
    try:
        with whole_file(path) as partial:
            np.savez(partial, features=measured.features, faces=faces, notes=np.array(json.dumps(notes)))
    except OSError as error:
        raise UserError(f"cannot keep features in {path.parent}: {error.strerror or error}") from error


def _load(path: Path) -> _Measured | None:
    """What ``_save`` kept, or ``None``: a missing or damaged file is made anew."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            features, faces, notes = stored["features"], stored["faces"], json.loads(str(stored["notes"]))
        sizes = {(width, height): count for width, height, count in notes["sizes"]}
        bad = {place: BadImage(kind, detail) for place, kind, detail in notes["bad"]}
        return _Measured(features, faces if notes["looked"] else None, sizes, bad)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None
