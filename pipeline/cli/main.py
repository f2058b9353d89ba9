"""The command line: choose a command, run it, and print one line per error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from analysis.claims import ClaimsOptions
from analysis.errors import AnalysisError
from analysis.rank import RankOptions
from analysis.report import ReportOptions
from analysis.script import tolerate_displays
from pipeline.cli.options import (
    CleanOptions,
    CompareOptions,
    DataOptions,
    DemoOptions,
    DoctorOptions,
    ExportOptions,
    GalleryOptions,
    GenerateOptions,
    ListOptions,
    SpacesOptions,
    StatusOptions,
    TranslateOptions,
    UiOptions,
)
from pipeline.cli.parsing import parse_command
from pipeline.evaluate.options import ScoreOptions
from pipeline.plan.options import PlanOptions
from pipeline.repeats.options import AblateOptions, ConfirmOptions
from pipeline.signals import EXIT_CODE, Termination
from pipeline.simulate.options import SimulateOptions
from pipeline.sweep.options import ExtendOptions, ResumeOptions, RunOptions
from trainables.errors import UserError, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analysis.script import ShowStage


def load_commands() -> dict[str, tuple[type, Callable[[Any], int]]]:
    """Name of each command -> the class of its options, and the function that runs it and returns the exit code."""
    from analysis.claims import run as claims
    from analysis.rank import run as rank
    from analysis.report import run as report
    from pipeline.cli import commands, export_commands

    return {
        "demo": (DemoOptions, commands.demo),
        "data": (DataOptions, commands.data),
        "spaces": (SpacesOptions, commands.spaces),
        "plan": (PlanOptions, commands.plan),
        "run": (RunOptions, commands.run),
        "resume": (ResumeOptions, commands.resume),
        "extend": (ExtendOptions, commands.extend),
        "confirm": (ConfirmOptions, commands.confirm),
        "ablate": (AblateOptions, commands.ablate),
        "simulate": (SimulateOptions, commands.simulate),
        "status": (StatusOptions, commands.status),
        "list": (ListOptions, commands.list_sweeps),
        "clean": (CleanOptions, commands.clean),
        "ui": (UiOptions, commands.ui),
        "compare": (CompareOptions, export_commands.compare),
        "doctor": (DoctorOptions, commands.doctor),
        "rank": (RankOptions, _with_progress(rank)),
        "claims": (ClaimsOptions, _with_progress(claims)),
        "report": (ReportOptions, _with_progress(report)),
        "export": (ExportOptions, export_commands.export),
        "generate": (GenerateOptions, export_commands.generate),
        "translate": (TranslateOptions, export_commands.translate),
        "gallery": (GalleryOptions, export_commands.gallery),
        "score": (ScoreOptions, export_commands.score),
    }


def _with_progress(run: Callable[[Any, ShowStage], int]) -> Callable[[Any], int]:
    """Show the progress of a command of ``analysis``, which imports nothing of ``pipeline``."""

    def show_and_run(options: Any) -> int:
        from pipeline.console import brief_stages

        return run(options, brief_stages())

    return show_and_run


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit code: 0 done, 1 failure, 2 wrong usage, 130 interrupted, 143 interrupted by SIGTERM.
    """
    tolerate_displays()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if words == ["--version"]:
        from importlib.metadata import version

        print(f"gansweep {version('gansweep')}")
        return 0
    with Termination() as termination:
        code = _run_command(words, debug=debug)
    return EXIT_CODE if termination.received and code else code


def _run_command(words: list[str], *, debug: bool) -> int:
    try:
        commands = load_commands()
        options = parse_command(words, {name: kind for name, (kind, _) in commands.items()})
        _, run = commands[words[0]]
        code = run(options)
        if sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()
        return code
    except (UserError, AnalysisError) as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.strerror:
            place = f": {shortened(error.filename)}" if error.filename else ""
            return _fail(f"{error.strerror}{place} (--debug shows where)", 1)
        return _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)


def _fail(message: str, code: int) -> int:
    if sys.stderr is not None:  # closed by the caller; print would take stdout instead
        print(f"gansweep: error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
