"""What was found in a folder is kept until a file of it changes."""

from __future__ import annotations

import dataclasses
import os
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from trainables.data import dataset
from trainables.data.dataset import LoadedFolder, read_folder
from trainables.data.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of two classes, one damaged, one without tags, rows without an image, links to an image and a folder."""
    place = tmp_path / "data"
    (place / "deep").mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (8, 8 + number), (number, 90, 200)).save(place / f"{number}.png")
    (place / "deep" / "6.png").write_bytes(b"no image")
    (place / "7.png").symlink_to(place / "1.png")
    rows = [f"{number},{('red', 'blue')[number % 2]},{number % 3}" for number in (0, 1, 2, 3, 4, 6, 77)]
    (tmp_path / "aside").mkdir()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "aside" / "8.png")
    (place / "linked").symlink_to(tmp_path / "aside")
    (place / "labels.csv").write_text("\n".join(["id,shape,left", *rows]))
    (place / "notes.md").write_text("no labels")
    return place


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were read, rather than known."""
    seen: list[Path] = []
    scan = dataset.scan_folder

    def scan_folder(folder: Path) -> Any:
        seen.append(folder)
        return scan(folder)

    monkeypatch.setattr(dataset, "scan_folder", scan_folder)
    return seen


def require_equal(one: LoadedFolder, other: LoadedFolder) -> None:
    for field in dataclasses.fields(LoadedFolder):
        if field.name != "images":
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    for field in dataclasses.fields(one.images):
        mine, its = getattr(one.images, field.name), getattr(other.images, field.name)
        assert np.array_equal(mine, its) if isinstance(mine, np.ndarray) else mine == its, field.name
    assert one.images.labels.dtype == other.images.labels.dtype


def test_a_known_folder_is_not_read(folder: Path, cache: Path, reads: list[Path]) -> None:
    first = read_folder(folder, 8, cache=cache)
    assert {"not an image", "tags without image", "image without tags", "ignored file"} <= {
        defect.kind for defect in first.images.defects
    }
    require_equal(read_folder(folder, 8, cache=cache), first)
    assert reads == [folder]
    assert isinstance(read_folder(folder, 8, cache=cache).images.pixels, np.memmap)


def test_each_way_of_reading_has_its_own_record(folder: Path, cache: Path, reads: list[Path]) -> None:
    ways: list[dict[str, Any]] = [
        {"size": 8}, {"size": 9}, {"size": 8, "fit": "pad"}, {"size": 8, "channels": 1},
        {"size": 8, "selection": Selection(attributes="shape")},
        {"size": 8, "selection": Selection("shape=red", "shape=blue")},
    ]  # fmt: skip
    first = [read_folder(folder, cache=cache, **way) for way in ways]
    for way, loaded in zip(ways, first, strict=True):
        require_equal(read_folder(folder, cache=cache, **way), loaded)
        require_equal(read_folder(folder, **way), loaded)
    assert reads == [folder] * (2 * len(ways))
    assert len({loaded.images.fingerprint for loaded in first}) == len(ways)


