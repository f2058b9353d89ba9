"""A lock that allows one driver per sweep; the operating system releases it when the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING, TextIO

from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.home import Home

ATTEMPTS, SECONDS = 4, 0.05


@contextlib.contextmanager
def lock_sweep(home: Home, sweep: str) -> Iterator[None]:
    """Hold the lock of a sweep.

    Raises:
        UserError: another process holds it, or the home cannot be written to.
    """
    path = home.lock(sweep)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to home {home.root}: {error.strerror or error}; give another --home") from error
    with opened as file:
        if not _lock(file):
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(f"sweep {sweep!r} is in use by process {holder}; wait for its end, or stop it")
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


def is_locked(home: Home, sweep: str) -> bool:
    """Return whether a process of this machine holds the lock of a sweep. Writes nothing.

    A lock file that cannot be read counts as held: the sweep is shown as it was recorded.
    """
    try:
        with home.lock(sweep).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _lock(file: TextIO) -> bool:
    """Lock a file, with a few attempts: ``is_locked`` holds it for a moment."""
    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if attempt + 1 < ATTEMPTS:
                time.sleep(SECONDS)
    return False
