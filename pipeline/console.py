"""Progress on stderr: stages of a command, formatted durations."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


EVERY_SECONDS: Final = 30.0
"""Seconds between two lines of progress where standard error is not a terminal."""
FIRST_SECONDS: Final = 3.0
"""Seconds before the first of these lines."""


def clock(seconds: float) -> str:
    """Format a duration: ``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def time_left(elapsed: float, share: float) -> str:
    """Format an estimate from the seconds so far and the share done: ``, about 45 s left``; empty at first."""
    return f", about {clock(elapsed * (1 - share) / share)} left" if 0 < share < 1 else ""


def with_elapsed(line: str, began: float) -> str:
    """Add how long it has taken since ``began``, a time of ``time.monotonic``."""
    return f"{line} ({clock(time.monotonic() - began)} so far)"


@contextlib.contextmanager
def print_regularly(console: Console, line: Callable[[], str], every: float) -> Iterator[None]:
    """Print ``line()`` every so many seconds if the console is not a terminal, whatever the block is doing.

    The first line comes after ``FIRST_SECONDS``, so that a user sees soon what the command does.
    """
    ended = threading.Event()

    def run() -> None:
        pause = min(FIRST_SECONDS, every)
        while not ended.wait(pause):
            console.print(line(), soft_wrap=True, markup=False)
            pause = every

    thread = None if console.is_terminal else threading.Thread(target=run, name="gansweep-progress", daemon=True)
    if thread:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread:
            thread.join()


@contextlib.contextmanager
def show_stage(
    console: Console, text: str, every: float = EVERY_SECONDS, *, elapsed: bool = True
) -> Iterator[Callable[[str], None]]:
    """Show one stage: a spinner on a terminal, else a line every ``every`` seconds; then a line with its duration.

    Call the yielded function with a line on how far the stage is. Without ``elapsed`` the lines do not say how long it
    has taken so far.
    """
    began, latest = time.monotonic(), text
    with console.status(text) as status:

        def update(line: str) -> None:
            nonlocal latest
            latest = line
            status.update(line)

        def line() -> str:
            return with_elapsed(latest, began) if elapsed else latest

        with print_regularly(console, line, every):
            yield update
    console.print(f"{text}: {clock(time.monotonic() - began)}", soft_wrap=True, markup=False)


@dataclass
class Stages:
    """Stages of a command: a progress bar on terminals, and one line at the end of each stage.

    The last line is left out for stages that take less than ``least`` seconds.
    """

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    every: float = EVERY_SECONDS
    least: float = 0.0

    @contextlib.contextmanager
    def __call__(self, text: str) -> Iterator[Callable[[float, float], None]]:
        """Run one stage; call the yielded function with (done, total)."""
        began = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
        progress = Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True,
            disable=not self.console.is_terminal,
        )  # fmt: skip
        with progress as bar:
            task = bar.add_task(text, total=None)
            share = 0.0

            def update(done: float, total: float) -> None:
                nonlocal share
                share = done / total if total else 0.0
                bar.update(task, completed=done, total=total)

            def line() -> str:
                elapsed = time.monotonic() - began
                known = f": {share:.0%}" if share else ""
                return f"{text}{known} ({clock(elapsed)} so far{time_left(elapsed, share)})"

            with print_regularly(self.console, line, self.every):
                yield update
        if (elapsed := time.monotonic() - began) >= self.least:
            self.console.print(f"{text}: {clock(elapsed)}", soft_wrap=True, markup=False)


def brief_stages() -> Stages:
    """Return the stages of a command that usually answers at once: short ones print no line."""
    return Stages(least=FIRST_SECONDS)
