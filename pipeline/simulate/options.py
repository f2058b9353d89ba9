"""Options of `simulate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.settings import Sampler, Scheduler


@dataclass(frozen=True)
class SimulateOptions:
    """Replay the recorded learning curves of a sweep without early stopping through other samplers and schedulers."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """Name of a sweep that was run with --scheduler none."""
    workers: int = 256
    """Number of concurrent trials."""
    sampler: Annotated[tuple[Sampler, ...], tyro.conf.UseAppendAction] = ()
    """A sampler to compare; may be repeated. Default: random, tpe and prior."""
    scheduler: Annotated[tuple[Scheduler, ...], tyro.conf.UseAppendAction] = ()
    """A scheduler to compare; may be repeated. Default: none, asha and mo-asha."""
    trials: int | None = None
    """Training budget of each search: what this many trials cost without early stopping; default: a quarter of the
    recorded trials."""
    repeats: int = 20
    """Number of simulated sweeps per combination, on different seeds."""
    seed: int = 0
    """First seed; equal seeds give equal sweeps."""
    plot: Path | None = None
    """A .png file to plot the best distance so far against the total training."""
    home: Path | None = None
    """Directory of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, if the sweep was not tracked in its home."""
    json: bool = False
    """Print one JSON object."""
