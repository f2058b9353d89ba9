"""How a trial ended: one rule for the study, the tracking and the progress display."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Mapping


_OUT_OF_MEMORY = re.compile(
    r"MemoryError|allocate memory|out of memory|memory usage threshold|running low on memory", re.IGNORECASE
)
"""How torch (GPU and CPU), Python, NumPy, the system and Ray's memory monitor say it."""
_KILLED = re.compile(r"its worker process has died|ActorUnavailableError")
"""Ray's words for a process that ended without any; the second where it is started anew, as those of fused trials."""
OUT_OF_MEMORY, KILLED, CRASHED = "out of memory: ", "killed: ", "crashed: "
"""What the reasons of processes that ended begin with."""
NO_RESULT = "ended before its first result"


@dataclass(frozen=True)
class Outcome:
    """A status of ``analysis.schema.STATUSES`` and, where it needs one, the reason."""

    status: str
    reason: str = ""


def outcome(result: Mapping[str, Any] | None, max_kimg: int, crash: str | None = None) -> Outcome:
    """Judge a trial by its last result, or by the text of the error that ended it, whose last line says most."""
    if crash is not None:
        return Outcome(schema.FAILED, _crash_reason(crash))
    if not result or schema.KIMG not in result:
        return Outcome(schema.FAILED, NO_RESULT)
    if result.get("failure"):
        return Outcome(schema.FAILED, str(result["failure"]))
    if result.get("stopped"):
        return Outcome(schema.STOPPED, str(result["stopped"]))
    if result[schema.KIMG] >= max_kimg:
        return Outcome(schema.COMPLETE)
    return Outcome(schema.STOPPED, f"stopped by the scheduler at {result[schema.KIMG]} kimg")


def came_to_its_end(status: str | None, reason: str) -> bool:
    """Whether a training is over: it completed, or its failure (diverged, beyond hope) is its result.

    One that ended with its process, for want of memory or a node that was lost, may well succeed another time.
    """
    if status == schema.FAILED:
        return not reason.startswith((OUT_OF_MEMORY, KILLED, CRASHED, NO_RESULT))
    return status == schema.COMPLETE


def ran_out_of_memory(text: str) -> bool:
    """Whether the text of an error says so."""
    return _OUT_OF_MEMORY.search(text) is not None


def _crash_reason(text: str) -> str:
    last = (text.strip().splitlines() or ["worker died"])[-1][:300]
    if ran_out_of_memory(text):
        return f"{OUT_OF_MEMORY}{last}"
    if _KILLED.search(text):
        return f"{KILLED}the system ended the trial's process, most often for want of memory"
    return f"{CRASHED}{last}"
