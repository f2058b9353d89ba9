from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from trainables.data import duplicates
from trainables.data.duplicates import identical_pairs, near_duplicate_groups
from trainables.data.images import decode_image, encode_png, load_image


def drawing(seed: int, size: int = 64) -> np.ndarray:
    """Coloured discs and bars at random, with the soft outlines of an image that was scaled down."""
    rng = np.random.default_rng(seed)
    large = 3 * size
    y, x = np.mgrid[:large, :large] / large
    image = np.full((large, large, 3), rng.integers(0, 256, 3))
    for _ in range(9):
        cx, cy, radius = rng.random(), rng.random(), rng.uniform(0.08, 0.3)
        image[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = rng.integers(0, 256, 3)
        image[(abs(x - cy) < radius) & (abs(y - cx) < 0.04)] = rng.integers(0, 256, 3)
    return image.reshape(size, 3, size, 3, 3).mean(axis=(1, 3)).astype(np.uint8)


def re_encoded(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=30)
    return np.asarray(Image.open(buffer))


def recoloured(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


def darkened(image: np.ndarray) -> np.ndarray:
    return (image * 0.6).astype(np.uint8)


def shifted(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def same(image: np.ndarray) -> np.ndarray:
    return image


@pytest.mark.parametrize("size", [32, 64, 100])
@pytest.mark.parametrize("change", [same, re_encoded, recoloured, darkened, shifted])
def test_copies_share_a_group_and_others_are_alone(change, size) -> None:
    originals = [drawing(seed, size) for seed in range(30)]
    copies = [change(image) for image in originals[5:10]]
    groups = near_duplicate_groups(np.stack([*originals, *copies]))
    assert groups.shape == (35,)
    assert len(set(groups[:30])) == 30
    assert (groups[30:] == groups[5:10]).all()
    assert sorted(set(groups)) == list(range(30))


def test_a_group_of_three_and_one_more_than_the_partners_kept() -> None:
    copies = [re_encoded(drawing(0)), recoloured(drawing(0)), drawing(0)]
    many = [np.clip(drawing(1).astype(int) + step, 0, 255).astype(np.uint8) for step in range(12)]
    groups = near_duplicate_groups(np.stack([*copies, *many, drawing(2)]))
    assert [len(set(groups[part])) for part in (slice(3), slice(3, 15), slice(15, 16))] == [1, 1, 1]
    assert len(set(groups)) == 3


def test_the_search_through_pivots_gives_the_groups_of_all_with_all(monkeypatch) -> None:
    originals = [drawing(seed, 32) for seed in range(120)]
    copies = [change(image) for image in originals[10:40] for change in (re_encoded, recoloured, shifted)]
    pixels = np.stack([*originals, *copies])
    exact = near_duplicate_groups(pixels)
    assert len(set(exact)) == 120
    monkeypatch.setattr(duplicates, "_EXACT", 50)
    calls = []
    lists = duplicates._pivot_lists
    monkeypatch.setattr(duplicates, "_pivot_lists", lambda signatures: calls.append(1) or lists(signatures))
    assert (near_duplicate_groups(pixels) == exact).all()
    assert calls == [1]


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("size", [32, 64])
def test_white_bars_make_no_copies_and_hide_none(size, wide) -> None:
    def padded(image: np.ndarray) -> np.ndarray:
        banner = image[12:-12] if wide else image[:, 12:-12]  # 64 x 40
        return decode_image(encode_png(banner), size, "pad")[0]

    originals = [drawing(seed) for seed in range(30)]
    copies = [change(image) for image in originals[5:10] for change in (re_encoded, recoloured, darkened)]
    pixels = np.stack([padded(image) for image in [*originals, *copies]])
    groups = near_duplicate_groups(pixels, padded=True)
    assert len(set(groups[:30])) == 30
    assert (groups[30:] == np.repeat(groups[5:10], 3)).all()
    assert len(set(near_duplicate_groups(pixels)[:30])) < 30  # the outlines of the bars are alike


def test_flat_images_are_together_only_when_identical() -> None:
    pixels = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    pixels[2] = 200
    pixels[3] = 90
    groups = near_duplicate_groups(pixels)
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3
    assert identical_pairs(pixels).tolist() == [[0, 1]]


def test_none_and_one() -> None:
    assert near_duplicate_groups(np.zeros((0, 8, 8, 3), dtype=np.uint8)).shape == (0,)
    assert near_duplicate_groups(np.zeros((1, 8, 8, 3), dtype=np.uint8)).tolist() == [0]
    assert identical_pairs(np.zeros((0, 8, 8, 3), dtype=np.uint8)).shape == (0, 2)


def test_drawn_faces_of_one_template_are_not_merged() -> None:
    synthetic = pytest.importorskip("trainables.data.synthetic")
    groups = near_duplicate_groups(synthetic.draw_faces(synthetic.sample_labels(300, 0), 0, 64))
    members = np.bincount(groups)
    assert members.max() <= 3
    assert members[members > 1].sum() <= 15


def test_real_copies_are_found_among_real_faces(shared_data) -> None:
    files = sorted((shared_data / "anime-faces" / "faces").iterdir(), key=lambda path: int(path.stem))[:1500]
    pixels = np.stack([load_image(path, 64) for path in files])
    copies = [change(pixels[place]) for place in range(40) for change in (re_encoded, recoloured, shifted)]
    groups = near_duplicate_groups(np.concatenate([pixels, copies]))
    assert (groups[1500:] == np.repeat(groups[:40], 3)).mean() > 0.98
    members = np.bincount(groups[:1500])
    assert members.max() <= 4  # no chains
    assert 2 <= (members > 1).sum() <= 30
