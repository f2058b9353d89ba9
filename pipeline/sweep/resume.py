"""Resume or extend a sweep by its name, with its saved settings."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from analysis import schema
from analysis.mlflow_reader.run_table import costs
from analysis.mlflow_reader.sweep import load, nearest
from pipeline.home import Home
from pipeline.schedulers.evaluation_schedule import fits_budget
from pipeline.settings import AUTO_PLACEMENT, RESUME_OVERRIDES, SweepSettings
from pipeline.sweep.saved_settings import SETTINGS_FILE
from pipeline.sweep_lock import lock_sweep
from trainables.errors import UsageError, UserError
from trainables.storage.atomic import write_json

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = "***"
"""Replaces a password, which is not stored."""


class Overrides(TypedDict, total=False):
    """Settings of ``RESUME_OVERRIDES`` that a restart may replace; ``None``: as the sweep was started."""

    tracking: str | None
    study: str | None
    data: Path | None
    address: str | None
    concurrent: int | None
    fuse: str | None
    time_limit: str | None
    total_kimg: int | None
    patience: int | None
    min_tag_accuracy: float | None


def resume_settings(
    name: str, home: Path | None = None, *, needs_study: bool = True, **overrides: Unpack[Overrides]
) -> SweepSettings:
    """Load the settings that a sweep was started with, and replace those that are given.

    Giving one of ``AUTO_PLACEMENT`` places the sweep anew: what placement decided for the others no longer fits.

    Args:
        name: of the sweep.
        home: folder of all sweeps; default: ``$GANSWEEP_HOME`` or ``./gansweep-runs``.
        needs_study: the study is opened, so its password is needed if its address had one.
        overrides: settings to replace.

    Raises:
        UserError: settings that cannot be read.
        UsageError: no such sweep in the home, or a missing password, which is not stored.
    """
    where = Home.find(home)
    return _merge(where, _read(where, name), overrides, needs_study=needs_study)


def _merge(home: Home, saved: dict[str, Any], overrides: Overrides, *, needs_study: bool = True) -> SweepSettings:
    given = {name: value for name, value in overrides.items() if value is not None}
    if any(name in given for name in AUTO_PLACEMENT):
        saved = _reset_placement(saved)
    started = {**saved["started_with"], **saved["settings"], "home": str(home.root), **given}
    for name in ("tracking", "study") if needs_study else ("tracking",):
        if HIDDEN in str(started.get(name) or ""):
            raise UsageError(f"--{name} was {started[name]}; its password is not stored: give --{name} again")
    return SweepSettings.from_json(started)


def extend_settings(
    name: str,
    home: Path | None = None,
    *,
    trials: int = 0,
    max_kimg: int | None = None,
    **overrides: Unpack[Overrides],
) -> SweepSettings:
    """Make a finished sweep larger: save and return its new settings, to be placed like a new sweep of its size.

    Args:
        name: of the sweep.
        home: folder of all sweeps; default: ``$GANSWEEP_HOME`` or ``./gansweep-runs``.
        trials: number of trials to add.
        max_kimg: a larger budget per trial.
        overrides: settings to replace.

    Raises:
        UserError: a sweep that is unfinished or in use.
        UsageError: no such sweep, nothing to add, or a budget that is not larger.
    """
    where = Home.find(home)
    settings = _merge(where, _reset_placement(_read(where, name)), overrides)
    if trials < 0 or (trials == 0 and max_kimg is None):
        raise UsageError(f"--trials is {trials}; give 1 or more trials to add, or a larger --max-kimg")
    if max_kimg is not None and max_kimg <= settings.max_kimg:
        raise UsageError(
            f"--max-kimg is {max_kimg}; the trials of {settings.name!r} have {settings.max_kimg} already: give more"
        )
    larger = dataclasses.replace(settings, trials=settings.trials + trials)
    if max_kimg is not None:
        larger = dataclasses.replace(larger, max_kimg=max_kimg, budgets=(*settings.budgets, settings.max_kimg))
    with lock_sweep(where, settings.name):
        _require_finished(settings, where)
        path = where.sweep(settings.name) / SETTINGS_FILE
        fixed = {name: value for name, value in larger.to_json().items() if name not in RESUME_OVERRIDES}
        write_json(path, {**_reset_placement(_read(where, settings.name)), "settings": fixed})
    return larger


def _reset_placement(saved: dict[str, Any]) -> dict[str, Any]:
    """Return a saved sweep with the placement that was requested, not the one that was decided for its trials."""
    return {**saved, "started_with": {**saved["started_with"], **saved.get("asked", {})}}


def _require_finished(settings: SweepSettings, home: Home) -> None:
    sweep = load(settings.name, home=home.root, tracking=settings.tracking)
    trials, total = sweep.trials, sweep.settings.get("total_kimg")  # the total that it last ran with
    unfinished = trials["status"].isin((schema.RUNNING, schema.INTERRUPTED)).sum() if len(trials) else 0
    missing = settings.trials - len(trials)
    fits = fits_budget(float(costs(trials).fillna(0.0).sum()), 0, settings.max_kimg, total)
    # Patience may have ended it with trials left; a resume may have given it.
    waits = sweep.settings.get("patience") is None or sweep.status != schema.COMPLETE
    if unfinished or (missing > 0 and settings.sampler != "grid" and fits and waits):
        raise UserError(
            f"sweep {settings.name!r} has {unfinished + max(0, missing)} trials that have not ended; "
            f"`gansweep resume {settings.name}` first"
        )


def _read(home: Home, name: str) -> dict[str, Any]:
    path: Path = home.sweep(name) / SETTINGS_FILE
    if not path.is_file():
        found = home.root.glob(f"trials/*/{SETTINGS_FILE}")
        known = sorted(settings.parent.name for settings in found if settings.is_file())
        existing = f"known: {', '.join(known)}" if known else "it has no sweep yet"
        raise UsageError(f"no sweep {name!r} in home {home.root}{nearest(name, known)}; {existing}")
    try:
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(saved, dict):
            raise ValueError("it is no JSON object")
        parts = (saved.get("settings"), saved.get("started_with"), saved.get("asked", {}))
        if not all(isinstance(part, dict) for part in parts):
            raise ValueError("it lacks its settings")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"cannot read settings {path}: {error}") from error
    return saved
