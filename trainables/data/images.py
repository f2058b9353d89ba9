"""One picture file -> square RGB pixels, or a ``BadImage`` that says what is wrong with the file."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif"})
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
"""Decoders that files may reach, whatever their suffix says: others (EPS, ...) start programs or are rarely tested."""
PIXEL_LIMIT: Final = 50_000_000
"""Width x height above which a picture is not decoded: a file of a few kB can ask for gigabytes."""
BYTE_LIMIT: Final = 4 * PIXEL_LIMIT
"""No picture within the pixel limit needs a larger file."""
METHOD: Final = "centre square, over white, lanczos"
"""Names how pixels are made; part of the key of cached pixels."""

_CUT_SHORT = re.compile(r"truncated|end of file|\beof\b|not enough|premature", re.IGNORECASE)


class BadImage(Exception):  # noqa: N818 - what was found, not a failure of this program
    """A file that gives no picture.

    ``kind`` is one of 'missing', 'empty', 'not an image', 'truncated', 'corrupt', 'oversized'.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


def load_image(path: Path, size: int) -> NDArray[np.uint8]:
    """Decode a picture file into ``(size, size, 3)`` RGB: upright, over white, its centre square, Lanczos-resized.

    Raises:
        BadImage: there is no picture to be had from this file.
    """
    return decode_image(read_bytes(path), size)[0]


def read_bytes(path: Path) -> bytes:
    """Read the content of a picture file; ``BadImage`` when it is missing, unreadable, empty or far too large."""
    try:
        length = path.stat().st_size
        if length > BYTE_LIMIT:
            raise BadImage("oversized", f"{length:,} bytes; the limit is {BYTE_LIMIT:,}")
        data = path.read_bytes()
    except OSError as error:
        raise BadImage("missing", error.strerror or str(error)) from error
    if not data:
        raise BadImage("empty", "0 bytes")
    return data


def decode_image(data: bytes, size: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Decode a file's content into pixels ``(size, size, 3)`` and the picture's own ``(width, height)``."""
    picture, own_size = _decoded(data)
    return np.asarray(_centre_square(picture).resize((size, size), Image.Resampling.LANCZOS)), own_size


def decode_whole(data: bytes) -> NDArray[np.uint8]:
    """Decode a file's content into RGB pixels ``(height, width, 3)``, upright and over white, at their own size."""
    return np.asarray(_decoded(data)[0])


def _decoded(data: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """The upright RGB picture, and its ``(width, height)`` in the file."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > PIXEL_LIMIT:
                raise BadImage("oversized", f"{width} x {height} pixels; the limit is {PIXEL_LIMIT:,}")
            picture.load()
            return _rgb(ImageOps.exif_transpose(picture)), (width, height)
    except (BadImage, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise BadImage("not an image", f"none of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage("oversized", str(error)) from error
    except Exception as error:  # decoders meet damaged files with anything from OSError to struct.error
        raise BadImage("truncated" if _cut_short(data, error) else "corrupt", str(error)) from error


def _cut_short(data: bytes, error: Exception) -> bool:
    """Tell a file that ends early from one that is damaged; WebP's decoder does not say, its length field does."""
    announced = int.from_bytes(data[4:8], "little") + 8 if data.startswith(b"RIFF") else 0
    return announced > len(data) or bool(_CUT_SHORT.search(str(error)))


def _centre_square(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _rgb(picture: Image.Image) -> Image.Image:
    """Convert any mode to RGB; what is transparent becomes white."""
    if picture.mode.startswith("I"):
        # Pillow cuts 16-bit grey off at 255 instead of scaling it down.
        grey = np.asarray(picture).astype(np.float64) / 257.0
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
