"""Folders of images as features: any sizes, bad files named, names and batches without influence, the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.errors import UserError
from trainables.scoring import folder_features
from trainables.scoring.extractors.registry import Extractor
from trainables.scoring.folder_features import FolderFeatures, list_images, measure_images

if TYPE_CHECKING:
    from pathlib import Path

SIZES = [(8, 8), (8, 12), (20, 8), (8, 8), (8, 8), (12, 12), (8, 8)]


class Counting:
    """Mean colour of each image and its height, as features; counts the images it was given."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        assert images.dtype == torch.uint8
        self.seen += len(images)
        height = torch.full((len(images), 1), float(images.shape[2]))
        return torch.cat([images.float().mean((2, 3)), height], 1)


def extractor(network: Counting | None = None, **changes: str) -> Extractor:
    about = {"name": "mean", "score": "fd_mean", "weights": "0" * 16, "resize": "none", **changes}
    return Extractor(network=network or Counting(), **about)


def paint(folder: Path, sizes: list[tuple[int, int]] = SIZES) -> dict[str, np.ndarray]:
    """Random images of these (width, height)."""
    rng = np.random.default_rng(0)
    images = {}
    for number, (width, height) in enumerate(sizes):
        path = folder / f"class{number % 2}" / f"{number // 2}.png"  # the same stem in two folders
        path.parent.mkdir(parents=True, exist_ok=True)
        images[path.relative_to(folder).as_posix()] = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(images[path.relative_to(folder).as_posix()]).save(path)
    return images


def measure(folder: Path, network: Counting | None = None, **options: object) -> FolderFeatures:
    return measure_images(list_images(folder), extractor(network), **options)


def test_every_image_is_measured_at_its_own_size(tmp_path: Path) -> None:
    images = paint(tmp_path)
    found = measure(tmp_path)
    expected = np.array([[*pixels.mean((0, 1)), pixels.shape[0]] for pixels in images.values()])
    assert found.features.shape == (7, 4)
    for path, row in zip(found.files, found.features, strict=True):
        np.testing.assert_allclose(row[:3], images[path.relative_to(tmp_path).as_posix()].mean((0, 1)), rtol=1e-5)
    by_colour = [array[np.lexsort(array.T)] for array in (found.features, expected)]
    np.testing.assert_allclose(*by_colour, rtol=1e-5)
    assert found.sizes == {(8, 8): 4, (8, 12): 1, (20, 8): 1, (12, 12): 1}
    assert next(iter(found.sizes)) == (8, 8)
    assert (found.defects, found.faces) == ((), None)


def test_names_change_nothing_contents_do(tmp_path: Path) -> None:
    paint(tmp_path / "a")
    paint(tmp_path / "b")
    for place, path in enumerate(sorted((tmp_path / "b").rglob("*.png"), reverse=True)):
        path.rename(tmp_path / "b" / f"renamed-{place}.png")
    first, second = measure(tmp_path / "a"), measure(tmp_path / "b")
    np.testing.assert_array_equal(first.features, second.features)
    assert first.fingerprint == second.fingerprint
    Image.new("RGB", (8, 8), "red").save(tmp_path / "b" / "renamed-0.png")
    assert measure(tmp_path / "b").fingerprint != first.fingerprint


