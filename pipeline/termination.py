"""SIGTERM, by which service managers and batch systems end a process, ends a command as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class Termination:
    """While it is entered, SIGTERM does what Ctrl-C would do at that moment.

    Python takes signals in the main thread alone: elsewhere it changes nothing.
    """

    def __init__(self) -> None:
        self.received = False
        """Whether there was a SIGTERM."""

    def __enter__(self) -> Self:
        self._before = signal.getsignal(signal.SIGTERM)
        self.listen()
        return self

    def __exit__(self, *exception: object) -> None:
        if _in_main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._before is None else self._before)

    def listen(self) -> None:
        """Take the signal, also from a library that has put a handler of its own in place."""
        if _in_main_thread():
            signal.signal(signal.SIGTERM, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal. In a process started in the background Ctrl-C is ignored; this is not."""
        self.received = True
        ctrl_c = signal.getsignal(signal.SIGINT)
        (ctrl_c if callable(ctrl_c) else signal.default_int_handler)(signal.SIGINT, frame)


@contextlib.contextmanager
def ctrl_c_given_back() -> Iterator[None]:
    """Put the handler of Ctrl-C back: Ray Tune leaves its own behind, to which the next one would be lost."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if _in_main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
