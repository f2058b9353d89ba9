"""Removing what nothing needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import schema
from analysis.confirmation import confirmation
from analysis.rank import rank
from analysis.runs import load
from pipeline.home import require_key
from pipeline.lock import exclusive
from trainables.checkpoint import BEST_FILE, CHECKPOINTS, WEIGHTS_FILE
from trainables.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from analysis.runs import Sweep
    from pipeline.home import Home

UNFINISHED = (schema.RUNNING, schema.INTERRUPTED)


@dataclass(frozen=True)
class Freed:
    """Names of the files removed, and their bytes in all."""

    files: tuple[str, ...]
    size: int


def clean_sweep(home: Home, name: str, tracking: str | None, *, keep: int, dry_run: bool) -> Freed:
    """Remove optimiser states of ended trials, and weights of all but the ``keep`` best, the recipe and the front.

    Of a confirmed configuration the weights of its median run stay, of an ablation none.

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
    storage = home.storage(sweep.name, sweep.settings.get("storage"))
    there = storage.list()
    files = []
    for key in trials["key"]:
        folder = require_key(sweep.name, key)
        if key not in unfinished:
            files += [name for name in there if name.startswith(f"{folder}/{CHECKPOINTS}/")]
        if key not in kept:
            files += [name for name in (f"{folder}/{WEIGHTS_FILE}", f"{folder}/{BEST_FILE}") if name in there]
    files += _of_repeats(sweep, there)
    if not dry_run:
        for name in files:
            storage.delete(name)
    return Freed(tuple(files), sum(there[name] for name in files))


def _of_repeats(sweep: Sweep, there: Collection[str]) -> list[str]:
    """Files of ended repeats; the weights stay that `export` takes, of the median run of each configuration."""
    found = confirmation(sweep, allow_mixed=True)
    kept = {one.median_key for one in found.configurations} if found else set()
    files = []
    ended = sweep.repeats[~sweep.repeats["status"].isin(UNFINISHED)]
    for key in ended["key"]:
        folder = require_key(sweep.name, key)
        files += [name for name in there if name.startswith(f"{folder}/{CHECKPOINTS}/")]
        names = (BEST_FILE,) if key in kept else (BEST_FILE, WEIGHTS_FILE)
        files += [f"{folder}/{name}" for name in names if f"{folder}/{name}" in there]
    return files
