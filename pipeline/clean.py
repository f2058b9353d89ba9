"""Removing what nothing needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import schema
from analysis.rank import rank
from analysis.runs import load
from pipeline.lock import exclusive
from trainables.errors import UsageError
from trainables.trial import CHECKPOINT_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.runs import Sweep
    from pipeline.home import Home

UNFINISHED = (schema.RUNNING, schema.INTERRUPTED)


@dataclass(frozen=True)
class Freed:
    """Files removed, and their bytes in all."""

    files: tuple[Path, ...]
    size: int


def clean_sweep(home: Home, name: str, tracking: str | None, *, keep: int, dry_run: bool) -> Freed:
    """Remove optimiser states of ended trials, and weights of all but the ``keep`` best, the recipe and the front.

    Raises:
        UserError: the sweep is being run.
        UsageError: a negative number to keep.
    """
    if keep < 0:
        raise UsageError(f"--keep is {keep}; allowed: 0 or more")
    with exclusive(home, name):
        return _clean(home, load(name, home=home.root, tracking=tracking), keep, dry_run)


def _clean(home: Home, sweep: Sweep, keep: int, dry_run: bool) -> Freed:
    trials, ranking = sweep.trials, rank(sweep)
    kept = {*list(ranking.trials["key"])[:keep], *ranking.pareto}
    kept |= set(trials.loc[trials["recipe"] | trials["status"].isin(UNFINISHED), "key"])
    unfinished = set(trials.loc[trials["status"].isin(UNFINISHED), "key"])
    files = []
    for key in trials["key"]:
        folder = home.trial(sweep.name, key)
        files += [folder / CHECKPOINT_FILE] if key not in unfinished else []
        files += [folder / WEIGHTS_FILE] if key not in kept else []
    files = [file for file in files if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if not dry_run:
        for file in files:
            file.unlink()
    return Freed(tuple(files), size)
