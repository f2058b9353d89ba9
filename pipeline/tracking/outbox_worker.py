"""Background thread that delivers queued operations to MLflow and retries across outages."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from pipeline.tracking.outbox import REFUSED
from trainables.errors import UserError, first_line
from trainables.storage.retry import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.tracking.outbox import Outbox

BACKOFF = Backoff(first=1.0, longest=60.0)
PATIENCE = 60.0
"""Seconds without a success after which the end of a sweep stops waiting."""
SAY_EVERY = 10.0
"""Seconds between two messages while the end of a sweep waits."""
MANY = 100
"""Maximum size of a batch; small enough for a slow server to finish it within ``PATIENCE``."""
GATHER = 0.5
"""Seconds to collect further operations before a batch is sent."""
CLOSE_WITHIN = 2.0
"""Timeout for the current request to end; the next driver repeats operations that are not marked by then."""


class OutboxWorker:
    """Delivers operations in order; each is retried until it succeeds or fails permanently.

    Args:
        spool: queue of operations.
        write: delivers one operation; must be idempotent.
        is_permanent: returns whether retrying after an error cannot succeed.
        place: printable name of the destination.
        say: prints one line for the user.
        wait: waits this many seconds between attempts; default: at most until the end of the sweep.
        clock: seconds from any start.
        write_batch: delivers several operations at once, with the effect of ``write`` on each in order; default:
            operations are delivered one by one.
    """

    def __init__(
        self,
        spool: Outbox,
        write: Callable[[dict[str, Any]], None],
        is_permanent: Callable[[Exception], bool],
        place: str,
        say: Callable[[str], None],
        wait: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        write_batch: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> None:
        self.spool, self.place = spool, place
        self.refused, self.patience = 0, PATIENCE
        self._write, self._is_permanent, self._say, self._clock = write, is_permanent, say, clock
        self._work, self._hurry, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._wait = wait or self._wait_unless_hurried
        self._write_batch, self._one_by_one = write_batch, 0
        """Number of operations to deliver one by one, because a batch with them failed."""
        self._failures = 0
        self._reasons: set[str] = set()
        self._thread: threading.Thread | None = None
        self._report_notice()

    def start(self) -> None:
        """Start to deliver in the background."""
        self._thread = threading.Thread(target=self._run, name="gansweep-tracking", daemon=True)
        self._thread.start()

    def put(self, *operations: dict[str, Any], sync: bool = False) -> None:
        """Queue operations; from now on they survive the end of the process.

        Args:
            sync: also make them survive a power cut.
        """
        self.spool.append(*operations)
        if sync:
            self.spool.sync()
        self._report_notice()
        self._work.set()

    def flush(self) -> None:
        """Deliver the operations of an earlier driver in the calling thread.

        Raises:
            UserError: a transient error; the operations stay queued.
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
        """Attempt the queued operations as a batch, or the first one if a batch fails or is not possible.

        Returns:
            Seconds to wait before the next attempt; 0 if the attempt succeeded or failed permanently, or the queue is
            empty.
        """
        error = self._attempt_batch()
        if error is None and not self._one_by_one and not len(self.spool):
            self._answered()
            return 0.0
        operation = self.spool.first() if error is None else None
        if operation is not None:
            error = self._attempt(operation)
        if error is None:
            if operation is not None:
                self._one_by_one = max(0, self._one_by_one - 1)
                self._answered()
            return 0.0
        if not self._failures:
            self._say(
                f"tracking: {self.place} does not answer ({first_line(error)}); training goes on, results wait in "
                f"{self.spool.folder}"
            )
        self._failures += 1
        return BACKOFF.seconds(self._failures)

    def _attempt_batch(self) -> Exception | None:
        """Attempt the queued operations as a batch if there are several, and return a transient error."""
        operations = self.spool.waiting(MANY) if self._write_batch is not None and not self._one_by_one else []
        if self._write_batch is None or len(operations) < 2:
            return None
        try:
            self._write_batch(operations)
        except Exception as error:  # single attempts then find the operation that fails
            self._one_by_one = len(operations)
            return None if self._is_permanent(error) else error
        self.spool.mark(len(operations))
        return None

    def _answered(self) -> None:
        if self._failures:
            self._failures = 0
            self._say(f"tracking: {self.place} answers again")

    def finish(self) -> None:
        """Wait until the queue is empty or nothing was delivered for ``patience`` seconds, and report what is left."""
        self._hurry.set()
        with contextlib.suppress(KeyboardInterrupt):  # the next driver delivers the rest
            self._drain()
        stored = self.spool.store()
        self.close()
        if len(self.spool):
            self._say(
                f"tracking: {_writes(len(self.spool))} wait for {self.place}; they stay in {self.spool.folder} and "
                "are sent by the next `gansweep resume`"
                if stored
                else f"tracking: {_writes(len(self.spool))} wait for {self.place} and cannot be written to "
                f"{self.spool.folder}; `gansweep resume` restores results from the files of the trials"
            )
        if self.refused:
            self._say(
                f"tracking: {_writes(self.refused)} could not be sent at all; {self.spool.folder / REFUSED} keeps them"
            )

    def close(self) -> None:
        """Stop delivering; remaining operations stay on disk."""
        self._closing.set()
        self._hurry.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN if len(self.spool) else None)  # an empty queue has no request in progress
        if self._thread is None or not self._thread.is_alive():
            self.spool.close()

    def _drain(self) -> None:
        reported, idle = self._clock(), 0.0
        while left := len(self.spool):
            once = min(SAY_EVERY, self.patience)
            idle = 0.0 if self.spool.shrinks(left, once) else idle + once
            if idle >= self.patience:
                return
            if len(self.spool) and self._clock() - reported >= SAY_EVERY:
                reported = self._clock()
                self._say(f"tracking: {_writes(len(self.spool))} wait for {self.place}")

    def _run(self) -> None:
        while not self._closing.is_set():
            pause = self.step()
            if pause:
                self._wait(pause)
            elif not len(self.spool):
                self._work.wait()
                self._work.clear()
                if self._write_batch is not None:
                    self.spool.sync()
                    self._hurry.wait(GATHER)

    def _attempt(self, operation: dict[str, Any]) -> Exception | None:
        """Attempt an operation, and return a transient error."""
        try:
            self._write(operation)
        except Exception as error:  # MLflow, its databases and its artifact stores each raise errors of their own
            if not self._is_permanent(error):
                return error
            self._refuse(operation, first_line(error))
        else:
            self.spool.mark()
        return None

    def _refuse(self, operation: dict[str, Any], reason: str) -> None:
        self.spool.refuse(reason)
        self.refused += 1
        if reason not in self._reasons:  # one message per reason, not per result
            self._reasons.add(reason)
            self._say(f"tracking: {operation['do']} of {operation['key']} cannot be sent to {self.place}: {reason}")
        self._report_notice()

    def _wait_unless_hurried(self, seconds: float) -> None:
        if self._hurry.wait(seconds):
            self._hurry.clear()
            self._failures = 1  # messages are not repeated, but the backoff restarts

    def _report_notice(self) -> None:
        notice, self.spool.notice = self.spool.notice, ""
        if notice and notice not in self._reasons:
            self._reasons.add(notice)
            self._say(f"tracking: {notice}")


def _writes(count: int) -> str:
    return f"{count} write{'s' * (count != 1)}"
