"""Handle SIGTERM, which service managers and batch systems send, like Ctrl-C; end processes whose parent has died."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class Termination:
    """Context in which SIGTERM acts like Ctrl-C.

    Python handles signals in the main thread only; in other threads the context changes nothing.
    """

    def __init__(self) -> None:
        self.received = False
        """Whether SIGTERM was received."""

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGTERM)
        self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        if _in_main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._before is None else self._before)

    def listen(self) -> None:
        """Install this handler, also in place of one that a library has installed."""
        if _in_main_thread():
            signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal, also in a background process, which ignores Ctrl-C."""
        self.received = True
        ctrl_c = signal.getsignal(signal.SIGINT)
        (ctrl_c if callable(ctrl_c) else signal.default_int_handler)(signal.SIGINT, frame)


@contextlib.contextmanager
def restore_ctrl_c() -> Iterator[None]:
    """Restore the handler of Ctrl-C on exit: Ray Tune leaves its own, which would swallow the next one."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if _in_main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


@contextlib.contextmanager
def termination_blocked() -> Iterator[None]:
    """Block SIGTERM in this thread, and for good in the processes and threads that it starts meanwhile.

    Those must end with this process or be killed by it. A signal that comes meanwhile goes to another thread of this
    process, if there is one, or is handled after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(parent: int, seconds: float = 1.0) -> None:
    """End this process, with exit code 1, soon after the process ``parent`` that started it has ended, however it did.

    Args:
        parent: process number of the parent.
        seconds: time between two looks.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os._exit(1)

    threading.Thread(target=watch, name="gansweep-parent", daemon=True).start()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
