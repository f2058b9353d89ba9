"""The thread that carries out what the spool holds, however often the other side goes away."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from pipeline.spool import REFUSED
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.spool import Spool

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds between attempts double from the first to the longest."""
PATIENCE = 60.0
"""Seconds without one success after which the end of a sweep waits no longer."""
SAY_EVERY = 10.0
"""Seconds between two lines while the end of a sweep waits."""
MANY = 100
"""Operations that are carried out together at the most; few enough for a slow server within ``PATIENCE``."""
GATHER = 0.5
"""Seconds in which more may come before those that wait are sent."""
CLOSE_WITHIN = 2.0
"""Seconds for a request under way to end; what is not marked by then is repeated by the next driver."""


class Sender:
    """Carries out operations in their order, each until it succeeds or is refused for good.

    Args:
        spool: the operations.
        carry_out: carries out one; doing it twice must do no harm.
        lasts: whether an error would come again, however often one tries.
        place: what the operations are sent to, as it may be shown.
        say: tells the user one line.
        wait: waits so many seconds between attempts; default: until the end of the sweep at most.
        clock: seconds from any start.
        together: carries out many at once, with the same effect as one after the other; default: one after the other.
    """

    def __init__(
        self,
        spool: Spool,
        carry_out: Callable[[dict[str, Any]], None],
        lasts: Callable[[Exception], bool],
        place: str,
        say: Callable[[str], None],
        wait: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        together: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> None:
        self.spool, self.place = spool, place
        self.refused, self.patience = 0, PATIENCE
        self._carry_out, self._lasts, self._say, self._clock = carry_out, lasts, say, clock
        self._work, self._hurry, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._wait = wait or self._wait_unless_hurried
        self._together, self._alone = together, 0
        """How many are to be carried out one by one: there is one among them that fails."""
        self._failures = 0
        self._reasons: set[str] = set()
        self._thread: threading.Thread | None = None
        self._tell_notice()

    def start(self) -> None:
        """Begin to send in the background."""
        self._thread = threading.Thread(target=self._run, name="gansweep-tracking", daemon=True)
        self._thread.start()

    def put(self, *operations: dict[str, Any], sync: bool = False) -> None:
        """Have operations carried out after all that wait; from now on they outlast the process.

        Args:
            sync: and a power cut too.
        """
        self.spool.append(*operations)
        if sync:
            self.spool.sync()
        self._tell_notice()
        self._work.set()

    def flush(self) -> None:
        """Carry out here and now what an earlier driver left.

        Raises:
            UserError: an error that may pass; the operations stay.
        """
        if len(self.spool):
            self._say(f"tracking: sending {_writes(len(self.spool))} of an earlier start to {self.place}")
        while (operation := self.spool.first()) is not None:
            error = self._attempt(operation)
            if error is not None:
                raise UserError(
                    f"{self.place} does not take {_writes(len(self.spool))} of an earlier start "
                    f"({first_line(error)}); they stay in {self.spool.folder}, start again when it answers"
                ) from error

    def step(self) -> float:
        """Try those that wait together once, or the first operation where that fails.

        Returns:
            Seconds to wait before the next attempt: 0 when it was done or refused for good, or there is none.
        """
        error = self._attempt_together()
        if error is None and not self._alone and not len(self.spool):
            self._answered()
            return 0.0
        operation = self.spool.first() if error is None else None
        if operation is not None:
            error = self._attempt(operation)
        if error is None:
            if operation is not None:
                self._alone = max(0, self._alone - 1)
                self._answered()
            return 0.0
        if not self._failures:
            self._say(
                f"tracking: {self.place} does not answer ({first_line(error)}); training goes on, results wait in "
                f"{self.spool.folder}"
            )
        self._failures += 1
        return float(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._failures - 1, 30)))

    def _attempt_together(self) -> Exception | None:
        """Try those that wait, if there are several; returns an error that may pass."""
        operations = self.spool.waiting(MANY) if self._together is not None and not self._alone else []
        if self._together is None or len(operations) < 2:
            return None
        try:
            self._together(operations)
        except Exception as error:  # whose fault it is comes out one by one
            self._alone = len(operations)
            return None if self._lasts(error) else error
        self.spool.mark(len(operations))
        return None

    def _answered(self) -> None:
        if self._failures:
            self._failures = 0
            self._say(f"tracking: {self.place} answers again")

    def finish(self) -> None:
        """Wait until all is sent, or until nothing could be sent for ``patience`` seconds, and say what is left."""
        self._hurry.set()
        with contextlib.suppress(KeyboardInterrupt):  # who is in a hurry finds the rest in the spool
            self._drain()
        self.close()
        if len(self.spool):
            self._say(
                f"tracking: {_writes(len(self.spool))} wait for {self.place}; they stay in {self.spool.folder} and "
                "are sent by the next `gansweep resume`"
            )
        if self.refused:
            self._say(
                f"tracking: {_writes(self.refused)} could not be sent at all; {self.spool.folder / REFUSED} keeps them"
            )

    def close(self) -> None:
        """Stop sending; what is left stays on the disk."""
        self._closing.set()
        self._hurry.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN if len(self.spool) else None)  # where nothing is left, none is under way
        if self._thread is None or not self._thread.is_alive():
            self.spool.close()

    def _drain(self) -> None:
        told, idle = self._clock(), 0.0
        while left := len(self.spool):
            once = min(SAY_EVERY, self.patience)
            idle = 0.0 if self.spool.shrinks(left, once) else idle + once
            if idle >= self.patience:
                return
            if len(self.spool) and self._clock() - told >= SAY_EVERY:
                told = self._clock()
                self._say(f"tracking: {_writes(len(self.spool))} wait for {self.place}")

    def _run(self) -> None:
        while not self._closing.is_set():
            pause = self.step()
            if pause:
                self._wait(pause)
            elif not len(self.spool):
                self._work.wait()
                self._work.clear()
                if self._together is not None:
                    self.spool.sync()
                    self._hurry.wait(GATHER)

    def _attempt(self, operation: dict[str, Any]) -> Exception | None:
        """Try an operation; returns an error that may pass."""
        try:
            self._carry_out(operation)
        except Exception as error:  # MLflow, its databases and its artifact stores have errors of their own each
            if not self._lasts(error):
                return error
            self._refuse(operation, first_line(error))
        else:
            self.spool.mark()
        return None

    def _refuse(self, operation: dict[str, Any], reason: str) -> None:
        self.spool.refuse(reason)
        self.refused += 1
        if reason not in self._reasons:  # one line for a reason, not for each of a thousand results
            self._reasons.add(reason)
            self._say(f"tracking: {operation['do']} of {operation['key']} cannot be sent to {self.place}: {reason}")
        self._tell_notice()

    def _wait_unless_hurried(self, seconds: float) -> None:
        if self._hurry.wait(seconds):
            self._hurry.clear()
            self._failures = 1  # what was said stays said, but the waits begin anew

    def _tell_notice(self) -> None:
        notice, self.spool.notice = self.spool.notice, ""
        if notice and notice not in self._reasons:
            self._reasons.add(notice)
            self._say(f"tracking: {notice}")


def _writes(count: int) -> str:
    return f"{count} write{'s' * (count != 1)}"
