"""Tensors become the right pixels in the right places."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.data.tensors import as_tensor, to_uint8
from trainables.visuals.image_grid import grid, save_image

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=np.uint8)
TILES = np.broadcast_to(COLOURS[:, None, None], (3, 4, 4, 3))


def test_the_range_maps_to_all_256_levels_and_back() -> None:
    levels = torch.arange(256)
    assert torch.equal(to_uint8(levels / 127.5 - 1.0).long(), levels)


def test_values_are_rounded_and_cut() -> None:
    # 0 is in the middle, 127.5, which rounds to even.
    values = torch.tensor([-1.0, -1.5, -9.0, 1.0, 3.0, 0.0, 10.4 / 127.5 - 1, 10.6 / 127.5 - 1])
    assert to_uint8(values).tolist() == [0, 0, 0, 255, 255, 128, 10, 11]
    assert to_uint8(values).dtype == torch.uint8


def test_half_precision_has_the_same_pixels() -> None:
    values = torch.tensor([-1.0, -0.5, 0.5, 1.0])
    assert to_uint8(values.bfloat16()).tolist() == to_uint8(values).tolist() == [0, 64, 191, 255]


def test_a_tensor_shares_the_memory_of_a_read_only_array_without_a_warning() -> None:
    array = np.arange(6)
    locked = array.view()
    locked.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = as_tensor(locked)
    array[0] = 7
    assert tensor.tolist() == [7, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("scale", [1, 3])
def test_images_stand_in_rows(scale) -> None:
    side = 4 * scale
    sheet = np.asarray(grid(TILES, columns=2, scale=scale))
    assert sheet.shape == (2 * (side + 2), 2 * (side + 2), 3)
    for place, (top, left) in enumerate([(0, 0), (0, side + 2), (side + 2, 0)]):
        assert (sheet[top : top + side, left : left + side] == COLOURS[place]).all()
    assert (sheet[:, side : side + 2] == 255).all()  # the gap
    assert (sheet[side + 2 :, side + 2 :] == 255).all()  # no fourth image


def test_labels_stand_left_of_their_rows() -> None:
    tiles = np.repeat(TILES, 2, axis=0)
    plain = grid(tiles, 2, scale=5)
    sheet = grid(tiles, 2, ["blue hair", "", "red"], scale=5)
    margin = sheet.width - plain.width
    assert margin > 20
    assert sheet.height == plain.height
    pixels = np.asarray(sheet)
    assert (pixels[:, margin:] == np.asarray(plain)).all()
    ink = [(pixels[top : top + 20, :margin] < 128).any() for top in (0, 22, 44)]
    assert ink == [True, False, True]


def test_a_png_is_read_back_exactly(tmp_path) -> None:
    path = tmp_path / "deep" / "a.png"
    save_image(grid(TILES, 3), path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert (np.asarray(image) == np.asarray(grid(TILES, 3))).all()
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_a_webp_loses_nothing(tmp_path) -> None:
    save_image(grid(TILES, 3), tmp_path / "a.webp")
    with Image.open(tmp_path / "a.webp") as image:
        assert image.format == "WEBP"
        assert (np.asarray(image) == np.asarray(grid(TILES, 3))).all()
