"""Write a sweep as one HTML page: ``python -m analysis.report NAME -o report.html``."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis.errors import AnalysisError, AnalysisUsageError
from analysis.reports.html import make_page
from analysis.script import print_answer, silent_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.script import ShowStage


@dataclass(frozen=True)
class ReportOptions:
    """Write a sweep as one HTML page: the answer, the front, why, the claims, the failures, the method."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """File to write; one that is there is replaced."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    allow_mixed: bool = False
    """Rank scores together that were measured in different ways, although they do not compare."""
    min_tag_accuracy: float | None = None
    """Least tag accuracy of the winner, 0 to 1, as for `gansweep rank`; 0: the lowest distance wins."""
    json: bool = False
    """Print one JSON object."""


def run(options: ReportOptions, stage: ShowStage = silent_stage) -> int:
    """Carry out ``gansweep report``: the name and size of the file on stdout; ``stage`` shows progress."""
    from analysis.mlflow_reader.sweep import load
    from analysis.ranking.ranking import rank
    from analysis.ranking.winner import require_minimum
    from analysis.reports.data import collect

    require_minimum(options.min_tag_accuracy)
    output = options.output
    if output.suffix.lower() not in ("", ".html", ".htm"):
        raise AnalysisUsageError(
            f"-o is {output}: the report is an HTML file; allowed: a name that ends in .html or .htm, or has no suffix"
        )
    # Before the sweep is read, which takes long.
    if output.is_dir() or not _nearest_above(output).is_dir():
        raise AnalysisError(f"cannot write {output}: -o names a file in a folder, which is created if it is missing")
    with stage(f"trials of {options.name}"):
        sweep = load(options.name, home=options.home, tracking=options.tracking)
        ranking = rank(sweep, allow_mixed=options.allow_mixed, min_tag_accuracy=options.min_tag_accuracy)
    data = collect(ranking, stage)
    with stage("figures and images"):
        page = make_page(data)
    # Not the atomic write that the other packages share: analysis imports none of them. Devices are not replaced.
    is_device = output.exists() and not (output.is_file() or output.is_dir())
    partial = output if is_device else output.with_name(f".{output.name}.{os.getpid()}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(page, encoding="utf-8")
            partial.replace(output)
        finally:
            if not is_device:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise AnalysisError(f"cannot write {output}: {error.strerror or error}") from error
    size = len(page.encode())
    rule = ranking.rule.words if ranking.rule else None
    about = {"sweep": ranking.sweep.name, "best": ranking.best, "rule": rule, "output": str(output), "bytes": size}
    print_answer(about, f"wrote {output}, {size / 2**20:.1f} MiB", as_json=options.json)
    return 0


def _nearest_above(path: Path) -> Path:
    """The first of the folders above a path that is there, or the file that stands in its place."""
    return next(above for above in path.absolute().parents if above.exists())


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.report NAME -o report.html``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    options = tyro.cli(
        ReportOptions,
        prog="python -m analysis.report",
        args=[argument for argument in arguments if argument != "--debug"],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        return run(options)
    except AnalysisError as error:
        if debug:
            raise
        print(f"gansweep: error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
