"""Importance of the dimensions of a sweep: ``python -m analysis.importance NAME``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis import schema
from analysis.effects.importance import format_importances, importances
from analysis.script import json_text, run_script

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class ImportanceOptions:
    """How much of the scores' spread each dimension explains, and which values fail."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    by: str = schema.DISTANCE
    """The score."""
    seed: int = 0
    """Of the forests and the bootstrap."""
    json: bool = False
    """Print one JSON object."""


# The command -------------------------------------------------------------------------------------------------
def run(options: ImportanceOptions) -> int:
    """Carry out ``python -m analysis.importance``."""
    from analysis.effects.failure_rates import failing_by_value
    from analysis.mlflow_reader.sweep import load

    sweep = load(options.name, home=options.home, tracking=options.tracking)
    results = importances(sweep, options.by, options.seed)
    failing = failing_by_value(sweep)
    if options.json:
        content = {"sweep": sweep.name, **results.to_json(), "failing": [dimension.to_json() for dimension in failing]}
        print(json_text(content))
        return 0
    print(format_importances(results))
    for dimension in failing:
        if dimension.separable:
            shares = ", ".join(f"{value.value}: {value.share:.0%} of {value.trials}" for value in dimension.values)
            print(f"failed by {dimension.dimension} (p = {dimension.p_value:.2g}): {shares}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.importance NAME``."""
    return run_script(ImportanceOptions, run, "importance", argv)


if __name__ == "__main__":
    sys.exit(main())
