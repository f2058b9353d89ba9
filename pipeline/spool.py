"""Operations that wait on a local disk until they are carried out, so that no end of a process loses one."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Any

from trainables.errors import UserError, first_line
from trainables.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS, DONE, REFUSED = "operations.jsonl", "done", "refused.jsonl"
COMPACT_BYTES = 2**20
"""From this size on, the file of operations begins anew when all are done."""


class Spool:
    """A queue on the disk: first in, first out; an operation stays until it is marked as done.

    ``operations.jsonl`` holds one JSON object a line, with a number that grows; ``done`` the numbers of those that
    were carried out; ``refused.jsonl`` those that were given up, with the reason. Safe to use from several threads.

    Raises:
        UserError: the folder cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notice = ""
        """What the user should know: damaged lines, a disk that takes no more."""
        self._changed = threading.Condition()
        self._file: IO[bytes] | None = None
        self._unsynced = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._done = max((int(line) for line in _lines(folder / DONE) if line.isdigit()), default=0)
            self._waiting = self._read()
            self._number = max([self._done, *(number for number, _ in self._waiting)])
            self._begin_anew()
        except OSError as error:
            raise UserError(f"cannot use the spool {folder}: {error.strerror or error}; give another --home") from error

    def __len__(self) -> int:
        """Operations that wait."""
        return len(self._waiting)

    def append(self, *operations: dict[str, Any]) -> None:
        """Add operations at the end; no end of this process loses them now, or ``notice`` says why one may.

        The end of the machine may, until ``sync``.
        """
        with self._changed:
            numbered = list(enumerate(operations, self._number + 1))
            lines = [json.dumps({"number": number, **operation}, allow_nan=False) for number, operation in numbered]
            self._number += len(operations)
            self._write("".join(f"{line}\n" for line in lines).encode())
            self._waiting.extend(numbered)
            self._changed.notify_all()

    def first(self) -> dict[str, Any] | None:
        """The operation whose turn it is."""
        return next(iter(self.waiting(1)), None)

    def waiting(self, most: int) -> list[dict[str, Any]]:
        """The operations whose turn it is, on the disk: none is carried out that a power cut could take."""
        self.sync()
        with self._changed:
            return [operation for _, operation in itertools.islice(self._waiting, most)]

    def sync(self) -> None:
        """Have the disk write down what was appended."""
        with self._changed:
            file, self._unsynced = self._file if self._unsynced else None, False
        if file is None:
            return
        try:
            os.fsync(file.fileno())  # others may append meanwhile
        except (OSError, ValueError) as error:
            if not file.closed:
                self.notice = f"cannot write to {self.folder} ({first_line(error)}): what waits is in memory alone"

    def mark(self, count: int = 1) -> None:
        """The first operations are done."""
        with self._changed:
            self._done = self._waiting[count - 1][0]
            with contextlib.suppress(OSError):  # a mark that is lost has the operation repeated, which does no harm
                with (self.folder / DONE).open("a", encoding="utf-8") as file:
                    file.write(f"{self._done}\n")
                if len(self._waiting) == count and self._file is not None and _size(self._file) > COMPACT_BYTES:
                    self._file.truncate(0)
            for _ in range(count):
                self._waiting.popleft()
            self._changed.notify_all()

    def refuse(self, reason: str) -> None:
        """The first operation will never be done: set it aside, with the reason."""
        with self._changed:
            line = json.dumps({"reason": reason, **self._waiting[0][1]})
            try:
                with (self.folder / REFUSED).open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")
            except OSError as error:
                self.notice = f"cannot write to {self.folder / REFUSED} ({error.strerror}): {line}"
        self.mark()

    def shrinks(self, size: int, timeout: float) -> bool:
        """Wait until fewer than ``size`` operations are left; whether that came to pass within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._waiting) < size, timeout)

    def close(self) -> None:
        """Let go of the files; those that hold nothing are removed."""
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
                    self.folder.rmdir()  # fails where something was refused, and that stays

    def _read(self) -> deque[tuple[int, dict[str, Any]]]:
        path = self.folder / OPERATIONS
        found: deque[tuple[int, dict[str, Any]]] = deque()
        damaged = 0
        for line in _lines(path):
            try:
                operation = json.loads(line)
                number = int(operation.pop("number"))
            except (ValueError, TypeError, KeyError, AttributeError):
                damaged += 1
                continue
            if number > self._done:
                found.append((number, operation))
        if damaged:
            self.notice = f"{damaged} damaged line{'s' * (damaged > 1)} in {path} (a power cut?): not sent"
        return found

    def _begin_anew(self) -> None:
        """Keep only what waits. The marks go last: without the operations they mean nothing."""
        path = self.folder / OPERATIONS
        with whole_file(path) as partial, partial.open("wb") as file:
            for number, operation in self._waiting:
                file.write(f"{json.dumps({'number': number, **operation})}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        with whole_file(self.folder / DONE) as partial:
            partial.write_text(f"{self._done}\n", encoding="utf-8")
        self._file = path.open("ab", buffering=0)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut could take the file itself
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
            with contextlib.suppress(OSError):
                self._file.truncate(size)  # half a line would spoil the next
            self.notice = f"cannot write to {self.folder} ({first_line(error)}): what waits is in memory alone"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []


def _size(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size
