"""List the sweeps of a home or a tracking server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.errors import AnalysisError
from analysis.mlflow_reader.connect import readable_errors
from analysis.mlflow_reader.sweep import known_sweeps, load, open_tracking
from pipeline.cli.status import sweep_status
from pipeline.sweep.saved_settings import SETTINGS_FILE
from pipeline.sweep_lock import is_locked

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.home import Home

UNKNOWN, PREPARED, PREPARING = "unknown", "prepared", "preparing"
"""States besides those of trials: cannot be read; no trial yet, without and with a driver."""


def describe_sweeps(home: Home, tracking: str | None) -> list[dict[str, Any]]:
    """Return name, system, status, numbers of trials, best distance and bytes on disk of each sweep, by name."""
    names = {path.parent.name for path in home.root.glob(f"trials/*/{SETTINGS_FILE}")}
    if tracking is not None or home.tracking_file.is_file():
        uri = tracking or home.tracking
        client = open_tracking(home.root, tracking)
        with readable_errors(uri):
            names |= set(known_sweeps(client))
    return [_describe(home, name, tracking) for name in sorted(names)]


def _describe(home: Home, name: str, tracking: str | None) -> dict[str, Any]:
    driven = is_locked(home, name)
    about: dict[str, Any] = {"name": name, "system": None, "trials": {}, "best": {}, "bytes": _size(home, name)}
    try:
        sweep = load(name, home=home.root, tracking=tracking)
    except AnalysisError as error:
        is_untracked = error.exit_code == 2 or (tracking is None and not home.tracking_file.is_file())
        is_prepared = is_untracked and (home.sweep(name) / SETTINGS_FILE).is_file()
        status = (PREPARING if driven else PREPARED) if is_prepared else UNKNOWN
        return {**about, "status": status, "reason": str(error)}
    found = sweep_status(sweep, driven=driven or tracking is not None)
    ended = schema.COMPLETE if sweep.status == schema.COMPLETE else schema.INTERRUPTED
    status = schema.RUNNING if driven else sweep.status if tracking is not None else ended
    system = sweep.settings.get("space") or sweep.space.get("name")
    return {**about, "system": system, "status": status, "trials": found["trials"], "best": found["best"]}


def _size(home: Home, name: str) -> int:
    """Return the bytes of a sweep's files in the home; databases are shared, and storage elsewhere does not count."""
    return sum(map(_bytes, (home.sweep(name), home.artifacts(name))))


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:  # removed by a trial that ends
            continue
    return total


def format_sweeps(found: list[dict[str, Any]]) -> str:
    """Format the result of ``describe_sweeps`` as a table."""
    if not found:
        return "no sweeps yet; `gansweep run` starts one"
    rows = [("name", "system", "status", "trials", "best distance", "size")]
    for one in found:
        counts = one["trials"]
        asked = counts.get("asked")
        ended = sum(counts.get(status, 0) for status in (schema.COMPLETE, schema.STOPPED, schema.FAILED))
        best = one["best"].get(schema.DISTANCE)
        rows.append(
            (
                one["name"],
                one["system"] or "-",
                one["status"],
                f"{ended} of {asked}" if asked else str(ended),
                f"{best['value']:.4g}" if best else "-",
                f"{one['bytes'] / 2**20:.1f} MiB",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
