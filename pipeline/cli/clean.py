"""Remove files that are no longer needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import schema
from analysis.mlflow_reader.sweep import load
from analysis.ranking.ranking import rank
from analysis.repeats.confirmation import confirmation
from pipeline.home import require_key
from pipeline.sweep_lock import lock_sweep
from trainables.errors import UsageError
from trainables.storage.checkpoints import BEST_FILE, CHECKPOINTS, WEIGHTS_FILE

if TYPE_CHECKING:
    from collections.abc import Collection

    from analysis.mlflow_reader.sweep import Sweep
    from pipeline.home import Home

UNFINISHED = (schema.RUNNING, schema.INTERRUPTED)


@dataclass(frozen=True)
class Freed:
    """Names of the removed files, and their total size in bytes."""

    files: tuple[str, ...]
    size: int


def clean_sweep(home: Home, name: str, tracking: str | None, *, keep: int, dry_run: bool) -> Freed:
    """Remove optimiser states of ended trials, and weights of all but the ``keep`` best, winner, baseline and front.

    Weights of a confirmed configuration's median run stay; those of ablations are removed.

    Raises:
        UserError: another process runs the sweep.
        UsageError: ``keep`` is negative.
    """
    if keep < 0:
        raise UsageError(f"--keep is {keep}; allowed: 0 or more")
    with lock_sweep(home, name):
        return _clean(home, load(name, home=home.root, tracking=tracking), keep, dry_run)


def _clean(home: Home, sweep: Sweep, keep: int, dry_run: bool) -> Freed:
    trials, ranking = sweep.trials, rank(sweep)
    kept = {*list(ranking.trials["key"])[:keep], *ranking.pareto, ranking.best}
    kept |= set(trials.loc[trials["recipe"] | trials["status"].isin(UNFINISHED), "key"])
    unfinished = set(trials.loc[trials["status"].isin(UNFINISHED), "key"])
    storage = home.storage(sweep.name, sweep.settings.get("storage"))
    stored = storage.list()
    files = []
    for key in trials["key"]:
        folder = require_key(sweep.name, key)
        if key not in unfinished:
            files += [name for name in stored if name.startswith(f"{folder}/{CHECKPOINTS}/")]
        if key not in kept:
            files += [name for name in (f"{folder}/{WEIGHTS_FILE}", f"{folder}/{BEST_FILE}") if name in stored]
    files += _repeat_files(sweep, stored)
    if not dry_run:
        for name in files:
            storage.delete(name)
    return Freed(tuple(files), sum(stored[name] for name in files))


def _repeat_files(sweep: Sweep, stored: Collection[str]) -> list[str]:
    """List removable files of ended repeats; `export` needs the weights of each configuration's median run."""
    found = confirmation(sweep, allow_mixed=True)
    kept = {one.median_key for one in found.configurations} if found else set()
    files = []
    ended = sweep.repeats[~sweep.repeats["status"].isin(UNFINISHED)]
    for key in ended["key"]:
        folder = require_key(sweep.name, key)
        files += [name for name in stored if name.startswith(f"{folder}/{CHECKPOINTS}/")]
        names = (BEST_FILE,) if key in kept else (BEST_FILE, WEIGHTS_FILE)
        files += [f"{folder}/{name}" for name in names if f"{folder}/{name}" in stored]
    return files
