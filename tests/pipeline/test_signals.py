"""SIGTERM: its effect on a command, whichever library handles the signal too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import ray

from pipeline.cli.main import main
from pipeline.cluster.ray_runtime import local_ray
from pipeline.signals import EXIT_CODE, Termination, restore_ctrl_c
from tests.support.pipeline.command_line import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.real_processes


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As in a process that begins, and afterwards as they were, also after a test that fails."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_interrupts_and_restores_the_handler() -> None:
    def own(*_: object) -> None:
        pass

    for before in (signal.SIG_DFL, signal.SIG_IGN, own):
        signal.signal(signal.SIGTERM, before)
        with pytest.raises(KeyboardInterrupt), Termination() as termination:
            os.kill(os.getpid(), signal.SIGTERM)
        assert termination.received
        assert signal.getsignal(signal.SIGTERM) == before


def test_it_does_what_ctrl_c_would_do_at_that_moment() -> None:
    seen: list[int] = []
    with Termination() as termination:
        signal.signal(signal.SIGINT, lambda number, _: seen.append(number))  # as Ray Tune does while it runs
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGINT]
        assert termination.received


def test_it_works_where_ctrl_c_is_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for a command in the background
    with pytest.raises(KeyboardInterrupt), Termination():
        os.kill(os.getpid(), signal.SIGTERM)


def test_ctrl_c_is_given_back() -> None:
    with restore_ctrl_c():
        signal.signal(signal.SIGINT, lambda *_: None)  # as Ray Tune does, for good
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_nothing_changes() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def enter() -> None:
        with Termination():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_ends_with_143_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminated(options: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal came to nothing")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("pipeline.cli.commands.spaces", terminated)
    assert main(["spaces"]) == EXIT_CODE == 143
    assert capsys.readouterr().err == "gansweep: error: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_that_completes_keeps_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def finishes(options: object) -> int:
        signal.signal(signal.SIGINT, lambda *_: None)
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setattr("pipeline.cli.commands.spaces", finishes)
    assert main(["spaces"]) == 0


class StubRay:
    """Takes SIGTERM as Ray does, and may be hit by one while it starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, hit: bool = False) -> None:
        self.hit, self.ended = hit, 0
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", self.init)
        monkeypatch.setattr(ray, "shutdown", self.shutdown)
        monkeypatch.setattr("pipeline.cluster.ray_runtime._end_helpers", lambda: None)  # those of the session's Ray

    def init(self, **options: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if self.hit:
            os.kill(os.getpid(), signal.SIGTERM)

    def shutdown(self) -> None:
        self.ended += 1


def test_rays_own_handler_is_replaced_and_its_processes_start_with_the_signal_blocked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stub = StubRay(monkeypatch)
    with Termination() as termination:
        with pytest.raises(KeyboardInterrupt), local_ray(tmp_path, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        assert termination.received
        assert stub.ended == 1
    assert stub.blocked == {signal.SIGTERM}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_signal_while_ray_starts_interrupts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stub = StubRay(monkeypatch, hit=True)
    with Termination() as termination:
        with pytest.raises(KeyboardInterrupt), local_ray(tmp_path, 1):
            raise AssertionError("Ray did not start")
        assert termination.received
        assert stub.ended == 1


def test_calls_from_python_keep_the_handler_of_ray(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    StubRay(monkeypatch)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with local_ray(tmp_path, 1):
        taken = signal.getsignal(signal.SIGTERM)
    assert callable(taken)
    assert not isinstance(taken, Termination)


PARENT = """
import os, subprocess, sys
child = "import os, sys, time; from pipeline.signals import end_with_parent; "
child += "end_with_parent(os.getppid(), 0.05); print(flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
sys.stdin.readline()
"""


def test_a_process_ends_with_the_parent_that_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    assert psutil.wait_procs([child], timeout=60)[0] == [child]