def edit(folder: Path) -> None:
    """Change a label, not the size of its file."""
    path = folder / "labels.csv"
    path.write_text(path.read_text().replace("0,red,0", "0,blue,0").replace("1,blue,1", "1,red,1"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a label": edit,
    "an image": lambda folder: Image.new("RGB", (8, 8), (7, 7, 7)).save(folder / "0.png"),
    "a new image": lambda folder: shutil.copy(folder / "0.png", folder / "deep" / "8.png"),
    "an image less": lambda folder: (folder / "2.png").unlink(),
    "the image that a link leads to": lambda folder: Image.new("RGB", (9, 9), (7, 7, 7)).save(folder / "1.png"),
    "an image in a folder that a link leads to": lambda folder: Image.new("RGB", (8, 8), (7, 7, 7)).save(
        folder.parent / "aside" / "8.png"
    ),
    "another link": lambda folder: ((folder / "7.png").unlink(), (folder / "7.png").symlink_to(folder / "2.png")),
    "a vocabulary": lambda folder: (folder / "vocabulary.json").write_text(
        '{"groups": [{"name": "shape", "classes": ["blue", "red"]}]}'
    ),
    "another name": lambda folder: (folder / "5.png").rename(folder / "9.png"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_in_which_a_file_has_changed_is_read(
    folder: Path, cache: Path, reads: list[Path], change: str
) -> None:
    before = read_folder(folder, 8, cache=cache)
    CHANGES[change](folder)
    after = read_folder(folder, 8, cache=cache)
    assert reads == [folder] * 2
    require_equal(after, read_folder(folder, 8))
    assert (after.images.fingerprint, after.images.defects) != (before.images.fingerprint, before.images.defects)


def test_an_archive_is_known_until_it_or_its_vocabulary_changes(folder: Path, cache: Path, reads: list[Path]) -> None:
    (folder / "deep" / "6.png").unlink()
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.glob("*.*"):
            archive.write(file, file.name)
    first = read_folder(path, 8, cache=cache)
    require_equal(read_folder(path, 8, cache=cache), first)
    assert len(reads) == 1
    path.with_suffix(".vocabulary.json").write_text('{"groups": [{"name": "shape", "classes": ["blue", "red"]}]}')
    assert read_folder(path, 8, cache=cache).images.vocabulary.names == ("shape",)
    path.with_suffix(".vocabulary.json").unlink()
    require_equal(read_folder(path, 8, cache=cache), first)
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(folder / "0.png", "10.png")
    assert len(read_folder(path, 8, cache=cache).images) == len(first.images) + 1


def test_a_link_within_a_linked_folder_is_decided_as_by_the_listing(
    folder: Path, cache: Path, reads: list[Path]
) -> None:
    """``a/x`` leads into the folder of ``b``: whichever is met first hides the other."""
    for name in ("q", "r"):
        (folder.parent / "far" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (7, 7, 7)).save(folder.parent / "far" / name / f"{name}.png")
    (folder / "a").mkdir()
    (folder / "a" / "x").symlink_to(folder.parent / "far" / "q")
    (folder / "b").symlink_to(folder.parent / "far")
    first = read_folder(folder, 8, cache=cache)
    assert {"q", "r"} <= set(first.images.ids)
    require_equal(read_folder(folder, 8, cache=cache), first)
    Image.new("RGB", (8, 8), (250, 7, 7)).save(folder.parent / "far" / "r" / "r.png")
    changed = read_folder(folder, 8, cache=cache)
    assert reads == [folder] * 2
    require_equal(changed, read_folder(folder, 8))
    assert changed.images.fingerprint != first.images.fingerprint


def test_what_is_no_plain_file_and_what_cannot_be_listed_are_named(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.png")
    (folder / "round").symlink_to("round")
    (folder / "round.png").symlink_to("round.png")
    (folder / "round.csv").symlink_to("round.csv")
    (folder / "pipe-link.txt").symlink_to("pipe.csv")
    (folder / "closed").mkdir()
    scan = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("/closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    first = read_folder(folder, 8, cache=cache)
    require_equal(read_folder(folder, 8, cache=cache), first)
    named = {(defect.kind, defect.name): defect.detail for defect in first.images.defects}
    assert {("not a plain file", "pipe.csv"), ("not a plain file", "pipe.png"), ("link not followed", "pipe-link.txt"),
            ("ignored file", "round"), ("ignored file", "round.csv")} <= set(named)  # fmt: skip
    assert named["unreadable folder", "closed"] == "Permission denied"
    assert [kind for kind, name in named if name == "round.png"] != []


def test_a_closed_folder_is_no_empty_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat", "dog", "owl"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / f"{name}.png")
    (tmp_path / "gone").symlink_to(tmp_path / "owl" / "below")
    scan, stat = os.scandir, os.stat

    def closed(call: Callable[..., Any]) -> Callable[..., Any]:
        def act(path: Any, *args: Any, **options: Any) -> Any:
            if os.fspath(path).endswith(("/owl", "/gone")) and (call is scan or "gone" in os.fspath(path)):
                raise PermissionError(13, "Permission denied", path)
            return call(path, *args, **options)

        return act

    monkeypatch.setattr(os, "scandir", closed(scan))
    monkeypatch.setattr(os, "stat", closed(stat))
    loaded = read_folder(tmp_path, 8)
    assert [(one.kind, one.name) for one in loaded.images.defects] == [
        ("unreadable folder", "owl"), ("ignored file", "gone")
    ]  # fmt: skip
