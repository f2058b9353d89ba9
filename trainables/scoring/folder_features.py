"""Features of every image in a folder, each at its own size, in bounded memory."""

from __future__ import annotations

import contextlib
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
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import PIL
import torch
from PIL import Image

from trainables.data.defects import Defect
from trainables.data.folder import TAG_SUFFIXES, VOCABULARY_FILE, list_files
from trainables.data.images import SUFFIXES, BadImage, decode_image, decode_whole, read_bytes
from trainables.data.tensors import as_tensor
from trainables.errors import UserError
from trainables.scoring.metrics.pixels import grid_energies, saturated_shares
from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.scoring.extractors.registry import Extractor
    from trainables.scoring.metrics.face_rate import FaceDetector

    Pixels = NDArray[np.uint8]

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (images done, total images)."""

_THREADS: Final = min(8, os.cpu_count() or 1)
"""Threads that decode; Pillow releases the GIL."""
_BATCH_BYTES: Final = 32 * 2**20
"""Bytes of the pixels of one batch; as float32 they take four times as much."""
_BATCH_IMAGES: Final = 256
_PENDING_BYTES: Final = 256 * 2**20
"""Bytes of the pixels that may wait for others of their size."""


@dataclass(frozen=True)
class ImageFolder:
    """Image files of a folder, sorted by the SHA-256 of their contents, so that scores do not depend on names.

    ``hashes`` are of the contents, one per file. ``defects`` lists unreadable images and other files.
    """

    path: Path
    files: tuple[Path, ...]
    hashes: tuple[str, ...]
    defects: tuple[Defect, ...]

    def sample(self, count: int, seed: int) -> ImageFolder:
        """Draw ``count`` of the files without replacement."""
        chosen = np.sort(np.random.default_rng(seed).permutation(len(self.files))[:count])
        files, hashes = (tuple(each[place] for place in chosen) for each in (self.files, self.hashes))
        return ImageFolder(self.path, files, hashes, self.defects)


@dataclass(frozen=True, eq=False)
class FolderFeatures:
    """Measurements of the readable images of a folder.

    Attributes:
        features: ``(n, d)`` float32, in the order of ``files``.
        files: the images' files, in the order of their contents' hashes.
        hashes: those hashes, one per image.
        pixels: ``(n, 2)``, energy of the grid and share of saturated values of each image.
        faces: ``(n,)``, whether a face was detected; ``None`` without a detector.
        sizes: number of images of each own ``(width, height)``, most common first.
        fingerprint: 16 hex digits that change with any image's content.
        defects: unreadable images and other files of the folder.
    """

    features: NDArray[np.float32]
    files: tuple[Path, ...]
    hashes: tuple[str, ...]
    pixels: NDArray[np.float64]
    faces: NDArray[np.bool_] | None
    sizes: dict[tuple[int, int], int]
    fingerprint: str
    defects: tuple[Defect, ...]

    def __len__(self) -> int:
        return len(self.features)


def list_images(folder: Path, progress: Progress | None = None) -> ImageFolder:
    """Find all images below a folder and hash their contents; tag files are ignored.

    Raises:
        UserError: the folder does not exist or has no readable image file.
    """
    paths, defects = list_files(folder)
    images = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not images:
        raise UserError(f"folder {folder} has no images; looked for {', '.join(sorted(SUFFIXES))} below it")
    for path in paths:
        name = path.relative_to(folder).as_posix()
        tags = path.parent == folder and (path.suffix.lower() in TAG_SUFFIXES or name == VOCABULARY_FILE)
        if path.suffix.lower() not in SUFFIXES and not tags:
            defects.append(Defect("ignored file", name, "no image"))
    readable: list[tuple[str, Path]] = []
    for done, (path, digest) in enumerate(_map_ordered(_content_hash, images), 1):
        if isinstance(digest, BadImage):
            defects.append(_defect(folder, path, digest))
        else:
            readable.append((digest, path))
        if progress:
            progress(done, len(images))
    if not readable:
        raise UserError(f"folder {folder} has no readable image: {defects[-1].name} is {defects[-1].kind}")
    readable.sort()
    return ImageFolder(
        folder, tuple(path for _, path in readable), tuple(digest for digest, _ in readable), tuple(defects)
    )


def measure_images(
    images: ImageFolder,
    extractor: Extractor,
    *,
    image_size: int | None = None,
    detector: FaceDetector | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> FolderFeatures:
    """Compute the features of every image and, with a detector, whether it shows a face.

    The extractor gets batches of equally large images and resizes them.

    Args:
        images: the files.
        extractor: the feature network.
        image_size: side in pixels to which the centre square of each image is resized first; default: its own size.
        detector: face detector.
        cache: folder for results, keyed by the hashes of the contents; one that cannot be written to is read only.
        progress: called while measuring.

    Raises:
        UserError: no file can be decoded.
    """
    path = cache / f"features-{_key(images, extractor, detector, image_size)}.npz" if cache else None
    measured = _load(path) if path else None
    if measured is None:
        measured = _measure(images, extractor, detector, image_size, progress)
        if path:
            _save(path, measured)
    bad = [_defect(images.path, images.files[place], what) for place, what in measured.bad.items()]
    if not len(measured.features):
        raise UserError(f"folder {images.path} has no readable image: {bad[0].name} is {bad[0].kind}")
    good = [place for place in range(len(images.files)) if place not in measured.bad]
    hashes = tuple(images.hashes[place] for place in good)
    return FolderFeatures(
        features=measured.features,
        files=tuple(images.files[place] for place in good),
        hashes=hashes,
        pixels=measured.pixels,
        faces=measured.faces,
        sizes=measured.sizes,
        fingerprint=hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:16],
        defects=(*images.defects, *bad),
    )


@dataclass(frozen=True, eq=False)
class _Measurements:
    """Cached measurements of a folder; images are identified by index, not by name."""

    features: NDArray[np.float32]
    pixels: NDArray[np.float64]
    faces: NDArray[np.bool_] | None
    sizes: dict[tuple[int, int], int]
    bad: dict[int, BadImage]


def _measure(
    images: ImageFolder, extractor: Extractor, detector: FaceDetector | None, px: int | None, progress: Progress | None
) -> _Measurements:
    rows: dict[int, NDArray[np.float32]] = {}
    scores: dict[int, NDArray[np.float64]] = {}
    faces: dict[int, bool] = {}
    sizes: Counter[tuple[int, int]] = Counter()
    bad: dict[int, BadImage] = {}
    for places, pixels in _batches(images.files, px, bad, sizes):
        batch = as_tensor(np.stack(pixels)).permute(0, 3, 1, 2)
        rows |= dict(zip(places, extractor(batch).numpy(), strict=True))
        measured = torch.stack([grid_energies(batch), saturated_shares(batch)], dim=1).numpy()
        scores |= dict(zip(places, measured, strict=True))
        if detector:
            faces |= {place: detector(image) for place, image in zip(places, pixels, strict=True)}
        if progress:
            progress(len(rows) + len(bad), len(images.files))
    good = sorted(rows)
    return _Measurements(
        np.stack([rows[place] for place in good]) if good else np.zeros((0, 0), np.float32),
        np.array([scores[place] for place in good]),
        np.array([faces[place] for place in good], np.bool_) if detector else None,
        dict(sizes.most_common()),
        bad,
    )


def _batches(
    files: Sequence[Path], image_size: int | None, bad: dict[int, BadImage], sizes: Counter[tuple[int, int]]
) -> Iterator[tuple[list[int], list[Pixels]]]:
    """Yield ``(file indices, pixels)`` of images of one size; fill ``bad`` files, and ``sizes`` before a resize."""
    waiting: dict[tuple[int, int], dict[int, Pixels]] = {}
    held = 0
    with warnings.catch_warnings():
        # Images above our own limit are refused; Pillow's warning below it is noise.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for place, (_, decoded) in enumerate(_map_ordered(partial(_decode, image_size=image_size), files)):
            if isinstance(decoded, BadImage):
                bad[place] = decoded
                continue
            image, own_size = decoded
            sizes[own_size] += 1
            size = (image.shape[1], image.shape[0])
            batch = waiting.setdefault(size, {})
            batch[place] = image
            held += image.nbytes
            full = len(batch) == _BATCH_IMAGES or len(batch) * image.nbytes >= _BATCH_BYTES
            while full or held > _PENDING_BYTES:
                heaviest = size if full else max(waiting, key=lambda one: len(waiting[one]) * one[0] * one[1])
                ready, full = waiting.pop(heaviest), False
                held -= sum(one.nbytes for one in ready.values())
                yield list(ready), list(ready.values())
    for ready in waiting.values():
        yield list(ready), list(ready.values())


def _map_ordered(work: Callable[[Path], Result], files: Sequence[Path]) -> Iterator[tuple[Path, Result | BadImage]]:
    """Apply ``work`` to each file in threads and yield results in order, a bounded number ahead of the consumer."""

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


def _decode(path: Path, image_size: int | None) -> tuple[Pixels, tuple[int, int]]:
    data = read_bytes(path)
    if image_size is not None:
        resized, (width, height, _) = decode_image(data, image_size)
        return resized, (width, height)
    pixels = decode_whole(data)
    return pixels, (pixels.shape[1], pixels.shape[0])


def _content_hash(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _defect(folder: Path, path: Path, bad: BadImage) -> Defect:
    return Defect(bad.kind, path.relative_to(folder).as_posix(), bad.detail)


def _key(images: ImageFolder, extractor: Extractor, detector: FaceDetector | None, image_size: int | None) -> str:
    about = (extractor.name, extractor.weights, extractor.resize, extractor.precision)
    parts = [PIL.__version__, *about, detector.fingerprint if detector else "", image_size, *images.hashes]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _save(path: Path, measured: _Measurements) -> None:
    notes = {
        "sizes": [[*size, count] for size, count in measured.sizes.items()],
        "bad": [[place, what.kind, what.detail] for place, what in measured.bad.items()],
        "looked": measured.faces is not None,
    }
    faces = measured.faces if measured.faces is not None else np.zeros(0, np.bool_)
    with contextlib.suppress(OSError), atomic_write(path) as unfinished:  # a full or read-only disk
        np.savez(
            unfinished, features=measured.features, pixels=measured.pixels, faces=faces,
            notes=np.array(json.dumps(notes)),
        )  # fmt: skip


def _load(path: Path) -> _Measurements | None:
    """Read what ``_save`` wrote, or return ``None`` for a missing or damaged file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            features, pixels, faces = stored["features"], stored["pixels"], stored["faces"]
            notes = json.loads(str(stored["notes"]))
        sizes = {(width, height): count for width, height, count in notes["sizes"]}
        bad = {place: BadImage(kind, detail) for place, kind, detail in notes["bad"]}
        return _Measurements(features, pixels, faces if notes["looked"] else None, sizes, bad)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        return None
