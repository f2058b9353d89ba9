from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from trainables.data.images import PIXEL_LIMIT, BadImage, decode_whole, load_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def load(tmp_path: Path, content: bytes | Image.Image, size: int = 4) -> NDArray[np.uint8]:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(content) if isinstance(content, Image.Image) else content)
    return load_image(path, size)


def noise(side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels to show for it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_pixels_of_the_right_size_are_untouched(tmp_path) -> None:
    picture = noise()
    pixels = load(tmp_path, picture, 32)
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(picture)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_every_format_whatever_the_suffix(tmp_path, kind) -> None:
    pixels = load(tmp_path, encoded(Image.new("RGB", (8, 8), RED), kind))
    assert pixels.shape == (4, 4, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= 2


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (Image.new("RGB", (8, 8), RED).quantize(4), RED),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), WHITE),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 51)), (255, 204, 204)),
        (Image.new("LA", (8, 8), (0, 0)), WHITE),
        (Image.new("L", (8, 8), 77), (77, 77, 77)),
        (Image.new("1", (8, 8), 1), WHITE),
        (Image.fromarray(np.full((8, 8), 100 * 257, dtype=np.uint16)), (100, 100, 100)),
    ],
    ids=["palette", "transparent", "translucent", "grey transparent", "grey", "bilevel", "16 bit"],
)
def test_every_mode_becomes_rgb(tmp_path, picture, colour) -> None:
    assert (load(tmp_path, picture) == colour).all()


def test_a_transparent_palette_is_laid_over_white(tmp_path) -> None:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([*RED, *BLUE])
    assert (load(tmp_path, encoded(picture, transparency=0)) == WHITE).all()


def test_cmyk(tmp_path) -> None:
    pixels = load(tmp_path, encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(pixels.astype(int) - RED).max() <= 3


def test_exif_rotation_is_undone(tmp_path) -> None:
    picture = Image.new("RGB", (8, 8), RED)
    picture.paste(BLUE, (0, 0, 8, 4))  # blue above red
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: what is above comes to the right
    pixels = load(tmp_path, encoded(picture, exif=exif), 8)
    assert (pixels[:, 4:] == BLUE).all()
    assert (pixels[:, :4] == RED).all()


@pytest.mark.parametrize(("width", "height"), [(16, 4), (4, 16)])
def test_the_centre_square_is_cut_out(tmp_path, width, height) -> None:
    picture = Image.new("RGB", (width, height), RED)
    left, top = (width - 4) // 2, (height - 4) // 2
    picture.paste(BLUE, (left, top, left + 4, top + 4))
    assert (load(tmp_path, picture) == BLUE).all()


def test_shrinking_averages(tmp_path) -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = load(tmp_path, Image.fromarray(board), 8)
    assert np.abs(pixels.astype(int) - 127).max() <= 2  # picking single pixels would give 0 or 255


JPEG, WEBP = encoded(noise(), "JPEG"), encoded(noise(), "WEBP")
FAULTS = [
    ("empty", b""),
    ("not an image", b"no picture at all"),
    ("not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
    ("truncated", JPEG[: len(JPEG) // 2]),
    ("truncated", encoded(noise())[:700]),
    ("truncated", WEBP[: len(WEBP) // 2]),
    ("corrupt", encoded(noise())[:50] + b"\xaa" * 900 + encoded(noise())[950:]),
    ("oversized", png_header(10_000, 5_001)),
    ("oversized", png_header(100_000, 100_000)),
]


@pytest.mark.parametrize(("kind", "content"), FAULTS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bad_file_is_named_by_kind(tmp_path, kind, content) -> None:
    with pytest.raises(BadImage) as caught:
        load(tmp_path, content)
    assert caught.value.kind == kind
    assert caught.value.detail


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_a_bomb_stays_a_bad_image_where_warnings_are_errors(tmp_path) -> None:
    with pytest.raises(BadImage, match="oversized"):
        load(tmp_path, png_header(10_000, 10_000))


def test_a_picture_at_the_limit_is_decoded_at_all(tmp_path) -> None:
    assert PIXEL_LIMIT == 10_000 * 5_000
    with pytest.raises(BadImage) as caught:  # it claims 50 million pixels, which is allowed, and ends early
        load(tmp_path, png_header(10_000, 5_000))
    assert caught.value.kind == "truncated"


def test_a_huge_file_is_not_read(tmp_path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadImage, match="oversized"):
        load_image(path, 4)


def test_missing_files(tmp_path) -> None:
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    for path in (tmp_path / "none.png", tmp_path / "dangling.png", tmp_path):
        with pytest.raises(BadImage) as caught:
            load_image(path, 4)
        assert caught.value.kind == "missing"


def test_a_whole_picture_keeps_its_size_and_is_upright_and_over_white() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_whole(encoded(Image.fromarray(wide))), wide)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned = decode_whole(encoded(Image.fromarray(wide), exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(wide, -1))
    assert (decode_whole(encoded(Image.new("RGBA", (3, 2), (255, 0, 0, 0)))) == 255).all()
    with pytest.raises(BadImage, match="not an image"):
        decode_whole(b"text")
