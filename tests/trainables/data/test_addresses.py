"""Data at an address is copied once, until the file system lists another version of it."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
from fsspec.registry import known_implementations

from trainables.data.addresses import as_address, local_data
from trainables.errors import UserError


@pytest.fixture
def memory() -> fsspec.AbstractFileSystem:
    """An empty file system in memory."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    return files


def test_path_keeps_one_slash_of_an_address() -> None:
    assert as_address(Path("s3://bucket/a/b")) == "s3://bucket/a/b"
    assert as_address(Path("hf://datasets/owner/name")) == "hf://datasets/owner/name"
    assert as_address(Path("file:///srv/faces")) == "file:///srv/faces"
    for local in ("/srv/faces", "faces", "C:/faces", "a/s3:/b"):
        assert as_address(Path(local)) is None
        assert local_data(Path(local), Path()) == Path(local)
    assert local_data(Path("file:///srv/faces"), Path()) == Path("/srv/faces")


def test_a_folder_that_is_called_like_an_address_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s3:" / "bucket").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert as_address(Path("s3://bucket")) is None


def test_a_remote_folder_is_copied_until_it_changes(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe({"/faces/red/1.png": b"one", "/faces/blue/2.png": b"two"})
    first = local_data(Path("memory://faces"), tmp_path)
    assert {path.relative_to(first).as_posix(): path.read_bytes() for path in first.rglob("*.png")} == {
        "red/1.png": b"one", "blue/2.png": b"two",
    }  # fmt: skip
    (first / "red" / "1.png").unlink()
    assert local_data(Path("memory://faces"), tmp_path) == first
    assert not (first / "red" / "1.png").exists()  # not copied again
    memory.pipe({"/faces/blue/2.png": b"three"})
    second = local_data(Path("memory://faces"), tmp_path)
    assert (second / "blue" / "2.png").read_bytes() == b"three"


def test_a_remote_file_keeps_its_name(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    memory.pipe({"/data/faces.zip": b"zip"})
    found = local_data(Path("memory://data/faces.zip"), tmp_path)
    assert (found.name, found.read_bytes()) == ("faces.zip", b"zip")


def test_what_cannot_be_read_is_refused_in_one_line(
    memory: fsspec.AbstractFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"memory://nothing does not exist, or is empty"):
        local_data(Path("memory://nothing"), tmp_path)
    with pytest.raises(UserError, match=r"cannot list --data nosuch://a/b: .*nosuch"):
        local_data(Path("nosuch://a/b"), tmp_path)
    monkeypatch.setitem(known_implementations, "far", {"class": "no_far.Far", "err": "Install no_far"})
    with pytest.raises(UserError, match=r"--data far://a/b: Install no_far; or copy the data to a local folder") as e:
        local_data(Path("far://a/b"), tmp_path)
    assert "\n" not in str(e.value)
    memory.pipe({"/faces/y.png": b"y"})
    memory.store["/faces/../../etc/x.png"] = memory.store["/faces/y.png"]
    with pytest.raises(UserError, match=r"has a file '/faces/\.\./\.\./etc/x\.png', which leads out of the folder"):
        local_data(Path("memory://faces"), tmp_path)
    assert not list(tmp_path.iterdir())
