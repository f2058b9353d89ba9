"""Write the pages that follow from the code: the command line, and the search spaces with their dimensions.

python docs/generate_reference.py FOLDER

Sphinx calls it before it reads the pages; the two files are not under version control.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.main import load_commands, main
from search_spaces.registry import SPACES

if TYPE_CHECKING:
    from search_spaces.space import Dimension

COLUMNS = "88"
"""Width of the help texts."""


def write_reference(folder: Path) -> None:
    """Write ``command-line.md`` and ``spaces.md`` into a folder, each only if its text has changed."""
    for name, text in (("command-line.md", _command_line()), ("spaces.md", _spaces())):
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _command_line() -> str:
    parts = [
        "# Command line",
        "",
        "Exit codes: 0 done, 1 failure, 2 wrong usage, 130 interrupted, 143 ended by SIGTERM. An error is one line on "
        "stderr; `--debug` shows its traceback. Progress goes to stderr, results to stdout, and `--json` prints one "
        "object. `gansweep --tyro-print-completion bash` (or `zsh`, `tcsh`) prints a completion script.",
    ]
    for command in load_commands():
        for words in _subcommands(command):
            parts += ["", f"## gansweep {' '.join(words)}", "", "```text", _help(words), "```"]
    return "\n".join(parts) + "\n"


def _subcommands(command: str) -> list[list[str]]:
    return [["data", "inspect"], ["data", "synth"]] if command == "data" else [[command]]


def _help(words: list[str]) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return printed.getvalue().strip()


def _spaces() -> str:
    parts = [
        "# Search spaces",
        "",
        "Each space is a recipe and the dimensions around it. `gansweep spaces NAME` prints one with the sizes of its "
        "networks; `--json` makes it machine-readable. The systems are described in "
        "[The systems](../explanation/systems.md).",
    ]
    for space in SPACES.values():
        parts += ["", f"## {space.name}", "", f"{space.summary}.", "", *map(_describe, space.dimensions)]
    return "\n".join(parts) + "\n"


def _describe(dimension: Dimension) -> str:
    only = "; ".join(f"`{name}` is {' or '.join(map(_text, values))}" for name, values in dimension.when.items())
    condition = f" Only if {only}." if only else ""
    claim = f" Claim: {dimension.claim}." if dimension.claim and dimension.claim != "ours" else ""
    return f"- `{dimension.name}`: {_values(dimension)}; recipe {_text(dimension.default)}.{condition}{claim}"


def _values(dimension: Dimension) -> str:
    if dimension.choices:
        return ", ".join(map(_text, dimension.choices))
    return f"{dimension.low:g} to {dimension.high:g}{', logarithmic' if dimension.log else ''}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    write_reference(Path(sys.argv[1]))
