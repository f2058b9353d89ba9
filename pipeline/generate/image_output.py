"""Write images to files: one sample grid, or a folder with a file per image and a tag file with the requested tags."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from trainables.data.folder import VOCABULARY_FILE
from trainables.data.images import as_picture
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import UsageError, UserError
from trainables.storage.atomic import FILE_SUFFIX, atomic_directory, require_empty, write_json
from trainables.visuals.image_grid import grid, save_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.data.tags import Vocabulary

FORMATS = ("png", "webp")
TAG_FILE = "tags.csv"
LARGEST_SHEET = 16_383
"""Maximum side of a sample grid in pixels: the limit of WebP."""
_LONGEST_SLUG = 120
"""Maximum number of characters of tags in a file name; file systems allow 255 in total."""
_VISIBLE = 96
"""Minimum side in pixels of an image on a sample grid; smaller images are enlarged."""


@dataclass(frozen=True)
class Style:
    """How images are drawn and written."""

    format: str | None = None
    """``png`` or ``webp``; ``None``: by the output's suffix, else png."""
    upscale: int | None = None
    """Factor of enlargement by Lanczos; ``None``: enlarge only small images on a sample grid, by repeating pixels."""
    truncation: float | None = None
    """Truncation of the noise; see ``Bundle.noise``."""

    def __post_init__(self) -> None:
        if self.format not in (None, *FORMATS):
            raise UsageError(f"--format is {self.format!r}; allowed: {', '.join(FORMATS)}")
        if self.upscale is not None and not 1 <= self.upscale <= 16:
            raise UsageError(f"--upscale is {self.upscale}; allowed: 1 to 16")


@dataclass(frozen=True)
class ImageOutput:
    """A checked output: a sample grid, or a folder of files with ``suffix``."""

    path: Path
    style: Style
    suffix: str
    is_folder: bool

    @classmethod
    def check(cls, path: Path, style: Style) -> ImageOutput:
        """Refuse an output before anything is drawn.

        Raises:
            UsageError: an unsupported suffix, or not the requested one.
            UserError: a folder that is not empty.
        """
        suffix = path.suffix.lower()
        is_sheet = suffix[1:] in FORMATS
        if not is_sheet and re.fullmatch(FILE_SUFFIX, suffix) and not path.is_dir():
            raise UsageError(
                f"-o is {path}: unknown image format {suffix}; a sample grid is written as .png or .webp, and a name "
                "without suffix is a folder"
            )
        if is_sheet and style.format not in (None, suffix[1:]):
            raise UsageError(f"-o is {path} and --format {style.format}; let them agree")
        if not is_sheet:
            try:
                require_empty(path)
            except OSError as error:
                raise UserError(f"cannot write {path}: {error}") from error
        return cls(path, style, suffix if is_sheet else f".{style.format or 'png'}", not is_sheet)

    def write_sheet(self, pixels: NDArray[np.uint8], columns: int, labels: Sequence[str] = ()) -> None:
        """Write images ``(n, s, s, channels)`` in rows of ``columns``, with a label left of each row.

        Raises:
            UsageError: the sample grid would be too large.
            UserError: it cannot be written.
        """
        self.require_sheet(len(pixels), columns, pixels.shape[1])
        scale = self.scale(pixels.shape[1])
        if self.style.upscale is not None:
            side = [pixels.shape[1] * scale] * 2
            pixels, scale = np.stack([np.asarray(self.enlarge(image)).reshape(*side, -1) for image in pixels]), 1
        try:
            save_image(grid(pixels, columns, labels, scale), self.path)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error}") from error

    def require_sheet(self, count: int, columns: int, size: int) -> None:
        """Refuse a sample grid of ``count`` images of ``size`` px that would be too large."""
        side = size * self.scale(size) + 2
        width, height = columns * side, -(-count // columns) * side
        if max(width, height) > LARGEST_SHEET:
            raise UsageError(
                f"the sample grid would have {width} x {height} pixels, and {LARGEST_SHEET} a side are allowed; take "
                "fewer images, a smaller --upscale, or a folder (-o without suffix)"
            )

    def scale(self, size: int) -> int:
        """Return the factor by which an image of ``size`` px is enlarged on a sample grid."""
        return self.style.upscale or max(1, _VISIBLE // size)

    def enlarge(self, pixels: NDArray[np.uint8]) -> Image.Image:
        """Convert an image, and enlarge it if requested."""
        image, factor = as_picture(pixels), self.style.upscale or 1
        return image.resize((factor * image.width, factor * image.height), Image.Resampling.LANCZOS)

    def write_folder(
        self, parts: Iterable[NDArray[np.uint8]], texts: Sequence[str], vocabulary: Vocabulary | None
    ) -> None:
        """Write a folder atomically: ``00000-red-square.png``, ...

        Args:
            parts: images ``(n, s, s, channels)``, in chunks.
            texts: the tags of each image.
            vocabulary: also write ``tags.csv``, and ``vocabulary.json`` if it is not the default one, as read by
                ``gansweep score --tags``; ``None`` writes neither.

        Raises:
            UserError: the folder cannot be written.
        """
        stems = [f"{place:05d}{_slug(text)}" for place, text in enumerate(texts)]
        try:
            with atomic_directory(self.path) as folder:
                names = iter(stems)
                for pixels in parts:
                    for image in pixels:
                        save_image(self.enlarge(image), folder / f"{next(names)}{self.suffix}")
                if vocabulary is not None:
                    lines = [f"{stem},{text}\n" for stem, text in zip(stems, texts, strict=True)]
                    (folder / TAG_FILE).write_text("".join(lines), encoding="utf-8")
                    if vocabulary != REPORT_VOCABULARY:
                        write_json(folder / VOCABULARY_FILE, vocabulary.to_json())
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error}") from error


def _slug(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:_LONGEST_SLUG].rstrip("-")
    return f"-{name}" if name else ""