@pytest.mark.parametrize(("images", "held"), [(1, 10**9), (2, 10**9), (256, 0), (256, 200)])
def test_batches_change_nothing(images: int, held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paint(tmp_path)
    whole = measure(tmp_path)
    monkeypatch.setattr(folder_features, "_BATCH_IMAGES", images)
    monkeypatch.setattr(folder_features, "_PENDING_BYTES", held)
    network = Counting()
    parts = measure(tmp_path, network)
    np.testing.assert_array_equal(parts.features, whole.features)
    assert (network.seen, parts.sizes) == (7, whole.sizes)


def test_large_images_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch holds more than its bytes, whatever the number of images of that size."""
    paint(tmp_path, [(16, 16)] * 9)
    monkeypatch.setattr(folder_features, "_BATCH_BYTES", 2 * 16 * 16 * 3)
    lengths: list[int] = []

    class Watching(Counting):
        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            lengths.append(len(images))
            return super().__call__(images)

    measure(tmp_path, Watching())
    assert lengths == [2, 2, 2, 2, 1]


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    paint(tmp_path)
    whole = (tmp_path / "class0" / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.pdf").write_text("x")
    (tmp_path / "tags.csv").write_text("0,red hair")
    (tmp_path / ".hidden.png").write_text("x")
    found = measure(tmp_path)
    assert len(found) == 7
    named = {(defect.kind, defect.name) for defect in found.defects}
    assert named == {
        ("truncated", "cut.png"),
        ("not an image", "text.jpg"),
        ("empty", "empty.png"),
        ("ignored file", "notes.pdf"),
    }


def test_progress_ends_at_all_of_them(tmp_path: Path) -> None:
    paint(tmp_path)
    (tmp_path / "bad.png").write_text("no image")
    listed: list[tuple[int, int]] = []
    measured: list[tuple[int, int]] = []
    images = list_images(tmp_path, lambda done, total: listed.append((done, total)))
    measure_images(images, extractor(), progress=lambda done, total: measured.append((done, total)))
    assert (listed[-1], measured[-1]) == ((8, 8), (8, 8))


def test_faces_stand_beside_their_images(tmp_path: Path) -> None:
    paint(tmp_path)

    class Tall:
        fingerprint = "tall"

        def __call__(self, image: np.ndarray) -> bool:
            return image.shape[0] > 8

    found = measure(tmp_path, detector=Tall())
    assert found.faces.sum() == 2
    np.testing.assert_array_equal(found.faces, found.features[:, 3] > 8)


def test_a_sample_is_drawn_by_its_seed(tmp_path: Path) -> None:
    paint(tmp_path)
    images = list_images(tmp_path)
    assert images.sample(3, seed=1) == images.sample(3, seed=1)
    assert len({images.sample(3, seed).files for seed in range(9)}) > 1
    assert set(images.sample(3, 1).files) < set(images.files)
    assert images.sample(99, 1) == images
    assert len(measure_images(images.sample(3, 1), extractor())) == 3


def test_the_cache_spares_the_network_and_knows_what_it_was_made_for(tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    paint(data)
    (data / "bad.png").write_text("no image")
    first = measure(data, cache=cache)
    (data / "bad.png").rename(data / "worse.png")
    network = Counting()
    again = measure(data, network, cache=cache)
    assert network.seen == 0
    np.testing.assert_array_equal(first.features, again.features)
    assert (first.fingerprint, first.sizes) == (again.fingerprint, again.sizes)
    assert [(defect.kind, defect.name) for defect in again.defects] == [("not an image", "worse.png")]
    for changes in ({"weights": "1" * 16}, {"resize": "other"}, {"precision": "bf16"}):
        other = Counting()
        measure_images(list_images(data), extractor(other, **changes), cache=cache)
        assert other.seen == 7
    resized = Counting()
    assert (measure(data, resized, cache=cache, image_size=4).features[:, 3] == 4).all()  # the height
    assert resized.seen == 7
    Image.new("RGB", (8, 8), "red").save(data / "new.png")
    changed = Counting()
    assert len(measure(data, changed, cache=cache)) == 8


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no archive", b"\x93NUMPY"])
def test_a_damaged_cache_file_is_made_anew(content: bytes, tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    paint(data)
    first = measure(data, cache=cache)
    (path,) = cache.iterdir()
    path.write_bytes(content)
    network = Counting()
    np.testing.assert_array_equal(measure(data, network, cache=cache).features, first.features)
    assert network.seen == 7


def test_a_cache_that_cannot_be_written_to_costs_nothing_else(tmp_path: Path) -> None:
    paint(tmp_path / "data")
    (tmp_path / "cache").write_text("a file")
    without, found = measure(tmp_path / "data"), measure(tmp_path / "data", cache=tmp_path / "cache")
    np.testing.assert_array_equal(found.features, without.features)


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        list_images(tmp_path / "file")
    with pytest.raises(UserError, match="has no images; looked for"):
        list_images(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match=r"no readable image: empty\.png is empty"):
        list_images(tmp_path)
    (tmp_path / "empty.png").write_text("text")
    with pytest.raises(UserError, match=r"no readable image: empty\.png is not an image"):
        measure(tmp_path)
