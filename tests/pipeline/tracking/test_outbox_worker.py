"""Order, attempts and waits of the sender, with the other side played by the test."""

from __future__ import annotations

import errno
import json
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.tracking import outbox
from pipeline.tracking.outbox import REFUSED, Outbox
from pipeline.tracking.outbox_worker import OutboxWorker
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Crash(BaseException):
    """The process ends here."""


class Server:
    """Takes operations; raises what ``faults`` holds first."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.faults: list[BaseException] = []
        self.down: Exception | None = None

    def __call__(self, operation: dict[str, Any]) -> None:
        if self.down is not None:
            raise self.down
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(operation["key"])


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def sender(tmp_path: Path, server: Server, said: list[str]) -> Callable[..., OutboxWorker]:
    def make(**options: Any) -> OutboxWorker:
        return OutboxWorker(
            Outbox(tmp_path), server, lambda e: isinstance(e, ValueError), "http://there", said.append, **options
        )

    return make


def put(sender: OutboxWorker, *keys: str) -> None:
    for key in keys:
        sender.put({"do": "metrics", "key": key})


def test_put_sends_nothing_in_the_calling_thread(sender: Callable[..., OutboxWorker], server: Server) -> None:
    put(sender(), "a", "b")
    assert server.taken == []


def test_waits_double_to_a_minute_and_restart_after_a_success(
    sender: Callable[..., OutboxWorker], server: Server, said: list[str], tmp_path: Path
) -> None:
    one = sender()
    put(one, "a", "b")
    server.faults = [OSError("gone\nfor good")] * 9
    assert [one.step() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert said == [
        f"tracking: http://there does not answer (gone); training goes on, results wait in {tmp_path}"
    ]  # once, not nine times
    assert one.step() == 0
    assert said[1:] == ["tracking: http://there answers again"]
    server.faults = [OSError("gone")]
    assert [one.step(), one.step()] == [1, 0]
    assert server.taken == ["a", "b"]


def test_thousands_of_failures_are_a_minute_each(sender: Callable[..., OutboxWorker], server: Server) -> None:
    one = sender()
    put(one, "a")
    server.down = OSError("gone")
    assert [one.step() for _ in range(3000)][-1] == 60


def test_a_permanent_error_is_reported_once_recorded_and_does_not_block(
    sender: Callable[..., OutboxWorker], server: Server, said: list[str], tmp_path: Path
) -> None:
    one = sender()
    put(one, "a", "b", "c")
    server.faults = [ValueError("too long"), ValueError("too long")]
    assert [one.step() for _ in range(3)] == [0, 0, 0]
    assert server.taken == ["c"]
    assert said == ["tracking: metrics of a cannot be sent to http://there: too long"]
    one.finish()
    assert said[1:] == [f"tracking: 2 writes could not be sent at all; {tmp_path / REFUSED} keeps them"]
    kept = [json.loads(line) for line in (tmp_path / REFUSED).read_text().splitlines()]
    assert [(line["key"], line["reason"]) for line in kept] == [("a", "too long"), ("b", "too long")]


def test_the_thread_sends_all_in_order_whatever_fails_in_between(
    sender: Callable[..., OutboxWorker], server: Server
) -> None:
    waits: list[float] = []
    one = sender(wait=waits.append)
    keys = [f"{number}" for number in range(40)]
    server.faults = [OSError("gone")] * 3
    one.start()
    put(one, *keys)
    one.finish()
    assert server.taken == keys
    assert waits == [1, 2, 4]
    assert len(one.spool) == 0


def test_what_cannot_be_sent_at_the_end_stays_for_the_next_start(
    sender: Callable[..., OutboxWorker], server: Server, said: list[str], tmp_path: Path
) -> None:
    one = sender()
    one.patience = 0.05
    server.down = OSError("gone")
    one.start()
    put(one, "a", "b")
    one.finish()
    assert one._thread is not None
    one._thread.join(600)
    assert server.taken == []
    assert said[-1] == (
        f"tracking: 2 writes wait for http://there; they stay in {tmp_path} and are sent by the next `gansweep resume`"
    )
    server.down = None
    two = sender()
    two.flush()
    assert said[-1] == "tracking: sending 2 writes of an earlier start to http://there"
    assert server.taken == ["a", "b"]


@pytest.mark.parametrize("space_at_the_end", [True, False])
def test_what_a_full_disk_did_not_take_is_written_at_the_end_or_named(
    sender: Callable[..., OutboxWorker], server: Server, said: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, space_at_the_end: bool,
) -> None:  # fmt: skip
    one = sender()
    one.patience = 0.05
    server.down = OSError("gone")
    put(one, "a")

    def refuse(*given: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(one.spool, "_file", SimpleNamespace(fileno=one.spool._file.fileno, write=refuse, truncate=refuse))
        put(one, "b")
    if not space_at_the_end:
        monkeypatch.setattr(outbox, "atomic_write", refuse)
    one.finish()
    monkeypatch.undo()
    waiting = [operation["key"] for operation in Outbox(tmp_path).waiting(9)]
    if space_at_the_end:
        assert waiting == ["a", "b"]
        assert f"2 writes wait for http://there; they stay in {tmp_path}" in said[-1]
        return
    assert waiting == ["a"]
    assert f"2 writes wait for http://there and cannot be written to {tmp_path}" in said[-1]


def test_the_end_does_not_wait_out_the_pause_between_attempts(
    sender: Callable[..., OutboxWorker], server: Server
) -> None:
    one, paused = sender(), threading.Event()
    hurried = one._wait

    def pause(seconds: float) -> None:
        paused.set()
        hurried(3600)

    one._wait = pause
    server.faults = [OSError("gone")]
    one.start()
    put(one, "a")
    assert paused.wait(600)
    one.finish()
    assert server.taken == ["a"]


def test_finish_reports_progress(sender: Callable[..., OutboxWorker], server: Server, said: list[str]) -> None:
    ticks = iter(range(0, 10_000, 6))
    one = sender(clock=lambda: next(ticks))
    put(one, *"abcd")
    one.spool.shrinks = lambda size, timeout: one.step() == 0  # type: ignore[method-assign] # one at a time
    one.finish()
    assert said == ["tracking: 2 writes wait for http://there"]
    assert server.taken == list("abcd")


def test_ctrl_c_at_the_end_leaves_the_rest_in_the_spool(
    sender: Callable[..., OutboxWorker], server: Server, said: list[str]
) -> None:
    one = sender()
    put(one, "a")

    def interrupted(size: int, timeout: float) -> bool:
        raise KeyboardInterrupt

    one.spool.shrinks = interrupted  # type: ignore[method-assign]
    one.finish()
    assert "1 write wait" in said[-1]


def test_an_earlier_start_is_replayed_here_and_now_or_is_an_error(
    sender: Callable[..., OutboxWorker], server: Server
) -> None:
    put(sender(), "a", "b", "c")
    server.faults = [ValueError("bad"), OSError("gone")]
    with pytest.raises(UserError, match=r"http://there does not take 2 writes of an earlier start \(gone\); they stay"):
        sender().flush()
    sender().flush()
    assert server.taken == ["b", "c"]


def test_a_process_that_dies_between_doing_and_marking_repeats_that_one_alone(
    sender: Callable[..., OutboxWorker], server: Server
) -> None:
    put(sender(), "a", "b", "c")
    died = 0
    while True:
        one = sender()
        mark = one.spool.mark

        def dying(mark: Callable[[], None] = mark, taken: int = len(server.taken)) -> None:
            if len(server.taken) > taken and len(server.taken) % 2:
                raise Crash
            mark()

        one.spool.mark = dying  # type: ignore[method-assign, assignment]
        try:
            one.flush()
            break
        except Crash:
            died += 1
    assert died == 3
    assert server.taken == ["a", "a", "b", "b", "c", "c"]


def test_notices_of_the_outbox_are_printed(
    sender: Callable[..., OutboxWorker], said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "operations.jsonl").write_text('{"num')
    sender()
    assert said == [f"tracking: 1 damaged line in {tmp_path}/operations.jsonl (a power cut?): not sent"]


# ---- many at once ----


class Bulk:
    """Takes many at once, unless one of them is bad."""

    def __init__(self, server: Server) -> None:
        self.server, self.sizes = server, []  # type: ignore[var-annotated]

    def __call__(self, operations: list[dict[str, Any]]) -> None:
        self.sizes.append(len(operations))
        for operation in operations:
            if operation["key"].startswith("bad"):
                raise ValueError("bad")
            self.server(operation)


def test_those_that_wait_are_sent_together(sender: Callable[..., OutboxWorker], server: Server) -> None:
    bulk = Bulk(server)
    one = sender(write_batch=bulk)
    put(one, *"abc")
    assert one.step() == 0
    assert (server.taken, bulk.sizes, len(one.spool)) == (["a", "b", "c"], [3], 0)
    put(one, "d")
    one.step()
    assert (server.taken, bulk.sizes) == (list("abcd"), [3])


def test_the_one_that_fails_among_many_is_refused_alone(
    sender: Callable[..., OutboxWorker], server: Server, said: list[str], tmp_path: Path
) -> None:
    bulk = Bulk(server)
    one = sender(write_batch=bulk)

    def judged(operation: dict[str, Any]) -> None:
        if operation["key"] == "bad":
            raise ValueError("bad")
        server(operation)

    one._write = judged
    put(one, "a", "bad", "c")
    while len(one.spool):
        assert one.step() == 0
    assert server.taken == ["a", "a", "c"]  # twice, which does no harm
    assert said == ["tracking: metrics of bad cannot be sent to http://there: bad"]
    put(one, *"de")
    one.step()
    assert bulk.sizes == [3, 2]  # together again


def test_an_unreachable_server_gets_one_request_per_attempt(
    sender: Callable[..., OutboxWorker], server: Server, said: list[str]
) -> None:
    bulk = Bulk(server)
    one = sender(write_batch=bulk)
    put(one, *"abc")
    server.down = OSError("gone")
    assert [one.step() for _ in range(4)] == [1, 2, 4, 8]
    assert bulk.sizes == [3]
    server.down = None
    while len(one.spool):
        assert one.step() == 0
    assert server.taken == list("abc")
    assert said[1:] == ["tracking: http://there answers again"]


def test_the_thread_delivers_all_of_many_operations(sender: Callable[..., OutboxWorker], server: Server) -> None:
    one = sender(write_batch=Bulk(server))
    one.start()
    keys = [f"{number}" for number in range(700)]
    put(one, *keys)
    one.finish()
    assert server.taken == keys
