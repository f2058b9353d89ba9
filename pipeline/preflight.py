"""What is checked before the first trial starts: memory, disk, and that a name still means the same sweep."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.settings import PRIVATE
from trainables.errors import UserError
from trainables.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.settings import SweepSettings
    from search_spaces.space import Space

SETTINGS_FILE = "sweep.json"
GIB = 2**30
MEMORY_PER_TRIAL = 0.8 * GIB
"""Measured: a worker with torch, the extractor and a small GAN holds 0.6 to 0.9 GiB."""
DISK_PER_TRIAL = 50 * 2**20
"""Weights, pictures and a share of the databases of a trial at default widths."""


def require_resources(settings: SweepSettings, picture_bytes: int, folder: Path) -> None:
    """Refuse a sweep that would run out of memory or disk.

    Raises:
        UserError: what is needed, what is there, what to change.
    """
    # The pictures lie in the object store and once more in the driver while they are sent there.
    memory = settings.slots() * MEMORY_PER_TRIAL + 2 * picture_bytes
    available = psutil.virtual_memory().available
    if memory > available:
        raise UserError(
            f"too little memory: {settings.slots()} trials at once need about {memory / GIB:.1f} GiB, "
            f"{available / GIB:.1f} GiB are free; use a smaller --concurrent or --image-size"
        )
    disk = settings.trials * DISK_PER_TRIAL
    free = shutil.disk_usage(folder).free
    if disk > free:
        raise UserError(
            f"too little disk: {settings.trials} trials need about {disk / GIB:.1f} GiB below {folder}, "
            f"{free / GIB:.1f} GiB are free; use another --home or fewer --trials"
        )


def require_same_sweep(path: Path, settings: SweepSettings, space: Space, data: str) -> None:
    """Save what defines the sweep under its name; refuse a name that already stands for something else.

    Raises:
        UserError: the saved sweep differs, with the first differences.
    """
    mine = {
        "settings": {name: value for name, value in settings.to_json().items() if name not in PRIVATE},
        "space": space.to_json(),
        "data": data,
    }
    full = {**mine, "started_with": settings.public()}
    if not path.exists():
        write_json(path, full)
        return
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    differences = _differences({name: saved.get(name) for name in mine}, json.loads(json.dumps(mine)))
    if differences:
        raise UserError(
            f"sweep {settings.name!r} exists with another {'; '.join(differences[:3])}; "
            "take another --name, or the same settings to go on with it"
        )


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    found = []
    for name, value in new["settings"].items():
        before = (old.get("settings") or {}).get(name)
        if before != value:
            found.append(f"--{name.replace('_', '-')} ({before}, now {value})")
    if old.get("space") != new["space"] and not found:
        found.append("space (its dimensions or recipe have changed)")
    if old.get("data") != new["data"]:
        found.append(f"data (fingerprint {old.get('data')}, now {new['data']})")
    return found
