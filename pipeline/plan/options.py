"""The options of ``gansweep plan``: those of ``run``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pipeline.settings import SweepSettings


@dataclass(frozen=True)
class PlanOptions(SweepSettings):
    """Estimate what a sweep would cost, from a few measured updates and scores; takes the options of run."""

    name: str = ""
    """Name of the sweep: the plan is kept with it, and compared with what it really took."""
    json: bool = False
    """Print one JSON object."""

    def sweep_settings(self) -> SweepSettings:
        """What ``run`` would be given."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(SweepSettings)}
        return SweepSettings(**{**given, "name": self.name or "plan"})
