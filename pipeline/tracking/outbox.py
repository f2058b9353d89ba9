"""A persistent queue of operations: none is lost when the process ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Any

from trainables.errors import UserError, first_line
from trainables.storage.atomic import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS, DONE, REFUSED = "operations.jsonl", "done", "refused.jsonl"
COMPACT_BYTES = 2**20
"""Size above which the file of operations is truncated once all are done."""


class Outbox:
    """A FIFO queue on disk; an operation stays until it is marked as done.

    ``operations.jsonl`` holds one JSON object per line, numbered in ascending order; ``done`` holds the numbers of
    applied operations; ``refused.jsonl`` holds rejected operations, with the reason. Thread-safe.

    Raises:
        UserError: the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notice = ""
        """A warning for the user: damaged lines or a full disk."""
        self._changed = threading.Condition()
        self._file: IO[bytes] | None = None
        self._unsynced = self._unwritten = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._done = max((int(line) for line in _lines(folder / DONE) if line.isdigit()), default=0)
            self._waiting = self._read()
            self._number = max([self._done, *(number for number, _ in self._waiting)])
            self._begin_anew()
        except OSError as error:
            raise UserError(f"cannot use the spool {folder}: {error.strerror or error}; give another --home") from error

    def __len__(self) -> int:
        """Number of waiting operations."""
        return len(self._waiting)

    def append(self, *operations: dict[str, Any]) -> None:
        """Append operations. They survive the end of the process, unless ``notice`` reports a failure.

        They survive a power cut only after ``sync``.
        """
        with self._changed:
            numbered = list(enumerate(operations, self._number + 1))
            lines = [json.dumps({"number": number, **operation}, allow_nan=False) for number, operation in numbered]
            self._number += len(operations)
            self._write("".join(f"{line}\n" for line in lines).encode())
            self._waiting.extend(numbered)
            self._changed.notify_all()

    def first(self) -> dict[str, Any] | None:
        """Return the next operation; ``None`` if the queue is empty."""
        return next(iter(self.waiting(1)), None)

    def waiting(self, most: int) -> list[dict[str, Any]]:
        """Return the next operations, synced first so that no applied operation is lost in a power cut."""
        self.sync()
        with self._changed:
            return [operation for _, operation in itertools.islice(self._waiting, most)]

    def sync(self) -> None:
        """Flush appended operations to disk (``fsync``)."""
        with self._changed:
            file, self._unsynced = self._file if self._unsynced else None, False
        if file is None:
            return
        try:
            os.fsync(file.fileno())  # others may append meanwhile
        except (OSError, ValueError) as error:
            if file.closed:
                return
            with self._changed:
                self._unwritten = True  # a second fsync may succeed although the system has dropped the data
                self.notice = f"cannot write to {self.folder} ({first_line(error)}): what waits is in memory alone"

    def mark(self, count: int = 1) -> None:
        """Mark the first operations as done."""
        with self._changed:
            self._done = self._waiting[count - 1][0]
            with contextlib.suppress(OSError):  # if a mark is lost, the operation is repeated, which is harmless
                with (self.folder / DONE).open("a", encoding="utf-8") as file:
                    file.write(f"{self._done}\n")
                if len(self._waiting) == count and self._file is not None and _size(self._file) > COMPACT_BYTES:
                    self._file.truncate(0)
            for _ in range(count):
                self._waiting.popleft()
            self._changed.notify_all()

    def refuse(self, reason: str) -> None:
        """Move the first operation to the refused ones, with the reason."""
        with self._changed:
            line = json.dumps({"reason": reason, **self._waiting[0][1]})
            try:
                with (self.folder / REFUSED).open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")
            except OSError as error:
                self.notice = f"cannot write to {self.folder / REFUSED} ({error.strerror}): {line}"
        self.mark()

    def shrinks(self, size: int, timeout: float) -> bool:
        """Wait until fewer than ``size`` operations are left, and return whether that happened within the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._waiting) < size, timeout)

    def store(self) -> bool:
        """Return whether what waits is on the disk; try to write it again if the disk was full."""
        self.sync()
        with self._changed:
            if self._unwritten:
                with contextlib.suppress(OSError):
                    self._begin_anew()
                    self._unwritten = False
            return not self._unwritten

    def close(self) -> None:
        """Close the files, and remove empty ones."""
        with self._changed:
            if self._file is not None:
                if self._unsynced and self._waiting:
                    with contextlib.suppress(OSError):
                        os.fsync(self._file.fileno())
                self._file.close()
                self._file = None
            with contextlib.suppress(OSError):
                if not self._waiting:
                    (self.folder / OPERATIONS).unlink(missing_ok=True)
                    (self.folder / DONE).unlink(missing_ok=True)
                    self.folder.rmdir()  # fails if there are refused operations, which must stay

    def _read(self) -> deque[tuple[int, dict[str, Any]]]:
        path = self.folder / OPERATIONS
        waiting: deque[tuple[int, dict[str, Any]]] = deque()
        damaged = 0
        for line in _lines(path):
            try:
                operation = json.loads(line)
                number = int(operation.pop("number"))
            except (ValueError, TypeError, KeyError, AttributeError):
                damaged += 1
                continue
            if number > self._done:
                waiting.append((number, operation))
        if damaged:
            self.notice = f"{damaged} damaged line{'s' * (damaged > 1)} in {path} (a power cut?): not sent"
        return waiting

    def _begin_anew(self) -> None:
        """Keep only waiting operations. Marks are deleted last: without the operations they have no meaning."""
        path = self.folder / OPERATIONS
        with atomic_write(path) as partial, partial.open("wb") as file:
            for number, operation in self._waiting:
                file.write(f"{json.dumps({'number': number, **operation})}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        with atomic_write(self.folder / DONE) as partial:
            partial.write_text(f"{self._done}\n", encoding="utf-8")
        earlier = self._file
        self._file = path.open("ab", buffering=0)
        if earlier is not None:
            earlier.close()
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # otherwise a power cut could remove the file itself
        finally:
            os.close(folder)

    def _write(self, lines: bytes) -> None:
        assert self._file is not None, "the spool is closed"
        size = _size(self._file)
        try:
            if self._file.write(lines) != len(lines):
                raise OSError("no space left")
            self._unsynced = True
        except OSError as error:
            self._unwritten = True
            with contextlib.suppress(OSError):
                self._file.truncate(size)  # an incomplete line would corrupt the next one
            self.notice = f"cannot write to {self.folder} ({first_line(error)}): what waits is in memory alone"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
