"""Checkpoints and results: whole or passed over, two of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.support.checkpoints import DAMAGES, files, here
from tests.support.servers.cloud import BUCKET, Faulty
from tests.support.tiny import Touch
from trainables.errors import UserError
from trainables.storage.checkpoints import Checkpoints, Restored, read_results, write_results
from trainables.storage.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path


def numbered(tmp_path: Path, count: int) -> list[Path]:
    """Save so many states; what is left of them, oldest first."""
    checkpoints = Checkpoints(here(tmp_path))
    for number in range(1, count + 1):
        checkpoints.save({"number": number, "weights": torch.full((1000,), float(number))})
    return sorted((tmp_path / "checkpoints").iterdir())


def restored(tmp_path: Path) -> tuple[Restored, dict[str, Any]]:
    taken: dict[str, Any] = {}
    return Checkpoints(here(tmp_path)).restore(taken.update, taken.clear), taken


def test_the_last_two_stay_and_are_named_by_their_hash(tmp_path: Path) -> None:
    left = numbered(tmp_path, 5)
    for path, number in zip(left, (4, 5), strict=True):
        assert path.name == f"{number:06d}-{hashlib.sha256(path.read_bytes()).hexdigest()}.pt"
        assert torch.load(path, weights_only=True)["number"] == number


def test_the_last_one_is_restored(tmp_path: Path) -> None:
    assert restored(tmp_path) == (Restored(False), {})
    numbered(tmp_path, 3)
    result, taken = restored(tmp_path)
    assert result == Restored(True)
    assert taken["number"] == 3
    assert torch.equal(taken["weights"], torch.full((1000,), 3.0))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_passed_over_for_the_one_before(tmp_path: Path, damage: str) -> None:
    _, last = numbered(tmp_path, 2)
    last.write_bytes(DAMAGES[damage](last.read_bytes()))
    result, taken = restored(tmp_path)
    assert result.found
    assert taken["number"] == 1
    assert result.problem == "checkpoint 2 cannot be used (it was cut short or altered: its SHA-256 is another)"


def test_when_none_is_good_each_is_named(tmp_path: Path) -> None:
    for path in numbered(tmp_path, 2):
        path.write_bytes(b"")
    result, taken = restored(tmp_path)
    assert (result.found, taken) == (False, {})
    assert "checkpoint 2 cannot be used" in result.problem
    assert "checkpoint 1 cannot be used" in result.problem
    assert "\n" not in result.problem


def test_a_good_one_is_never_removed_in_favour_of_a_damaged_one(tmp_path: Path) -> None:
    numbered(tmp_path, 2)[1].write_bytes(b"")
    checkpoints = Checkpoints(here(tmp_path))
    checkpoints.restore(lambda state: None, lambda: None)
    checkpoints.save({"number": 9})
    assert [name[:6] for name in files(tmp_path)] == ["000001", "000003"]


def test_what_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    numbered(tmp_path, 2)
    (tmp_path / "checkpoints" / "000009-notes.txt").write_text("mine")
    assert restored(tmp_path)[1]["number"] == 2
    numbered(tmp_path, 3)
    assert "000009-notes.txt" in files(tmp_path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    mark, trap = tmp_path / "executed", tmp_path / "trap.pt"
    torch.save({"number": Touch(mark)}, trap)
    digest = hashlib.sha256(trap.read_bytes()).hexdigest()
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(trap, tmp_path / "checkpoints" / f"000001-{digest}.pt")
    result, taken = restored(tmp_path)
    assert (result.found, taken) == (False, {})
    assert not mark.exists()
    torch.load(trap, weights_only=False)  # the trap works
    assert mark.exists()


def test_a_storage_that_does_not_answer_is_no_reason_to_begin_anew(s3: str) -> None:
    from pyarrow import fs

    filesystem = Faulty(fs.S3FileSystem(endpoint_override=s3))
    storage = Storage(f"s3://{BUCKET}/silent", attempts=2, sleep=lambda seconds: None, filesystem=filesystem)
    Checkpoints(storage).save({"number": 1})
    filesystem.faults = [None, *[OSError("AWS Error NETWORK_CONNECTION")] * 9]  # listed, but not read
    with pytest.raises(UserError, match="cannot read checkpoints/000001"):
        Checkpoints(storage).restore(lambda state: None, lambda: None)


def test_a_full_disk_is_one_line_and_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        checkpoints = Checkpoints(here(tmp_path))
        checkpoints.save({"number": 1})
        with pytest.raises(UserError, match=r"cannot write .*: no space left; free some") as caught:
            checkpoints.save({"number": 2, "weights": torch.zeros(2**20)})
        assert "\n" not in str(caught.value)
        assert restored(tmp_path)[1]["number"] == 1
        checkpoints.save({"number": 3})
        assert restored(tmp_path)[1]["number"] == 3
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_results_are_read_back_and_a_damaged_line_spoils_no_other(tmp_path: Path) -> None:
    storage = here(tmp_path)
    assert read_results(storage) == []
    results = [{"kimg": 1, "distance": 0.1}, {"kimg": 2, "distance": 1 / 3, "pictures": ["a.png"]}]
    write_results(storage, results)
    assert read_results(storage) == results
    assert [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()] == results
    (tmp_path / "results.jsonl").write_bytes(b'{"kimg": 1}\n{"kimg": 2, "dist\n\xff\n[3]\n{"kimg": 3}\n')
    assert read_results(storage) == [{"kimg": 1}, {"kimg": 3}]
