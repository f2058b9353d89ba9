"""Where pixels are kept, and how other processes open those on disk."""

from __future__ import annotations

import dataclasses
import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.tiny import painted_images, random_labels
from trainables.data import pixel_places
from trainables.data.dataset import TaggedImages
from trainables.data.pixel_places import describe_place, gathers_batches, place_pixels
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def unpickled(content: bytes) -> TaggedImages:
    images = pickle.loads(content)  # noqa: S301 - the test's own
    assert isinstance(images, TaggedImages)
    return images


@pytest.fixture
def mapped(tmp_path: Path) -> TaggedImages:
    """200 images of 16 px, 153,600 bytes, in a memory-mapped file."""
    images = painted_images(random_labels(200))
    np.save(tmp_path / "pixels.npy", images.pixels)
    return dataclasses.replace(images, pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))


def set_free_memory(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(pixel_places.psutil, "virtual_memory", lambda: SimpleNamespace(available=count))


def test_images_opened_by_path_are_pickled_without_pixels(mapped: TaggedImages) -> None:
    assert mapped.pixels.nbytes == 153_600
    by_path = mapped.opened_by_path()
    content = pickle.dumps(by_path)
    assert len(content) < len(pickle.dumps(mapped)) - 150_000
    again = unpickled(content)
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(again.pixels, mapped.pixels)
    assert np.array_equal(again.labels, mapped.labels)
    assert (again.ids, again.complete, again.fingerprint) == (mapped.ids, mapped.complete, mapped.fingerprint)
    assert (by_path.pickled_bytes, mapped.pickled_bytes) == (0, 153_600)
    assert unpickled(pickle.dumps(again)).mapped_file == mapped.mapped_file  # a worker may send them on


def test_mapped_pixels_are_sent_without_a_copy(mapped: TaggedImages) -> None:
    """As Ray does: what is pickled beside the buffers it shares between the processes of a machine."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(mapped, protocol=5, buffer_callback=buffers.append)
    assert len(content) < 20_000
    assert max(buffer.raw().nbytes for buffer in buffers) == 153_600
    again = pickle.loads(content, buffers=buffers)  # noqa: S301 - the test's own
    assert np.array_equal(again.pixels, mapped.pixels)


def test_a_file_that_is_gone_damaged_or_another_gives_one_line(mapped: TaggedImages) -> None:
    content, path = pickle.dumps(mapped.opened_by_path()), mapped.mapped_file
    assert path is not None
    path.unlink()
    with pytest.raises(UserError, match=r"cannot open decoded images .*pixels\.npy: No such file") as caught:
        unpickled(content)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"x")
    with pytest.raises(UserError, match=r"cannot open decoded images .*pixels\.npy"):
        unpickled(content)
    np.save(path, np.zeros((2, 16, 16, 3), dtype=np.uint8))
    with pytest.raises(UserError, match=r"pixels\.npy are uint8 \(2, 16, 16, 3\), expected .*200"):
        unpickled(content)


def test_pixels_in_memory_cannot_be_opened_by_path() -> None:
    images = painted_images(random_labels(20))
    assert images.mapped_file is None
    with pytest.raises(UserError, match="not in a file"):
        images.opened_by_path()


def test_large_data_stay_on_disk_where_trials_run_on_this_machine(
    mapped: TaggedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free_memory(monkeypatch, 4 * 153_600)  # a quarter of it holds them
    images, place = place_pixels(mapped, "auto", local=True)
    assert (images.by_path, place) == (False, "auto")
    set_free_memory(monkeypatch, 4 * 153_600 - 4)
    images, place = place_pixels(mapped, "auto", local=True)
    assert (images.by_path, place) == (True, "disk")
    for given, local in (("auto", False), ("device", True), ("memory", True)):
        images, place = place_pixels(mapped, given, local=local)
        assert (images.by_path, place) == (False, given)
    set_free_memory(monkeypatch, 10**12)
    assert place_pixels(mapped, "disk", local=False)[0].by_path


def test_a_trial_keeps_small_data_on_its_gpu() -> None:
    assert not gathers_batches("auto", 250, 1000)
    assert gathers_batches("auto", 251, 1000)
    assert not gathers_batches("auto", 10**12, None)  # a CPU's tensor is the data themselves
    assert [gathers_batches(place, 1, None) for place in ("device", "memory", "disk")] == [False, True, True]


def test_the_place_is_said_with_its_option() -> None:
    assert describe_place("auto", 2**29, gpus=False) == (
        "pixels: 0.50 GiB, one tensor on the training device (--pixels device)"
    )
    assert "at most 25% of its memory" in describe_place("auto", 2**29, gpus=True)
    assert "memory-mapped cache (--pixels disk)" in describe_place("disk", 2**29, gpus=True)
