"""The command line: which command, with which options, and one line per error."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any, Union

import tyro

from analysis.claims import ClaimsOptions
from analysis.errors import AnalysisError
from analysis.rank import RankOptions
from analysis.report import ReportOptions
from pipeline.options import (
    AblateOptions,
    CleanOptions,
    ConfirmOptions,
    DataOptions,
    DemoOptions,
    DoctorOptions,
    ExportOptions,
    ExtendOptions,
    GalleryOptions,
    GenerateOptions,
    ResumeOptions,
    ScoreOptions,
    SimulateOptions,
    SpacesOptions,
    StatusOptions,
    TranslateOptions,
    UiOptions,
)
from pipeline.plan.options import PlanOptions
from pipeline.settings import SweepSettings
from pipeline.termination import EXIT_CODE, Termination
from trainables.errors import UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _commands() -> dict[str, tuple[type, Callable[[Any], int]]]:
    from analysis.claims import run as claims
    from analysis.rank import run as rank
    from analysis.report import run as report
    from pipeline import commands

    return {
        "demo": (DemoOptions, commands.demo),
        "data": (DataOptions, commands.data),
        "spaces": (SpacesOptions, commands.spaces),
        "plan": (PlanOptions, commands.plan),
        "run": (SweepSettings, commands.run),
        "resume": (ResumeOptions, commands.resume),
        "extend": (ExtendOptions, commands.extend),
        "confirm": (ConfirmOptions, commands.confirm),
        "ablate": (AblateOptions, commands.ablate),
        "simulate": (SimulateOptions, commands.simulate),
        "status": (StatusOptions, commands.status),
        "clean": (CleanOptions, commands.clean),
        "ui": (UiOptions, commands.ui),
        "doctor": (DoctorOptions, commands.doctor),
        "rank": (RankOptions, rank),
        "claims": (ClaimsOptions, claims),
        "report": (ReportOptions, report),
        "export": (ExportOptions, commands.export),
        "generate": (GenerateOptions, commands.generate),
        "translate": (TranslateOptions, commands.translate),
        "gallery": (GalleryOptions, commands.gallery),
        "score": (ScoreOptions, commands.score),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 failure, 2 wrong usage, 130 interrupted, 143 interrupted by SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"gansweep {version('gansweep')}")
        return 0
    with Termination() as termination:
        code = _carry_out(words, debug=debug)
    return EXIT_CODE if termination.received and code else code


def _carry_out(words: list[str], *, debug: bool) -> int:
    try:
        commands = _commands()
        options = _parse(words, {name: kind for name, (kind, _) in commands.items()})
        return next(handler for kind, handler in commands.values() if type(options) is kind)(options)
    except (UserError, AnalysisError) as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        return 1
    except Exception as error:
        if debug:
            raise
        return _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)


def _parse(words: list[str], kinds: dict[str, type]) -> Any:
    choices = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(  # type: ignore[call-overload] # a union of what a dict holds
                Union[choices],  # noqa: UP007
                args=words or ["--help"],
                prog="gansweep",
                description="Hyperparameter search for tag-conditional image GANs.",
                config=(
                    tyro.conf.FlagCreatePairsOff,
                    tyro.conf.OmitArgPrefixes,
                    tyro.conf.OmitSubcommandPrefixes,
                ),
            )
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        hint = nearest(words[0], kinds) if words[0] not in kinds else ""
        _fail(_one_line(complaint.getvalue()) + hint, 2)
        raise SystemExit(2) from None


def _one_line(boxed: str) -> str:
    """The message of a parser that answers in a titled box, as one line."""
    rows = [re.sub(r"[│╭╮╰╯─|]+", " ", row).strip() for row in boxed.splitlines()]
    rows = [row for row in rows if row and not set(row) <= set("- ")]
    text = " ".join(rows[1:] or rows)
    text = re.split(r"Argument helptext:|For full helptext", text)[0]
    text, _, near = text.partition("Perhaps you meant:")
    text += (
        "; did you mean " + " or ".join(dict.fromkeys(re.findall(r"--[a-z-]+", near.split(" in gansweep")[0])))
        if near
        else ""
    )
    if text.startswith("Missing from"):
        text = re.sub(r"(--[a-z-]+ [A-Z]+|\b[A-Z]{3,}) .*?(?=--|\b[A-Z]{3,}\b|$)", r"\1 ", text)
    return _NO_NUMBER.sub(_expected, " ".join(text.split())).rstrip(".") or "wrong usage"


_NO_NUMBER = re.compile(
    r"Error parsing (?P<option>\S+): (?:"
    r"invalid literal for (?P<int>int)\(\) with base 10: (?P<whole>.+)"
    r"|could not convert string to float: (?P<real>.+)"
    r"|no type matching \{None\} (?P<kind>INT|FLOAT) could be instantiated from \[(?P<optional>.+?)\]\. Got errors:.*)"
)
"""The parser's words for a value that is no number, where one must be given or may be."""


def _expected(found: re.Match[str]) -> str:
    value = found["whole"] or found["real"] or found["optional"]
    number = "a whole number" if found["int"] or found["kind"] == "INT" else "a number"
    return f"{found['option']} is {value}; expected {number}"


def _fail(message: str, code: int) -> int:
    print(f"gansweep: error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
