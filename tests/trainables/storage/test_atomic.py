"""Files appear whole or not at all."""

import json

import pytest

from trainables.errors import UserError
from trainables.storage.atomic import atomic_directory, atomic_write, require_empty, write_json


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path) -> None:
    path.write_text("half")
    raise ValueError("cannot write")


def test_a_finished_file_takes_its_name(tmp_path) -> None:
    target = tmp_path / "new" / "a.npz"
    with atomic_write(target) as partial:
        assert partial.suffix == ".npz"  # some writers append it, or choose the format by it
        assert partial.parent == target.parent
        partial.write_text("all")
        assert not target.exists()
    assert target.read_text() == "all"
    assert names(target.parent) == ["a.npz"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="cannot write"), atomic_write(target) as partial:
        write_half(partial)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_writers_at_once_do_not_share_a_partial_file(tmp_path) -> None:
    target = tmp_path / "a.txt"
    with atomic_write(target) as first, atomic_write(target) as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert target.read_text() == "1"  # the outer block ends last
    assert names(tmp_path) == ["a.txt"]


def test_json_is_strict_and_readable(tmp_path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"tag": "青", "values": [1, 2.5, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"tag": "青", "values": [1, 2.5, None]}
    assert "青" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_nan_is_refused_and_the_old_json_stays(tmp_path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"score": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"score": float("nan")})
    assert json.loads(path.read_text()) == {"score": 1}
    assert names(tmp_path) == ["a.json"]


def test_a_finished_folder_takes_its_name(tmp_path) -> None:
    target = tmp_path / "new" / "folder"
    with atomic_directory(target) as partial:
        (partial / "a").write_text("all")
        assert not target.exists()
    assert names(target) == ["a"]
    assert names(target.parent) == ["folder"]


def test_an_empty_folder_is_replaced_and_a_full_one_refused(tmp_path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with atomic_directory(target) as partial:
        (partial / "a").write_text("all")
    with pytest.raises(UserError, match="exists and is not empty; give another -o"), atomic_directory(target):
        pass
    assert names(target) == ["a"]
    assert names(tmp_path) == ["folder"]


def test_a_failed_folder_leaves_nothing(tmp_path) -> None:
    with pytest.raises(ValueError, match="cannot write"), atomic_directory(tmp_path / "folder") as partial:
        write_half(partial / "a")
    assert names(tmp_path) == []


def test_the_working_folder_is_not_free(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is the working folder and would be replaced"):
        require_empty(tmp_path)
