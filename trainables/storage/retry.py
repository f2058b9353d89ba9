"""Retries with exponential backoff, for calls to a server or disk that may be unavailable for a while."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


@dataclass(frozen=True)
class Backoff:
    """Waiting times between attempts, in seconds.

    Args:
        first: wait after the first failure; it doubles with each further one.
        longest: upper bound of a wait.
        jitter: each wait is shortened by a random share of at most this, in [0, 1], so that many clients that lose a
            server at once do not return at once.
    """

    first: float = 1.0
    longest: float = 60.0
    jitter: float = 0.0

    def seconds(self, failures: int) -> float:
        """Return the wait after the ``failures``-th consecutive failure, counted from 1."""
        wait = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return wait * random.uniform(1.0 - self.jitter, 1.0)


def retry(
    call: Callable[[], T],
    *,
    is_transient: Callable[[Exception], bool],
    attempts: int,
    backoff: Backoff,
    sleep: Callable[[float], None],
    on_retry: Callable[[Exception], None] | None = None,
) -> T:
    """Call until it succeeds, and return its result.

    Args:
        call: may take effect although it raises, so it must be safe to repeat.
        is_transient: whether a later attempt may succeed after this error.
        attempts: maximum number of calls, at least 1.
        backoff: waiting times between two calls.
        sleep: waits a number of seconds.
        on_retry: receives each error that is followed by another attempt, before the wait.

    Raises:
        Exception: the error of the last attempt, or the first one that is not transient.
    """
    failures = 0
    while True:
        try:
            return call()
        except Exception as error:
            failures += 1
            if failures >= attempts or not is_transient(error):
                raise
            if on_retry is not None:
                on_retry(error)
        sleep(backoff.seconds(failures))
