"""One driver per sweep: a lock that the system lets go of when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.home import Home


@contextlib.contextmanager
def exclusive(home: Home, sweep: str) -> Iterator[None]:
    """Hold the sweep.

    Raises:
        UserError: another process holds it, or the home cannot be written to.
    """
    path = home.lock(sweep)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to home {home.root}: {error.strerror or error}; give another --home") from error
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(f"sweep {sweep!r} is in use by process {holder}; wait for its end, or stop it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def in_use(home: Home, sweep: str) -> bool:
    """Whether a process of this machine holds the sweep."""
    if not home.lock(sweep).exists():
        return False
    try:
        with exclusive(home, sweep):
            return False
    except UserError:
        return True
