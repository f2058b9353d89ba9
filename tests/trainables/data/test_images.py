from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from trainables.data.images import PIXEL_LIMIT, SUFFIXES, BadImage, decode_image, decode_whole, load_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RED, WHITE, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def load(tmp_path: Path, content: bytes | Image.Image, size: int = 4) -> NDArray[np.uint8]:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(content) if isinstance(content, Image.Image) else content)
    return load_image(path, size)


def noise(side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels to show for it."""
    return png(width, height, 8, zlib.compress(b"\0" * 1000))


def png(width: int, height: int, bits: int, data: bytes) -> bytes:
    """An RGB PNG around compressed rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_pixels_of_the_right_size_are_untouched(tmp_path) -> None:
    image = noise()
    pixels = load(tmp_path, image, 32)
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(image)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM"])
def test_every_format_whatever_the_suffix(tmp_path, kind) -> None:
    pixels = load(tmp_path, encoded(Image.new("RGB", (8, 8), RED), kind))
    assert pixels.shape == (4, 4, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= 2


def test_the_first_image_of_a_multi_picture_file_is_taken(tmp_path) -> None:
    content = encoded(
        Image.new("RGB", (8, 8), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), BLUE)]
    )
    assert np.abs(load(tmp_path, content).astype(int) - RED).max() <= 2
    assert {".jfif", ".mpo", ".tif", ".tiff", ".avif"} <= SUFFIXES


def test_a_png_with_more_text_than_pillow_allows_is_read(tmp_path) -> None:
    text = PngImagePlugin.PngInfo()
    for name in ("prompt", "workflow"):
        text.add_text(name, "a" * 3_000_000, zip=True)
    assert (load(tmp_path, encoded(Image.new("RGB", (8, 8), RED), pnginfo=text)) == RED).all()


def test_16_bits_a_channel(tmp_path) -> None:
    deep = Image.fromarray(np.full((8, 8), 200 * 257, dtype=np.uint16))
    assert (load(tmp_path, encoded(deep, "TIFF")) == 200).all()
    rgb = struct.pack(">HHH", 255 * 257, 100 * 257, 0)
    content = png(8, 8, 16, zlib.compress((b"\0" + rgb * 8) * 8))
    assert (load(tmp_path, content) == (255, 100, 0)).all()


HALVES = np.array([[RED] * 4 + [BLUE] * 4] * 4, dtype=np.uint8)  # 8 x 4: a square of red beside a square of blue


@pytest.mark.parametrize("turned", [False, True])
def test_an_image_of_two_squares_in_every_fit(tmp_path, turned) -> None:
    image = HALVES.swapaxes(0, 1) if turned else HALVES

    def fitted(size: int, fit: str) -> NDArray[np.uint8]:
        pixels = decode_image(encoded(Image.fromarray(image)), size, fit)[0]
        return pixels.swapaxes(0, 1) if turned else pixels

    cropped = fitted(4, "crop")  # columns 2 to 5 of 8: the ends are dropped
    assert (cropped[:, :2] == RED).all()
    assert (cropped[:, 2:] == BLUE).all()
    padded = fitted(8, "pad")  # 8 x 8 with rows 2 to 5 from the image
    assert (padded[:2] == WHITE).all()
    assert (padded[6:] == WHITE).all()
    assert (padded[2:6] == HALVES).all()
    stretched = fitted(16, "stretch")  # both ends are there; Lanczos blurs six columns either side of the middle
    assert (stretched[:, :2] == RED).all()
    assert (stretched[:, 14:] == BLUE).all()
    assert (stretched[0] == stretched[15]).all()
    assert fitted(4, "crop").shape == fitted(4, "pad").shape == fitted(4, "stretch").shape == (4, 4, 3)


def test_a_square_image_is_the_same_in_every_fit() -> None:
    content = encoded(noise())
    crop, pad, stretch = (decode_image(content, 16, fit)[0] for fit in ("crop", "pad", "stretch"))
    assert (crop == pad).all()
    assert (crop == stretch).all()


@pytest.mark.parametrize(
    ("width", "height", "kind"),
    [
        (1, 1, "too small"), (3, 100, "too small"), (100, 3, "too small"), (5000, 20, "odd shape"),
        (4, 81, "odd shape"), (4, 80, None), (80, 4, None), (4, 4, None),
    ],
)  # fmt: skip
def test_images_of_no_use_are_named(width, height, kind) -> None:
    content = encoded(Image.new("RGB", (width, height), RED))
    if kind is None:
        assert decode_image(content, 4)[0].shape == (4, 4, 3)
        return
    with pytest.raises(BadImage, match=f"{kind}: {width} x {height} pixels"):
        decode_image(content, 4)


