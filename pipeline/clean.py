"""Removing what nothing needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import schema
from analysis.rank import rank
from analysis.runs import load
from trainables.errors import UserError
from trainables.trial import CHECKPOINT_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from pathlib import Path

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
        UserError: the sweep has trials that are still running.
    """
    sweep = load(name, home=home.root, tracking=tracking)
    trials = sweep.trials
    running = trials.loc[trials["status"] == schema.RUNNING, "key"]
    if len(running):
        raise UserError(f"sweep {name!r} has {len(running)} running trials ({running.iloc[0]}, ...); wait for its end")
    ranking = rank(sweep)
    kept = {*list(ranking.trials["key"])[: max(keep, 0)], *ranking.pareto}
    kept |= set(trials.loc[trials["recipe"] | trials["status"].isin(UNFINISHED), "key"])
    unfinished = set(trials.loc[trials["status"].isin(UNFINISHED), "key"])
    files = []
    for key in trials["key"]:
        folder = home.sweep(name) / key
        files += [folder / CHECKPOINT_FILE] if key not in unfinished else []
        files += [folder / WEIGHTS_FILE] if key not in kept else []
    files = [file for file in files if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    if not dry_run:
        for file in files:
            file.unlink()
    return Freed(tuple(files), size)
