"""Rank the trials of a sweep: ``python -m analysis.rank NAME``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.connect import home_folder
from analysis.mlflow_reader.sweep import load
from analysis.ranking.ranking import Ranking, rank, require_score
from analysis.ranking.winner import require_minimum
from analysis.script import json_text, run_script, silent_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.script import ShowStage


@dataclass(frozen=True)
class RankOptions:
    """Rank the trials of a sweep, mark the winner, and show the Pareto front of distance and tag accuracy."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    more: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="NAME...")] = ()
    """More sweeps, to be ranked together with it where they were measured alike."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    by: str = schema.DISTANCE
    """The score to rank by: distance, tag_accuracy or any other that the sweep logged; preference ranks by the choices
    made in `gansweep compare`."""
    json: bool = False
    """Print one JSON object with every trial."""
    min_tag_accuracy: float | None = None
    """Least tag accuracy of the winner, 0 to 1; 0: the lowest distance wins. Default: 0.8 of the smaller of the tag
    classifier's accuracy on held-out real images and the best trial's tag accuracy."""
    csv: Path | None = None
    """Also write every trial to this CSV file."""
    top: int = 30
    """Rows to show; 0 shows all. The winner, the recipe and the Pareto front are always shown."""
    allow_mixed: bool = False
    """Rank scores together that were measured in different ways, although they do not compare."""
    under: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE: the best within a budget: kimg=50, seconds=600 or cost_kimg=50 (every trial as it was there),
    parameters=2e6 (of the generator), latency=5 (its milliseconds for one image, where it was trained), flops=5e9 (of
    training, per image), or any other number that was logged. May be repeated."""
    where: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE: only trials with that value of a parameter, or of system. May be repeated."""
    status: str | None = None
    """Only trials of that status, such as complete."""


def write_csv(ranking: Ranking, path: Path, *apart: Ranking) -> None:
    """Write every trial with every column, in the order of the ranking, then those ranked ``apart``."""
    import pandas as pd

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.concat([frame.trials for frame in (ranking, *apart)]).to_csv(path, index=False)
    except OSError as error:
        raise AnalysisError(f"cannot write {path}: {error.strerror or error}") from error


def run(options: RankOptions, stage: ShowStage = silent_stage) -> int:
    """Carry out ``gansweep rank``: results on stdout, the name of a written file on stderr, as ``stage``'s progress."""
    from analysis.ranking.filters import merge_sweeps, select_trials, split_by_conditioning
    from analysis.ranking.preference import FILE, add_preferences, read_choices
    from analysis.ranking.table import print_ranking

    require_minimum(options.min_tag_accuracy)
    names = dict.fromkeys((options.name, *options.more))
    with stage(f"trials of {', '.join(names)}"):
        sweep = merge_sweeps([load(name, home=options.home, tracking=options.tracking) for name in names])
    if options.by == schema.PREFERENCE:
        folder = home_folder(options.home) / "trials"
        sweep = add_preferences(sweep, [one for name in names for one in read_choices(folder / name / FILE)])
    require_score(sweep, options.by)
    sweep = select_trials(sweep, under=options.under, where=options.where, status=options.status, by=options.by)
    ranking, *apart = [
        rank(part, options.by, options.allow_mixed, min_tag_accuracy=options.min_tag_accuracy)
        for part in split_by_conditioning(sweep)
    ]
    if options.csv is not None:
        write_csv(ranking, options.csv, *apart)
        print(f"wrote {options.csv}", file=sys.stderr)
    if options.json:
        content = {**ranking.to_json(), "unconditional": apart[0].to_json() if apart else None}
        print(json_text(content))
        return 0
    print_ranking(ranking, top=options.top)
    for other in apart:
        print("\nunconditional trials, ranked separately because they solve another task\n")
        print_ranking(other, top=options.top)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.rank NAME``."""
    return run_script(RankOptions, run, "rank", argv)


if __name__ == "__main__":
    sys.exit(main())
