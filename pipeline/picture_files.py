"""Drawn pictures as files: one sheet, or a folder with a file for each and what was asked for in a tag file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from trainables.data.folder import VOCABULARY_FILE
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import UsageError, UserError
from trainables.files import require_free, whole_folder, write_json
from trainables.pictures import grid, save_picture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.data.tags import Vocabulary

FORMATS = ("png", "webp")
TAG_FILE = "tags.csv"
LARGEST_SHEET = 16_383
"""Pixels along a side: what WebP holds."""
_LONGEST_SLUG = 120
"""Characters of a picture's tags in the name of its file; file systems allow 255 in all."""
_VISIBLE = 96
"""Pixels along a side that a picture on a sheet should have, so that it can be seen."""


@dataclass(frozen=True)
class Style:
    """How pictures are drawn and written."""

    format: str | None = None
    """``png`` or ``webp``; ``None`` goes by the output's suffix, else png."""
    upscale: int | None = None
    """Enlarge so many times, by Lanczos; ``None``: small pictures on a sheet by repeating pixels, until they can be
    seen."""
    truncation: float | None = None
    """Cut the noise's distribution off there; see ``Bundle.noise``."""

    def __post_init__(self) -> None:
        if self.format not in (None, *FORMATS):
            raise UsageError(f"--format is {self.format!r}; allowed: {', '.join(FORMATS)}")
        if self.upscale is not None and not 1 <= self.upscale <= 16:
            raise UsageError(f"--upscale is {self.upscale}; allowed: 1 to 16")


@dataclass(frozen=True)
class Target:
    """A checked output: a sheet, or a folder of files with ``suffix``."""

    path: Path
    style: Style
    suffix: str
    is_folder: bool

    @classmethod
    def check(cls, path: Path, style: Style) -> Target:
        """Refuse an output before anything is drawn.

        Raises:
            UsageError: a suffix that is no format of ours, or not the one asked for.
            UserError: a folder with something in it.
        """
        suffix = path.suffix.lower()
        if suffix in (".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff"):
            raise UsageError(
                f"-o is {path}; a sheet is written as .png or .webp, and a name without suffix is a folder"
            )
        is_sheet = suffix[1:] in FORMATS
        if is_sheet and style.format not in (None, suffix[1:]):
            raise UsageError(f"-o is {path} and --format {style.format}; let them agree")
        if not is_sheet:
            try:
                require_free(path)
            except OSError as error:
                raise UserError(f"cannot write {path}: {error}") from error
        return cls(path, style, suffix if is_sheet else f".{style.format or 'png'}", not is_sheet)

    def write_sheet(self, pixels: NDArray[np.uint8], columns: int, labels: Sequence[str] = ()) -> None:
        """Write pictures ``(n, s, s, 3)`` in rows of ``columns``, a label left of each row.

        Raises:
            UsageError: the sheet would be too large.
            UserError: it cannot be written.
        """
        self.require_sheet(len(pixels), columns, pixels.shape[1])
        scale = self.scale(pixels.shape[1])
        if self.style.upscale is not None:
            pixels, scale = np.stack([np.asarray(self.enlarge(picture)) for picture in pixels]), 1
        try:
            save_picture(grid(pixels, columns, labels, scale), self.path)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error}") from error

    def require_sheet(self, count: int, columns: int, size: int) -> None:
        """Refuse a sheet of ``count`` pictures of ``size`` px that would be too large."""
        side = size * self.scale(size) + 2
        width, height = columns * side, -(-count // columns) * side
        if max(width, height) > LARGEST_SHEET:
            raise UsageError(
                f"the sheet would have {width} x {height} pixels, and {LARGEST_SHEET} a side are allowed; take fewer "
                "pictures, a smaller --upscale, or a folder (-o without suffix)"
            )

    def scale(self, size: int) -> int:
        """How many times larger a picture of ``size`` px is on a sheet."""
        return self.style.upscale or max(1, _VISIBLE // size)

    def enlarge(self, picture: NDArray[np.uint8]) -> Image.Image:
        """One picture, enlarged where that was asked for."""
        image, factor = Image.fromarray(np.ascontiguousarray(picture)), self.style.upscale or 1
        return image.resize((factor * image.width, factor * image.height), Image.Resampling.LANCZOS)

    def write_folder(
        self, parts: Iterable[NDArray[np.uint8]], texts: Sequence[str], vocabulary: Vocabulary | None
    ) -> None:
        """Write a folder that appears whole or not at all: ``00000-blue-hair-red-eyes.png``, ...

        Args:
            parts: pictures ``(n, s, s, 3)``, some at a time.
            texts: the tags of each picture.
            vocabulary: writes ``tags.csv``, and ``vocabulary.json`` where it is not the usual one, as
                ``gansweep score --tags`` reads them; ``None`` writes neither.

        Raises:
            UserError: the folder cannot be written.
        """
        stems = [f"{place:05d}{_slug(text)}" for place, text in enumerate(texts)]
        try:
            with whole_folder(self.path) as folder:
                names = iter(stems)
                for pixels in parts:
                    for picture in pixels:
                        save_picture(self.enlarge(picture), folder / f"{next(names)}{self.suffix}")
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
