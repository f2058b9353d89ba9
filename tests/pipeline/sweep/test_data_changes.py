"""Changes of a data folder since a sweep started are reported by name."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pipeline.sweep.saved_settings import PICTURES_FILE, data_changes, write_images
from trainables.data.dataset import TaggedImages, load_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TAGS = ("blue hair red eyes", "green hair red eyes", "pink hair blue eyes", "blue hair green eyes")


def draw(folder: Path, name: str, grey: int) -> None:
    Image.fromarray(np.full((8, 8, 3), grey, dtype=np.uint8)).save(folder / f"{name}.png")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(len(TAGS)):
        draw(folder, str(number), 10 * number)
    (folder / "tags.csv").write_text("".join(f"{number},{tags}\n" for number, tags in enumerate(TAGS)))
    return folder


def load(data: Path) -> TaggedImages:
    return load_folder(data, 8, cache=data.parent / "cache", max_bad_share=1.0)


def add(data: Path) -> None:
    draw(data, "new", 200)


def remove(data: Path) -> None:
    (data / "1.png").unlink()


def spoil(data: Path) -> None:
    (data / "1.png").write_bytes(b"no image")


def alter(data: Path) -> None:
    """Another image of the same number of bytes, with the times of before, as some programs leave it."""
    path = data / "2.png"
    before = path.stat()
    draw(data, "2", 21)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def retag(data: Path) -> None:
    path = data / "tags.csv"
    path.write_text(path.read_text().replace("3,blue hair", "3,pink hair"))


def everything(data: Path) -> None:
    for change in (add, remove, alter, retag):
        change(data)


def new_words(data: Path) -> None:
    groups = [{"name": "hair", "classes": ["blue", "green", "pink", "lilac"]},
              {"name": "eyes", "classes": ["red", "blue", "green"]}]  # fmt: skip
    (data / "vocabulary.json").write_text(json.dumps({"groups": groups}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add, "1 image added (new)"),
        (remove, "1 image removed or unreadable (1)"),
        (spoil, "1 image removed or unreadable (1)"),
        (alter, "1 image altered (2)"),
        (retag, "1 image with other tags (3)"),
        (new_words, "another tag vocabulary"),
        (everything, "1 image added (new), 1 image removed or unreadable (1), 1 image altered (2), "
                     "1 image with other tags (3)"),
    ],
)  # fmt: skip
def test_every_change_is_named(data: Path, tmp_path: Path, change: Callable[[Path], None], said: str) -> None:
    before = load(data)
    write_images(tmp_path, before)
    assert data_changes(tmp_path, load(data)) == ""
    change(data)
    after = load(data)
    assert after.fingerprint != before.fingerprint
    assert data_changes(tmp_path, after) == said


def test_of_many_names_three_are_shown(data: Path, tmp_path: Path) -> None:
    write_images(tmp_path, load(data))
    for number in range(10, 15):
        draw(data, str(number), number)
    assert data_changes(tmp_path, load(data)) == "5 images added (10, 11, 12, ...)"


@pytest.mark.parametrize("content", [None, "", "[1]", '{"pictures": 3}', '{"pictures": {"1": 3}}'])
def test_without_saved_checksums_changes_are_unknown(data: Path, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / PICTURES_FILE).write_text(content)
    assert data_changes(tmp_path, load(data)) == ""
