"""Errors that a user can cause. The command line prints their text as one line, without a traceback."""

from __future__ import annotations

import difflib
import errno
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can fix: says what was wrong, the value, what is allowed, what to do.

    Exit code 1: the request was valid but could not be carried out.
    """

    exit_code = 1


class UsageError(UserError):
    """An invalid request: an unknown name, a value out of range, an impossible combination. Exit code 2."""

    exit_code = 2


class DiskError(UserError):
    """A disk that is full, read-only or broken: the same request succeeds once that is mended."""


class ScorerError(UserError):
    """The scorer that trials wait for could not be prepared: they continue from their checkpoints once it can."""


DISK_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""Error numbers of a ``DiskError``."""


def is_disk_error(error: BaseException | None) -> bool:
    """Return whether an error, or the one that caused it, is a fault of the disk."""
    while error is not None:
        if isinstance(error, DiskError) or (isinstance(error, OSError) and error.errno in DISK_FAULTS):
            return True
        error = error.__cause__
    return False


_AUTOFLUSH = "(raised as a result of Query-invoked autoflush"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type's name if it has no text.

    If that line only introduces a list, such as torch's of mismatched weights, append the list's first entry.
    SQLAlchemy's line on when it asked a database comes before the database's own, and is left out.
    """
    lines = [line for line in str(error).strip().splitlines() if not line.startswith(_AUTOFLUSH)]
    first, *more = lines or [type(error).__name__]
    if not first.endswith(":") or not more:
        return first
    entry, *others = re.split(r'(?<="), ', more[0].strip())
    return f"{first} {shortened_text(entry)}{' and others' if others or more[1:] else ''}"


def shortened_text(text: str) -> str:
    """Return at most 200 characters of a text from a file, which may be of any length."""
    return text if len(text) <= 200 else f"{text[:197]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name in any case, or ``""`` if none is close."""
    by_folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return f"; did you mean {by_folded[close[0]]!r}?" if close else ""


def shortened(value: object) -> str:
    """Return a value's representation for an error message, at most 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