@pytest.mark.parametrize(
    ("image", "colour"),
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
def test_every_mode_becomes_rgb(tmp_path, image, colour) -> None:
    assert (load(tmp_path, image) == colour).all()


def test_a_transparent_palette_is_laid_over_white(tmp_path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*RED, *BLUE])
    assert (load(tmp_path, encoded(image, transparency=0)) == WHITE).all()


def test_cmyk(tmp_path) -> None:
    pixels = load(tmp_path, encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(pixels.astype(int) - RED).max() <= 3


def test_exif_rotation_is_undone(tmp_path) -> None:
    image = Image.new("RGB", (8, 8), RED)
    image.paste(BLUE, (0, 0, 8, 4))  # blue above red
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise: what is above comes to the right
    pixels = load(tmp_path, encoded(image, exif=exif), 8)
    assert (pixels[:, 4:] == BLUE).all()
    assert (pixels[:, :4] == RED).all()


@pytest.mark.parametrize(("width", "height"), [(16, 4), (4, 16)])
def test_the_centre_square_is_cut_out(tmp_path, width, height) -> None:
    image = Image.new("RGB", (width, height), RED)
    left, top = (width - 4) // 2, (height - 4) // 2
    image.paste(BLUE, (left, top, left + 4, top + 4))
    assert (load(tmp_path, image) == BLUE).all()


def test_shrinking_averages(tmp_path) -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = load(tmp_path, Image.fromarray(board), 8)
    assert np.abs(pixels.astype(int) - 127).max() <= 2  # picking single pixels would give 0 or 255


JPEG, WEBP = encoded(noise(), "JPEG"), encoded(noise(), "WEBP")
FAULTS = [
    ("empty", b""),
    ("not an image", b"no image at all"),
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


def test_a_image_at_the_limit_is_decoded_at_all(tmp_path) -> None:
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


def test_a_whole_image_keeps_its_size_and_is_upright_and_over_white() -> None:
    wide = np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_whole(encoded(Image.fromarray(wide))), wide)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned = decode_whole(encoded(Image.fromarray(wide), exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(wide, -1))
    assert (decode_whole(encoded(Image.new("RGBA", (3, 2), (255, 0, 0, 0)))) == 255).all()
    with pytest.raises(BadImage, match="not an image"):
        decode_whole(b"text")


def luma(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """ITU-R 601 luma in 16 bits of fixed point."""
    return (pixels.astype(np.int64) @ [19595, 38470, 7471] + 0x8000) >> 16


def test_grey_pixels_are_the_luma_of_colours_and_grey_files_as_they_are() -> None:
    colours, (grey,) = np.asarray(noise()), np.asarray(noise()).transpose(2, 0, 1)[:1]
    pixels, own = decode_image(encoded(noise()), 32, channels=1)
    assert (pixels.shape, own) == ((32, 32, 1), (32, 32, 3))
    assert (pixels[..., 0] == luma(colours)).all()
    pixels, own = decode_image(encoded(Image.fromarray(grey)), 32, channels=1)
    assert own == (32, 32, 1)
    assert (pixels[..., 0] == grey).all()
    assert (decode_image(encoded(Image.fromarray(grey)), 32)[0] == grey[..., None]).all()


@pytest.mark.parametrize(
    ("image", "level"),
    [
        (Image.new("LA", (4, 4), (0, 0)), 255),  # what is transparent lies over white
        (Image.new("1", (4, 4), 1), 255),
        (Image.fromarray(np.full((4, 4), 257 * 99, dtype=np.uint16)), 99),
    ],
)
def test_every_grey_mode_has_one_channel(image: Image.Image, level: int) -> None:
    pixels, own = decode_image(encoded(image), 4, channels=1)
    assert own == (4, 4, 1)
    assert (pixels == level).all()


def test_grey_bars_are_white() -> None:
    pixels = decode_image(encoded(Image.new("RGB", (8, 4))), 8, "pad", 1)[0][..., 0]
    assert (pixels[0] == 255).all()
    assert (pixels[4] == 0).all()
