"""How a trial ended: one rule for the study, the tracking and the progress line."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema
from trainables.errors import ScorerError, first_line, is_disk_error

if TYPE_CHECKING:
    from collections.abc import Mapping


CRASH = "crash"
"""Key of a result: the reason for which the trial raises at its next step, see ``tune_adapters.reported_errors``."""
OUT_OF_MEMORY, KILLED, CRASHED = "out of memory: ", "killed: ", "crashed: "
"""Kinds of crashes, which their reasons begin with."""
ENVIRONMENT = "environment: "
"""What the reason of a fault outside the trial (its disk, its scorer) begins with: the trial is interrupted, and
continues from its checkpoint."""
_ALLOCATION = re.compile(r"MemoryError|allocate memory|out of memory", re.IGNORECASE)
"""Torch raises a plain ``RuntimeError`` when the CPU's allocator or a CUDA call runs out of memory."""
NO_RESULT = "ended before its first result"


@dataclass(frozen=True)
class TrialEnd:
    """A status of ``analysis.schema.STATUSES`` and, unless it is complete, the reason."""

    status: str
    reason: str = ""


def outcome(result: Mapping[str, Any] | None, max_kimg: int, crash: str | None = None) -> TrialEnd:
    """Return how a trial ended.

    Args:
        result: its last one.
        max_kimg: its budget.
        crash: reason of the error that ended it, as ``crash_reason`` gives it.
    """
    if crash is None and result:
        crash = result.get(CRASH)
    if crash is not None and crash.startswith(ENVIRONMENT):
        return TrialEnd(schema.INTERRUPTED, crash)
    if crash is not None:
        return TrialEnd(schema.FAILED, crash or f"{CRASHED}worker died")
    if not result or schema.KIMG not in result:
        return TrialEnd(schema.FAILED, NO_RESULT)
    if result.get("failure"):
        return TrialEnd(schema.FAILED, str(result["failure"]))
    if result.get("stopped"):
        return TrialEnd(schema.STOPPED, str(result["stopped"]))
    cost = schema.cost(result)
    if cost >= max_kimg:
        return TrialEnd(schema.COMPLETE)
    unit = "kimg of the recipe" if schema.COST_KIMG in result else "kimg"
    return TrialEnd(schema.STOPPED, f"stopped by the scheduler at {cost} {unit}")


def is_final(status: str | None, reason: str) -> bool:
    """Return whether a training is over: it completed, or its failure (diverged, early failure) is its result.

    A trial that crashed, ran out of memory or lost its process or node may succeed when it is repeated.
    """
    if status == schema.FAILED:
        return not reason.startswith((OUT_OF_MEMORY, KILLED, CRASHED, NO_RESULT))
    return status == schema.COMPLETE


def crash_reason(error: BaseException) -> str:
    """Classify an error that a trial has raised, in one line of at most 300 characters after its kind."""
    if is_disk_error(error) or isinstance(error, ScorerError):
        return f"{ENVIRONMENT}{first_line(error)[:300]}"
    name = type(error).__qualname__
    if type(error).__module__ != "builtins":
        name = f"{type(error).__module__}.{name}"
    text = f"{name}: {first_line(error)}" if str(error) else name
    allocation = isinstance(error, RuntimeError) and _ALLOCATION.search(str(error))  # torch.OutOfMemoryError is one
    memory = isinstance(error, MemoryError) or allocation or getattr(error, "errno", None) == errno.ENOMEM
    return f"{OUT_OF_MEMORY if memory else CRASHED}{text[:300]}"
