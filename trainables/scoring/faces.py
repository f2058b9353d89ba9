"""The share of pictures on which a cascade detector (Viola and Jones 2001) finds a face.

The detector is a file that the user brings, such as lbpcascade_animeface.xml for drawn faces. It runs in OpenCV 4, an
optional dependency; OpenCV 5 has no cascades.
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
from trainables.scoring.intervals import Estimate

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray
    from torch import Tensor

FACE_RATE: Final = "face_rate"
INSTALL: Final = "pip install 'gansweep[faces]'"
SIDE: Final = 128
"""Pictures whose shorter side has fewer pixels are enlarged to this: twice at 64, four times at 32. A cascade's window
has some 24 pixels, below which it sees nothing."""
BORDER: Final = 0.25
"""Added on each side, as a share of it, by repeating the edge: a face that fills its picture has no room around it."""
SMALLEST_FACE: Final = 32
"""Pixels of the smallest face looked for, after the enlargement."""
SCALE_STEP: Final = 1.1
"""Between the sizes at which faces are looked for."""
NEIGHBOURS: Final = 5
"""Overlapping hits that make a face; with 3, chance finds twice as many in pictures that are none."""


@dataclass(frozen=True, eq=False)
class FaceDetector:
    """A cascade; ``name`` is its file's, ``fingerprint`` the first 16 hex digits of the file's SHA-256."""

    name: str
    fingerprint: str
    cascade: Any

    def __call__(self, picture: NDArray[np.uint8]) -> bool:
        """Whether there is a face in an RGB picture ``(h, w, 3)``."""
        import cv2

        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        factor = SIDE / min(grey.shape)
        if factor > 1:
            grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        down, across = (round(BORDER * side) for side in grey.shape)
        grey = cv2.copyMakeBorder(grey, down, down, across, across, cv2.BORDER_REPLICATE)
        found = self.cascade.detectMultiScale(
            grey, scaleFactor=SCALE_STEP, minNeighbors=NEIGHBOURS, minSize=(SMALLEST_FACE, SMALLEST_FACE)
        )
        return len(found) > 0


@dataclass(frozen=True)
class CascadeFile:
    """The content of a cascade file: unlike a detector it can be sent to other processes and machines."""

    path: Path
    """Where it was read, for messages; it need not be there."""
    content: bytes

    @classmethod
    def read(cls, path: Path) -> CascadeFile:
        """The file at ``path``; errors as of ``open_cascade``."""
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
        """Its detector, kept in memory, so that trials in one process share it.

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
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would print what is raised here
    try:
        with tempfile.TemporaryDirectory() as folder:  # from memory OpenCV reads cascades of its newer format alone
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
class FaceCount:
    """Counts generated pictures with a face, batch by batch; without a cascade it looks at none and knows no score."""

    detector: FaceDetector | None
    found: list[NDArray[np.bool_]] = field(default_factory=list)

    @classmethod
    def of(cls, cascade: CascadeFile | None, *, whole: bool) -> FaceCount:
        """By this cascade, where all pictures of a generator are scored; errors as of ``CascadeFile.open``."""
        return cls(cascade.open() if cascade and whole else None)

    def add(self, pictures: Tensor) -> None:
        """Look at uint8 pictures ``(n, 3, h, w)``, with as many threads as torch has."""
        if self.detector:
            import cv2

            cv2.setNumThreads(torch.get_num_threads())  # OpenCV's own: concurrent trials would fight for the cores
            self.found.append(detected_faces(pictures.permute(0, 2, 3, 1).cpu().numpy(), self.detector))

    def estimates(self) -> dict[str, Estimate]:
        """``face_rate``: the share of the pictures with a face."""
        return {FACE_RATE: Estimate.of_hits(np.concatenate(self.found))} if self.found else {}


def detected_faces(pictures: NDArray[np.uint8], detector: FaceDetector) -> NDArray[np.bool_]:
    """``(n,)``: on which of the RGB pictures ``(n, h, w, 3)`` the detector finds a face."""
    return np.array([detector(picture) for picture in pictures], dtype=np.bool_)


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"face detection needs OpenCV 4 ({first_line(error)}); install it with {INSTALL}") from error
    if not hasattr(cv2, "CascadeClassifier"):
        raise UserError(f"OpenCV {cv2.__version__} has no cascade detector, OpenCV 4 has; install it with {INSTALL}")
    module: ModuleType = cv2
    return module
