"""Errors that a user can cause. The command line prints their text as one line, without a traceback."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend: says what was wrong, the value, what is allowed, what to do.

    Exit code 1: the request was well formed but could not be carried out.
    """

    exit_code = 1


class UsageError(UserError):
    """A wrong request: an unknown name, an out-of-range or impossible value. Exit code 2."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its kind where it has none.

    Where that line only announces a list, as torch's of weights that do not fit, the list's first entry stands behind.
    """
    first, *more = str(error).strip().splitlines() or [type(error).__name__]
    if not first.endswith(":") or not more:
        return first
    entry, *others = re.split(r'(?<="), ', more[0].strip())
    return f"{first} {shortened_text(entry)}{' and others' if others or more[1:] else ''}"


def shortened_text(text: str) -> str:
    """At most 200 characters of a text that a file may have made as long as it likes."""
    return text if len(text) <= 200 else f"{text[:197]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the closest known name, or ``""`` when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def shortened(value: object) -> str:
    """A value as an error shows it: 80 characters at most."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out whole numbers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
