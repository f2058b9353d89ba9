"""Waiting times and attempts of ``retry``, without waiting."""

from __future__ import annotations

import pytest

from trainables.storage.retry import Backoff, retry


class Flaky:
    """Raises the given errors one by one, then returns the number of its calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first=0.5, longest=3.0)
    assert [backoff.seconds(failures) for failures in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0]


def test_jitter_only_shortens_a_wait() -> None:
    waits = [Backoff(first=8.0, jitter=0.25).seconds(1) for _ in range(500)]
    assert 6.0 <= min(waits) < 6.5
    assert 7.5 < max(waits) <= 8.0


def test_a_transient_error_is_retried_and_reported() -> None:
    first, second = ConnectionError("a"), ConnectionError("b")
    call, waits, reported = Flaky(first, second), list[float](), list[Exception]()
    result = retry(
        call,
        is_transient=lambda error: isinstance(error, ConnectionError),
        attempts=3,
        backoff=Backoff(),
        sleep=waits.append,
        on_retry=reported.append,
    )
    assert (result, waits, reported) == (3, [1.0, 2.0], [first, second])


@pytest.mark.parametrize(
    ("errors", "attempts", "calls", "message"),
    [
        ([ConnectionError("a"), ConnectionError("b"), ConnectionError("c")], 2, 2, "b"),  # the last attempt's error
        ([ValueError("wrong"), ConnectionError("a")], 5, 1, "wrong"),  # not transient
        ([ConnectionError("a"), ValueError("wrong")], 5, 2, "wrong"),
    ],
)
def test_the_error_that_ends_the_attempts_is_raised(
    errors: list[Exception], attempts: int, calls: int, message: str
) -> None:
    call, waits = Flaky(*errors), list[float]()
    with pytest.raises((ConnectionError, ValueError), match=f"^{message}$"):
        retry(
            call,
            is_transient=lambda error: isinstance(error, ConnectionError),
            attempts=attempts,
            backoff=Backoff(),
            sleep=waits.append,
        )
    assert call.calls == calls
    assert len(waits) == calls - 1
