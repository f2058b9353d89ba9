"""The share of images on which a cascade detector (Viola and Jones 2001) finds a face.

The user provides the detector as a file, such as lbpcascade_animeface.xml for anime faces. OpenCV 4, an optional
dependency, runs it; OpenCV 5 has no cascades.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from trainables.errors import UserError, first_line
from trainables.scoring.metrics.estimate import Estimate

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray
    from torch import Tensor

FACE_RATE: Final = "face_rate"
INSTALL: Final = "pip install 'gansweep[faces]'"
SIDE: Final = 128
"""Images with a shorter side below this are enlarged to it: twice at 64 px, four times at 32 px. A cascade's window has
about 24 px and finds nothing smaller."""
BORDER: Final = 0.25
"""Added on each side, as a share of it, by repeating the edge: a face that fills its image has no room around it."""
SMALLEST_FACE: Final = 32
"""Side in pixels of the smallest face to detect, after enlargement."""
SCALE_STEP: Final = 1.1
"""Ratio between the sizes at which faces are searched."""
NEIGHBOURS: Final = 5
"""Overlapping detections that make a face; with 3, there are twice as many false detections."""


@dataclass(frozen=True, eq=False)
class FaceDetector:
    """A cascade; ``name`` is its file's, ``fingerprint`` the first 16 hex digits of the file's SHA-256."""

    name: str
    fingerprint: str
    cascade: Any

    def __call__(self, image: NDArray[np.uint8]) -> bool:
        """Whether there is a face in an RGB image ``(h, w, 3)``, or a grey one ``(h, w, 1)``."""
        import cv2

        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]
        factor = SIDE / min(grey.shape)
        if factor > 1:
            grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        down, across = (round(BORDER * side) for side in grey.shape)
        grey = cv2.copyMakeBorder(grey, down, down, across, across, cv2.BORDER_REPLICATE)
        boxes = self.cascade.detectMultiScale(
            grey, scaleFactor=SCALE_STEP, minNeighbors=NEIGHBOURS, minSize=(SMALLEST_FACE, SMALLEST_FACE)
        )
        return len(boxes) > 0


@dataclass(frozen=True)
class CascadeFile:
    """The content of a cascade file. Unlike a detector it can be sent to other processes and machines."""

    path: Path
    """Where it was read, for messages; the file need not exist."""
    content: bytes

    @classmethod
    def read(cls, path: Path) -> CascadeFile:
        """Read the file at ``path``; raises what ``open_cascade`` raises."""
        _opencv()
        try:
            cascade = cls(path, path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"cascade file {path} does not exist; give one such as lbpcascade_animeface.xml") from None
        except OSError as error:
            raise UserError(f"cannot read cascade file {path}: {error.strerror or error}") from error
        cascade.open()
        return cascade

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of the content's SHA-256."""
        return hashlib.sha256(self.content).hexdigest()[:16]

    def open(self) -> FaceDetector:
        """Open the detector and keep it in memory, so that trials in one process share it.

        Raises:
            UserError: no OpenCV, one without cascades, or a content that is no cascade.
        """
        return _detector(self)


def open_cascade(path: Path) -> FaceDetector:
    """Read a cascade file.

    Raises:
        UserError: no OpenCV, one without cascades, or a file that is missing or no cascade.
    """
    return CascadeFile.read(path).open()


@lru_cache(maxsize=2)
def _detector(file: CascadeFile) -> FaceDetector:
    cv2 = _opencv()
    cascade = cv2.CascadeClassifier()
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # the error is raised, not printed
    try:
        with tempfile.TemporaryDirectory() as folder:  # from memory, OpenCV reads only its newer format
            copy = Path(folder) / file.path.name
            copy.write_bytes(file.content)
            usable = cascade.load(str(copy)) and not cascade.empty()
    except cv2.error:
        usable = False
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not usable:
        raise UserError(f"{file.path} is no cascade file; give one such as lbpcascade_animeface.xml")
    return FaceDetector(file.path.name, file.fingerprint, cascade)


@dataclass(frozen=True, eq=False)
class FaceCounter:
    """Counts generated images with a face, batch by batch; does nothing without a detector."""

    detector: FaceDetector | None
    faces: list[NDArray[np.bool_]] = field(default_factory=list)

    @classmethod
    def of(cls, cascade: CascadeFile | None, *, all_images: bool) -> FaceCounter:
        """Make a counter, with a detector only if all images are scored; raises what ``CascadeFile.open`` raises."""
        return cls(cascade.open() if cascade and all_images else None)

    def add(self, images: Tensor) -> None:
        """Detect faces on uint8 images ``(n, 3, h, w)`` or ``(n, 1, h, w)``, with as many threads as torch uses."""
        if self.detector:
            import cv2

            cv2.setNumThreads(torch.get_num_threads())  # OpenCV's default is all cores, shared with other trials
            self.faces.append(detect_faces(images.permute(0, 2, 3, 1).cpu().numpy(), self.detector))

    def estimates(self) -> dict[str, Estimate]:
        """``face_rate``: the share of the images with a face."""
        return {FACE_RATE: Estimate.from_hits(np.concatenate(self.faces))} if self.faces else {}


def detect_faces(images: NDArray[np.uint8], detector: FaceDetector) -> NDArray[np.bool_]:
    """Detect faces on images ``(n, h, w, 3)`` or ``(n, h, w, 1)``: whether each has one, ``(n,)``."""
    return np.array([detector(image) for image in images], dtype=np.bool_)


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"face detection needs OpenCV 4 ({first_line(error)}); install it with {INSTALL}") from error
    if not hasattr(cv2, "CascadeClassifier"):
        raise UserError(f"OpenCV {cv2.__version__} has no cascade detector, OpenCV 4 has; install it with {INSTALL}")
    module: ModuleType = cv2
    return module
