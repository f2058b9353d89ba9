"""How a trial ended: one rule for the study, the tracking and the progress display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Outcome:
    """A status of ``analysis.schema.STATUSES`` and, where it needs one, the reason."""

    status: str
    reason: str = ""


def outcome(result: Mapping[str, Any] | None, max_kimg: int, crash: str | None = None) -> Outcome:
    """Judge a trial by its last result, or by the exception that ended it."""
    if crash is not None:
        return Outcome(schema.FAILED, f"crashed: {crash}")
    if not result or schema.KIMG not in result:
        return Outcome(schema.FAILED, "ended before its first result")
    if result.get("failure"):
        return Outcome(schema.FAILED, str(result["failure"]))
    if result[schema.KIMG] >= max_kimg:
        return Outcome(schema.COMPLETE)
    return Outcome(schema.STOPPED, f"stopped by the scheduler at {result[schema.KIMG]} kimg")
