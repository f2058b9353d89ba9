"""One image file -> square RGB or grey pixels, or a ``BadImage`` that says what is wrong with the file."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from trainables.config import Channels, Fit
    from trainables.data.members import ImageFile

SUFFIXES: Final = frozenset({
    ".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm", ".pgm"
})  # fmt: skip
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")
"""Decoders that files may reach, whatever their suffix says: others (EPS, ...) start programs or are rarely tested."""
PIXEL_LIMIT: Final = 50_000_000
"""Width x height above which an image is not decoded: a file of a few kB can ask for gigabytes."""
BYTE_LIMIT: Final = 4 * PIXEL_LIMIT
"""No image within the pixel limit needs a larger file."""
METHODS: Final[Mapping[Fit, str]] = {
    "crop": "centre square, over white, lanczos",
    "pad": "padded with white, over white, lanczos",
    "stretch": "stretched, over white, lanczos",
}
"""Describes by fit how RGB pixels are made."""
SMALLEST_SIDE: Final = 4
"""Side in pixels below which an image shows nothing."""
LARGEST_ASPECT: Final = 20
"""Longer over shorter side above which an image is a line or a banner."""

TEXT_LIMIT: Final = 2**26
"""Bytes of text in a PNG, which generators fill with their settings; Pillow's own limit is 1 MiB."""
PngImagePlugin.MAX_TEXT_CHUNK = TEXT_LIMIT
PngImagePlugin.MAX_TEXT_MEMORY = TEXT_LIMIT

GREY_MODES: Final = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
"""Modes of Pillow with one channel beside transparency."""
_CUT_SHORT = re.compile(r"truncated|end of file|\beof\b|not enough|premature", re.IGNORECASE)


class BadImage(Exception):  # noqa: N818 - what was found, not a failure of this program
    """A file that gives no image.

    ``kind`` is one of 'missing', 'empty', 'not an image', 'truncated', 'corrupt', 'oversized',
    'too small', 'odd shape'.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class PixelFormat:
    """What images are decoded to: ``size`` pixels a side, made square by ``fit``, RGB or grey."""

    size: int
    fit: Fit = "crop"
    channels: Channels = 3

    @property
    def method(self) -> str:
        """How pixels are made: part of the key of cached pixels and of the fingerprint of the data."""
        return METHODS[self.fit] if self.channels == 3 else f"{METHODS[self.fit]}, grey"


def load_image(path: Path, size: int, fit: Fit = "crop", channels: Channels = 3) -> NDArray[np.uint8]:
    """Decode an image file into ``(size, size, channels)``, RGB or grey: upright, over white, square, Lanczos-resized.

    Raises:
        BadImage: there is no image to be had from this file.
    """
    return decode_image(read_bytes(path), size, fit, channels)[0]


def read_bytes(path: ImageFile) -> bytes:
    """Read the content of an image file; ``BadImage`` when it is missing, unreadable, empty or far too large."""
    try:
        if isinstance(path, Path):
            require_byte_count(path.stat().st_size)
            return path.read_bytes()
        require_byte_count(max(path.size, 1))  # parquet does not say
        data = path.read_bytes()
        require_byte_count(len(data))
        return data
    except OSError as error:
        raise BadImage("missing", error.strerror or str(error)) from error


def require_byte_count(count: int) -> None:
    """Check the size of an image file before it is read or decoded.

    Raises:
        BadImage: 0 bytes, or more than ``BYTE_LIMIT``.
    """
    if count > BYTE_LIMIT:
        raise BadImage("oversized", f"{count:,} bytes; the limit is {BYTE_LIMIT:,}")
    if not count:
        raise BadImage("empty", "0 bytes")


def decode_image(
    data: bytes, size: int, fit: Fit = "crop", channels: Channels = 3
) -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
    """Decode a file's content into pixels ``(size, size, channels)``, and the image's own width, height and channels.

    Grey is ITU-R 601 luma, as Pillow computes it.

    Raises:
        BadImage: the content gives no image, or one of a side below ``SMALLEST_SIDE`` or an aspect ratio above
            ``LARGEST_ASPECT``.
    """
    image, own = _decoded(data)
    short, long = sorted(own[:2])
    shape = f"{own[0]} x {own[1]} pixels"
    if short < SMALLEST_SIDE:
        raise BadImage("too small", f"{shape}; a side has at least {SMALLEST_SIDE}")
    if long > LARGEST_ASPECT * short:
        raise BadImage("odd shape", f"{shape}; a side is at most {LARGEST_ASPECT} times the other")
    image = image if channels == 3 else image.convert("L")
    pixels = np.asarray(_square(image, fit).resize((size, size), Image.Resampling.LANCZOS))
    return pixels.reshape(size, size, channels), own


def decode_whole(data: bytes) -> NDArray[np.uint8]:
    """Decode a file's content into RGB pixels ``(height, width, 3)``, upright and over white, at their own size."""
    return np.asarray(_decoded(data)[0])


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode pixels ``(height, width, 3)`` or ``(height, width, 1)`` as the content of a PNG file."""
    stream = io.BytesIO()
    as_picture(pixels).save(stream, format="PNG")
    return stream.getvalue()


def as_picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return RGB pixels ``(height, width, 3)`` or grey ones ``(height, width, 1)`` as an image of Pillow."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _decoded(data: bytes) -> tuple[Image.Image, tuple[int, int, int]]:
    """The upright RGB image, and its width, height and channels (1 or 3) in the file."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > PIXEL_LIMIT:
                raise BadImage("oversized", f"{width} x {height} pixels; the limit is {PIXEL_LIMIT:,}")
            image.load()
            own = width, height, 1 if image.mode in GREY_MODES else 3
            return _rgb(ImageOps.exif_transpose(image)), own
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


def _square(image: Image.Image, fit: Fit) -> Image.Image:
    """Cut or pad to a square; an image to be stretched is returned as it is, since the resize stretches it."""
    width, height = image.size
    if fit == "stretch" or width == height:
        return image
    if fit == "pad":
        side = max(width, height)
        square = Image.new(image.mode, (side, side), "white")
        square.paste(image, ((side - width) // 2, (side - height) // 2))
        return square
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB; what is transparent becomes white."""
    if image.mode.startswith("I"):
        # Pillow cuts 16-bit grey off at 255 instead of scaling it down.
        grey = np.asarray(image).astype(np.float64) / 257.0
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
