"""The options of ``gansweep plan``: those of ``run``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.sweep.options import RunOptions

if TYPE_CHECKING:
    from pipeline.settings import SweepSettings


@dataclass(frozen=True)
class PlanOptions(RunOptions):
    """Estimate the cost of a sweep from a few measured updates and scores; takes the options of run."""

    name: str = ""
    """Name of the sweep: the plan is saved with it, and compared with its actual cost."""
    json: bool = False
    """Print one JSON object."""

    def sweep_settings(self) -> SweepSettings:
        """Return the settings that ``run`` would be given."""
        return dataclasses.replace(super().sweep_settings(), name=self.name or "plan")
