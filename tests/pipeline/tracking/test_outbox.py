"""What is on the disk, after each way in which a process can end."""

from __future__ import annotations

import errno
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.tracking import outbox as module
from pipeline.tracking.outbox import DONE, OPERATIONS, REFUSED, Outbox
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


def rest(spool: Outbox) -> list[Any]:
    """What the spool gives out, to its end."""
    found = []
    while (operation := spool.first()) is not None:
        found.append(operation["say"])
        spool.mark()
    return found


def fill(folder: Path, *words: str) -> Outbox:
    spool = Outbox(folder)
    for word in words:
        spool.append({"say": word})
    return spool


def test_operations_are_first_in_first_out(tmp_path: Path) -> None:
    spool = fill(tmp_path / "spool", "a", "b", "c")
    assert len(spool) == 3
    assert rest(spool) == ["a", "b", "c"]
    assert spool.first() is None
    spool.close()
    assert not (tmp_path / "spool").exists()


def test_an_operation_is_on_the_disk_before_append_returns(tmp_path: Path) -> None:
    fill(tmp_path, "ä", "b")
    lines = (tmp_path / OPERATIONS).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"number": 1, "say": "ä"}, {"number": 2, "say": "b"}]


def test_another_process_finds_what_is_not_marked_in_order(tmp_path: Path) -> None:
    spool = fill(tmp_path, "a", "b", "c")
    spool.mark()
    again = Outbox(tmp_path)  # the first was never closed: its process was killed
    assert again.notice == ""
    again.append({"say": "d"})
    assert rest(Outbox(tmp_path)) == ["b", "c", "d"]


def test_numbers_grow_across_processes(tmp_path: Path) -> None:
    rest(fill(tmp_path, "a", "b", "c"))
    fill(tmp_path, "d")
    assert rest(Outbox(tmp_path)) == ["d"]


def test_a_lost_mark_repeats_an_operation(tmp_path: Path) -> None:
    spool = fill(tmp_path, "a", "b", "c")
    spool.mark()
    spool.mark()
    (tmp_path / DONE).write_text("0\n1\n")
    assert rest(Outbox(tmp_path)) == ["b", "c"]


@pytest.mark.parametrize("cut", [1, 5, 15])
def test_a_last_line_cut_by_a_power_cut_is_named_and_the_others_stay(tmp_path: Path, cut: int) -> None:
    fill(tmp_path, "a", "b", "c")
    file = tmp_path / OPERATIONS
    file.write_bytes(file.read_bytes()[: -1 - cut])
    spool = Outbox(tmp_path)
    assert spool.notice == f"1 damaged line in {file} (a power cut?): not sent"
    spool.append({"say": "d"})
    again = Outbox(tmp_path)
    assert again.notice == ""
    assert rest(again) == ["a", "b", "d"]


@pytest.mark.parametrize("line", [b"\xff\x00\x00", b"[1]", b"7", b'{"say": "x"}', b'{"number": "x"}', b"null"])
def test_invalid_lines_are_named(tmp_path: Path, line: bytes) -> None:
    fill(tmp_path, "a")
    with (tmp_path / OPERATIONS).open("ab") as file:
        file.write(line + b"\n" + line + b"\n")
    spool = Outbox(tmp_path)
    assert "2 damaged lines" in spool.notice
    assert rest(spool) == ["a"]


def test_a_damaged_mark_is_passed_over(tmp_path: Path) -> None:
    spool = fill(tmp_path, "a", "b")
    spool.mark()
    with (tmp_path / DONE).open("ab") as file:
        file.write(b"\xffrubbish\n")
    assert rest(Outbox(tmp_path)) == ["b"]


def test_what_is_refused_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    spool = fill(tmp_path, "a", "b")
    spool.refuse("too long")
    assert rest(spool) == ["b"]
    spool.close()
    assert [path.name for path in tmp_path.iterdir()] == [REFUSED]
    assert json.loads((tmp_path / REFUSED).read_text()) == {"reason": "too long", "say": "a"}


def test_a_disk_that_is_full_costs_no_operation_of_this_process_and_spoils_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = fill(tmp_path, "a")

    class Full:
        """Takes half of what it is given."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def write(self, line: bytes) -> int:
            return int(self.inner.write(line[: len(line) // 2]))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    real = spool._file
    monkeypatch.setattr(spool, "_file", Full(real))
    spool.append({"say": "b"})
    assert spool.notice == f"cannot write to {tmp_path} (no space left): what waits is in memory alone"
    monkeypatch.setattr(spool, "_file", real)
    spool.append({"say": "c"})
    again = Outbox(tmp_path)
    assert again.notice == ""
    assert rest(again) == ["a", "c"]
    assert rest(spool) == ["a", "b", "c"]


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_BYTES", 100)
    spool = Outbox(tmp_path)
    for number in range(50):
        spool.append({"say": f"{number}"})
        if number % 2:
            spool.mark()
            spool.mark()
    assert (tmp_path / OPERATIONS).stat().st_size < 200
    spool.append({"say": "last"})
    assert rest(Outbox(tmp_path)) == ["last"]


def test_waiting_for_it_to_shrink(tmp_path: Path) -> None:
    spool = fill(tmp_path, "a", "b")
    assert not spool.shrinks(2, timeout=0)
    thread = threading.Thread(target=spool.mark)
    thread.start()
    assert spool.shrinks(2, timeout=600)
    thread.join()
    assert len(spool) == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot use the spool .*/file/spool: Not a directory; give another --home"):
        Outbox(tmp_path / "file" / "spool")


def test_delivered_and_synced_operations_survive_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, durable = Outbox(tmp_path), [0]
    path = tmp_path / OPERATIONS
    monkeypatch.setattr(os, "fsync", lambda number: durable.append(path.stat().st_size))
    spool.append({"say": "a"}, {"say": "b"}, {"say": "c"})
    spool.append({"say": "d"})
    assert durable == [0]  # who appends does not wait for the disk
    assert [operation["say"] for operation in spool.waiting(3)] == ["a", "b", "c"]
    assert durable == [0, path.stat().st_size]
    spool.first()
    assert len(durable) == 2  # there was nothing new
    spool.append({"say": "e"})
    spool.sync()
    assert durable[2:] == [path.stat().st_size]
    spool.append({"say": "f"})
    spool.close()
    assert len(durable) == 4


def test_several_are_done_at_once(tmp_path: Path) -> None:
    spool = fill(tmp_path, *"abcde")
    spool.mark(3)
    assert rest(Outbox(tmp_path)) == ["d", "e"]
    spool.mark(2)
    assert (len(spool), spool.first()) == (0, None)


def test_a_disk_that_does_not_sync_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(number: int) -> None:
        raise OSError(5, "Input/output error")

    spool = fill(tmp_path, "a")
    monkeypatch.setattr(os, "fsync", broken)
    assert spool.waiting(9) == [{"say": "a"}]
    assert spool.notice.startswith(f"cannot write to {tmp_path} (")
    assert spool.notice.endswith("what waits is in memory alone")


@pytest.mark.parametrize("was_sent", [True, False])
def test_what_a_full_disk_did_not_sync_is_not_stored_until_it_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_sent: bool
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = fill(tmp_path, "a", "b")
    file = spool._file
    assert file is not None
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        if was_sent:
            assert spool.first() == {"say": "a"}
            spool.mark()
        assert not spool.store()
        assert not file.closed
        spool.append({"say": "c"})
    file.truncate(0)  # what was never synced is lost in a power cut
    assert spool.store()
    assert file.closed
    assert rest(Outbox(tmp_path)) == (["b", "c"] if was_sent else ["a", "b", "c"])
