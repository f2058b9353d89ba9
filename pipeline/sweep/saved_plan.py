"""The saved plan of a sweep, with which its actual cost is compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.mlflow_reader.connect import readable_errors
from analysis.plan_accuracy import changed_options
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.settings import SweepSettings
    from pipeline.tracking.tracker import Tracker


def load_plan(folder: Path) -> dict[str, Any] | None:
    """Load the plan in a sweep's folder; ``None`` if there is none.

    Raises:
        UserError: the file cannot be read.
    """
    path = folder / schema.PLAN_FILE
    if not path.is_file():
        return None
    try:
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(plan["settings"], dict):
            raise ValueError("it lacks its settings")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}; delete it to continue without the plan") from error
    return plan


def log_plan(tracker: Tracker, folder: Path, settings: SweepSettings, say: Callable[[str], None]) -> None:
    """Log the saved plan to the sweep's parent run, where the report reads it.

    Raises:
        UserError: the file cannot be read.
        AnalysisError: the server does not answer.
    """
    plan = load_plan(folder)
    if plan is None:
        return
    if others := changed_options(plan, settings.to_json()):
        say(f"{folder / schema.PLAN_FILE} was made with another {', '.join(others)}; the sweep is not compared with it")
        return
    with readable_errors(tracker.client.tracking_uri):
        tracker.client.log_dict(tracker.parent, plan, schema.PLAN_FILE)
