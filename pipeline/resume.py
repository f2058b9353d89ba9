"""Going on with a sweep by its name alone, as it was or further."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.runs import load, nearest
from pipeline.budget import room_for_a_trial
from pipeline.home import Home
from pipeline.lock import exclusive
from pipeline.preflight import SETTINGS_FILE
from pipeline.settings import PLACED, PRIVATE, SweepSettings
from trainables.errors import UsageError, UserError
from trainables.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.options import ExtendOptions, RepeatOptions, ResumeOptions

HIDDEN = "***"
"""Stands for a password that was not stored."""


def resumed(options: ResumeOptions | ExtendOptions | RepeatOptions) -> SweepSettings:
    """The settings of a sweep as it was started, with what may differ between two starts taken from ``options``.

    Those of ``PLACED`` place it anew: what the others of them came to was for other trials at once.

    Raises:
        UserError: settings that cannot be read.
        UsageError: no such sweep in the home, or an address whose password was not stored, and that is not given again.
    """
    home = Home.find(options.home)
    return _settings(options, home, _read(home, options.name))


def _settings(
    options: ResumeOptions | ExtendOptions | RepeatOptions, home: Home, saved: dict[str, Any]
) -> SweepSettings:
    given: dict[str, Any] = {
        name: getattr(options, name) for name in PRIVATE if getattr(options, name, None) is not None
    }
    if not isinstance(given.get("fuse"), str):  # that of confirm counts runs in its own process
        given.pop("fuse", None)
    if any(name in given for name in PLACED):
        saved = _placed_anew(saved)
    started = {**saved["started_with"], **saved["settings"], "home": str(home.root), **given}
    for name in ("tracking", "study"):
        if hasattr(options, name) and HIDDEN in str(started.get(name) or ""):
            raise UsageError(f"--{name} was {started[name]}; its password is not stored: give --{name} again")
    return SweepSettings.from_json(started)


def extended(options: ExtendOptions) -> SweepSettings:
    """Make a finished sweep larger, and give its new settings: placed like a new one of its size.

    Raises:
        UserError: one that is unfinished or in use.
        UsageError: no such sweep, nothing to add, or a budget that is no larger.
    """
    home = Home.find(options.home)
    settings = _settings(options, home, _placed_anew(_read(home, options.name)))
    if options.trials < 0 or (options.trials == 0 and options.max_kimg is None):
        raise UsageError(f"--trials is {options.trials}; give 1 or more trials to add, or a larger --max-kimg")
    if options.max_kimg is not None and options.max_kimg <= settings.max_kimg:
        raise UsageError(
            f"--max-kimg is {options.max_kimg}; the trials of {settings.name!r} have {settings.max_kimg} already: "
            "give more"
        )
    larger = dataclasses.replace(settings, trials=settings.trials + options.trials)
    if options.max_kimg is not None:
        budgets = (*settings.budgets, settings.max_kimg)
        larger = dataclasses.replace(larger, max_kimg=options.max_kimg, budgets=budgets)
    with exclusive(home, settings.name):
        _require_finished(settings, home)
        path = home.sweep(settings.name) / SETTINGS_FILE
        fixed = {name: value for name, value in larger.to_json().items() if name not in PRIVATE}
        write_json(path, {**_placed_anew(_read(home, settings.name)), "settings": fixed})
    return larger


def _placed_anew(saved: dict[str, Any]) -> dict[str, Any]:
    """A saved sweep whose place is again what was asked for, not what that came to for other trials."""
    return {**saved, "started_with": {**saved["started_with"], **saved.get("asked", {})}}


def _require_finished(settings: SweepSettings, home: Home) -> None:
    sweep = load(settings.name, home=home.root, tracking=settings.tracking)
    trials, total = sweep.trials, sweep.settings.get("total_kimg")  # the total that it last ran with
    unfinished = trials["status"].isin((schema.RUNNING, schema.INTERRUPTED)).sum() if len(trials) else 0
    missing = settings.trials - len(trials)
    room = room_for_a_trial(float(trials["kimg"].fillna(0.0).sum()), 0, settings.max_kimg, total)
    if unfinished or (missing > 0 and settings.sampler != "grid" and room):
        raise UserError(
            f"sweep {settings.name!r} has {unfinished + max(0, missing)} trials that have not ended; "
            f"`gansweep resume {settings.name}` first"
        )


def _read(home: Home, name: str) -> dict[str, Any]:
    path: Path = home.sweep(name) / SETTINGS_FILE
    if not path.is_file():
        known = sorted(found.parent.name for found in home.root.glob(f"trials/*/{SETTINGS_FILE}"))
        there = f"known: {', '.join(known)}" if known else "there is none yet"
        raise UsageError(f"no sweep {name!r} in home {home.root}{nearest(name, known)}; {there}")
    try:
        saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = (saved.get("settings"), saved.get("started_with"), saved.get("asked", {}))
        if not all(isinstance(part, dict) for part in parts):
            raise ValueError("it lacks its settings")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"cannot read settings {path}: {error}") from error
    return saved
