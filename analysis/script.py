"""Helpers of the commands: printing results, and running as ``python -m analysis.rank NAME``."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

_Options = TypeVar("_Options")


class ShowStage(Protocol):
    """Shows one stage of a command: a context manager that yields a function to call with (done, total)."""

    def __call__(self, text: str, /) -> AbstractContextManager[Progress]:
        """Show the stage until the context ends."""
        ...


Progress = Callable[[float, float], None]
"""Called with (done, total)."""


@contextlib.contextmanager
def silent_stage(text: str) -> Iterator[Progress]:
    """Show nothing, as in a notebook or a script."""
    yield silent


def silent(done: float, total: float) -> None:
    """Show nothing."""


def part_of(progress: Progress, place: int, parts: int) -> Progress:
    """Return the progress of part ``place`` of equal ``parts``, from 0."""
    return lambda done, total: progress(place + done / total, parts)


class _Pipe(io.FileIO):
    """A standard stream whose reader may stop reading (``| head``): the command goes on, and its exit code counts."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def tolerate_displays() -> None:
    """Let no display turn finished work into a failure.

    Characters that the encoding of stdout or stderr lacks are replaced, and a closed pipe is ignored.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue  # closed from the beginning, or replaced by a caller
        if stream is getattr(sys, f"__{name}__") and stat.S_ISFIFO(os.fstat(number).st_mode):
            stream.flush()
            pipe = io.BufferedWriter(_Pipe(number, "w", closefd=False))
            line_buffering = stream.line_buffering
            setattr(sys, name, io.TextIOWrapper(pipe, stream.encoding, "replace", line_buffering=line_buffering))
        else:
            stream.reconfigure(errors="replace")


def json_text(content: Any) -> str:
    """Format a value as strict JSON (no NaN or infinity), as ``--json`` prints it."""
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=not is_unicode)


def print_answer(content: Any, text: str, *, as_json: bool) -> None:
    """Print a command's result: ``content`` as JSON, or ``text``."""
    print(json_text(content) if as_json else text)


def run_script(
    options: type[_Options], run: Callable[[_Options], int], name: str, argv: Sequence[str] | None = None
) -> int:
    """Parse the command line of a script and carry it out; errors are one line, with ``--debug`` a traceback.

    Returns:
        Exit code: 0 done, 1 failure, 2 wrong usage.
    """
    import tyro

    tolerate_displays()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    parsed = tyro.cli(
        options,
        prog=f"python -m analysis.{name}",
        args=[argument for argument in arguments if argument != "--debug"],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        code = run(parsed)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        return code
    except AnalysisError as error:
        if debug:
            raise
        print(f"gansweep: error: {error}", file=sys.stderr)
        return error.exit_code
