"""The scoring of a sweep as a future: ready, or prepared by another process while the first trials train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from typing import IO, TYPE_CHECKING, Any

from pipeline.cluster.memory_probe import child_environment
from pipeline.console import show_stage, with_elapsed
from pipeline.signals import termination_blocked
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

    from pipeline.sweep.scoring import Scoring


class ScoringTask:
    """Holds the scoring, or waits for the process that prepares it in the cache.

    The process has its own random numbers, so that the same seeds give the same tag classifier whatever the sweep
    does meanwhile. It is not in the terminal's process group: Ctrl-C lets trials end their step, which may need it.
    """

    def __init__(self) -> None:
        self.future: Future[Scoring] = Future()
        self.listen: Callable[[], None] = lambda: None
        """Called at each new line of progress, from a thread."""
        self._progress = ""
        self._began = time.monotonic()
        self.seconds = 0.0
        """Seconds from the start until the scoring was there."""
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def of(cls, scoring: Scoring) -> ScoringTask:
        """Return a task that is done."""
        task = cls()
        task.future.set_result(scoring)
        return task

    @classmethod
    def start(cls, request: Mapping[str, Any], read: Callable[[], Scoring]) -> ScoringTask:
        """Start the process.

        Args:
            request: for ``scoring_process``.
            read: reads the scoring from the cache, once the process has ended.
        """
        task = cls()
        with tempfile.TemporaryFile("w+") as given:
            json.dump({**request, "driver": os.getpid()}, given)
            given.seek(0)
            errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the thread closes it
            # SIGTERM to all processes of the command interrupts the sweep, which then ends this process, too.
            with termination_blocked():
                task._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "pipeline.sweep.scoring_process"], stdin=given, stdout=subprocess.PIPE,
                    stderr=errors, text=True, start_new_session=True,
                    # Threads that spin while they wait would take the trials' cores.
                    env={**child_environment(), "OMP_WAIT_POLICY": "passive"},
                )  # fmt: skip
        threading.Thread(target=task._follow, args=(errors, read), name="gansweep-scoring", daemon=True).start()
        return task

    @property
    def ready(self) -> bool:
        """Whether the scoring is there."""
        return self.future.done() and self.future.exception() is None

    def progress(self) -> str:
        """Return the latest line of progress; empty once the scoring is there."""
        return with_elapsed(self._progress, self._began) if self._progress and not self.future.done() else ""

    def raise_failure(self) -> None:
        """Raise the error for which there is no scoring, if there is one."""
        if self.future.done():
            self.future.result()

    def wait(self, console: Console) -> None:
        """Wait until the scoring is there, and show the progress of the process.

        Raises:
            UserError: it cannot be prepared.
        """
        try:
            with show_stage(console, "tag classifier and reference of real images") as update:
                self.listen = lambda: update(self._progress)
                self.future.result()
        finally:
            self.close()

    def close(self) -> None:
        """End the process, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _follow(self, errors: IO[str], read: Callable[[], Scoring]) -> None:
        """Pass on the lines of the process, and read the scoring when it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            with errors, self._process.stdout:
                for line in self._process.stdout:
                    self._progress = line.strip()
                    self.listen()
                if code := self._process.wait():
                    errors.seek(0)
                    reason = (errors.read().strip().splitlines() or [f"its process ended with {code}"])[-1]
                    raise UserError(f"cannot prepare the scores of trials: {reason}; `gansweep resume` tries again")
            scoring, self.seconds = read(), time.monotonic() - self._began
            self.future.set_result(scoring)
        except BaseException as error:  # whoever waits raises it
            self.future.set_exception(error)
