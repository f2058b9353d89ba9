"""A Ray Tune searcher that issues the runs of a plan in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.trial_status import ENVIRONMENT
from pipeline.tune_adapters.trial_searcher import TrialSearcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.repeats.plan import Repeat


class PlanSearcher(TrialSearcher):
    """Issues the runs of a plan in their order; MLflow records which have ended."""

    def __init__(self, plan: Sequence[Repeat]) -> None:
        super().__init__()
        self._left = list(plan)
        self._running: set[str] = set()

    @property
    def pending(self) -> int:
        """Number of runs that are still to be issued."""
        return len(self._left)

    @property
    def running(self) -> int:
        """Number of runs that were issued and have not ended."""
        return len(self._running)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # FINISHED is a str
        """Return the next run, ``FINISHED`` if there are no more, or ``None`` to wait."""
        if self.failures.waiting:
            return None  # a run that started now would take a core of the node that must become empty
        if not self._left or self.failures.disk_fault:
            return self.FINISHED
        self._running.add(trial_id)
        return self._left.pop(0).config()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Count one run less as running, unless a fault of the disk interrupted it."""
        crash = self.failures.reasons.pop(trial_id, "") if error else ""
        if crash.startswith(ENVIRONMENT):
            self.failures.disk_fault = crash
            return
        self._running.discard(trial_id)
