"""What commands share: answers for people and for machines; running as ``python -m analysis.claims NAME``."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Options = TypeVar("_Options")


def json_text(told: Any) -> str:
    """What ``--json`` prints: one value, no number that other languages could not read."""
    return json.dumps(told, indent=2, allow_nan=False, ensure_ascii=False)


def print_answer(told: Any, said: str, *, as_json: bool) -> None:
    """Print what a command found, in JSON for machines or in words for people."""
    print(json_text(told) if as_json else said)


def run_script(
    options: type[_Options], run: Callable[[_Options], int], name: str, argv: Sequence[str] | None = None
) -> int:
    """Parse the command line of a script and carry it out; errors are one line, with ``--debug`` a traceback.

    Returns:
        Exit code: 0 done, 1 failure, 2 wrong usage.
    """
    import tyro

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
        sys.stdout.flush()
        return code
    except AnalysisError as error:
        if debug:
            raise
        print(f"gansweep: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # ``| head`` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
