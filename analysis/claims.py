"""Check every claim that a sweep's space tests: ``python -m analysis.claims NAME``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis.claim_checks.verdicts import check_claims, format_claims
from analysis.script import print_answer, run_script, silent_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.script import ShowStage


@dataclass(frozen=True)
class ClaimsOptions:
    """Check each claim of the source reports against the sweep."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object with every claim."""
    all: bool = False
    """Also list the claims that the sweep does not test."""


# The command -------------------------------------------------------------------------------------------------
def run(options: ClaimsOptions, stage: ShowStage = silent_stage) -> int:
    """Carry out ``gansweep claims``; ``stage`` shows progress."""
    from analysis.mlflow_reader.mutated import mutated_note
    from analysis.mlflow_reader.sweep import load

    with stage(f"trials of {options.name}"):
        sweep = load(options.name, home=options.home, tracking=options.tracking)
    with stage("claims"):
        verdicts, mutated = check_claims(sweep), mutated_note(sweep)
    content = {"sweep": sweep.name, "claims": [verdict.to_json() for verdict in verdicts], "left_out": mutated or None}
    text = "\n".join(filter(None, [format_claims(verdicts, sweep.name, everything=options.all), mutated]))
    print_answer(content, text, as_json=options.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.claims NAME``."""
    return run_script(ClaimsOptions, run, "claims", argv)


if __name__ == "__main__":
    sys.exit(main())
