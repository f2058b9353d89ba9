"""Sweeps that take seconds."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from mlflow import MlflowClient
from rich.console import Console

from analysis import schema
from pipeline.home import Home
from pipeline.settings import SweepSettings
from pipeline.sweep.run import run_sweep
from tests.support.faces import SIZE

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from mlflow.entities import Run


NAME = "tiny"
TRIALS, CONCURRENT = 6, 2
SEED = 3
CRASHES = 2
"""Number of the trial that cannot write its configuration, because a folder has the file's name."""

FIXED = (
    "generator.width=4",
    "discriminator.width=4",
    "generator.noise_dim=8",
    "generator.oversize=false",
    "updates.generator_steps=1",
    "training.batch_size=32",
)


def tiny_settings(home: Path, data: Path, name: str = NAME, **changes: Any) -> SweepSettings:
    """Return the settings of a sweep that takes seconds."""
    settings: dict[str, Any] = {
        "space": "acgan",
        "data": data,
        "name": name,
        "trials": TRIALS,
        "image_size": SIZE,
        "max_kimg": 2,
        "eval_kimg": 1,
        "samples": 32,
        "concurrent": CONCURRENT,
        "gpus_per_trial": "0",
        "end_hopeless": "none",  # discriminators soon win against such networks
        "fix": FIXED,
        "home": home,
    }
    return SweepSettings(**{**settings, **changes})


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended, with independent access to its records."""

    settings: SweepSettings
    status: str
    printed: str

    @property
    def home(self) -> Home:
        return Home.find(self.settings.home)

    @property
    def folder(self) -> Path:
        return self.home.sweep(self.settings.name)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.home.tracking)

    def runs(self, kind: str = schema.KIND_TRIAL) -> list[Run]:
        """Return the runs of a kind, in the order of trial numbers."""
        experiment = self.client.get_experiment_by_name(self.settings.name)
        runs = self.client.search_runs([experiment.experiment_id], max_results=1000)
        runs = [run for run in runs if run.data.tags[schema.KIND] == kind]
        return sorted(runs, key=lambda run: run.data.tags.get(schema.KEY, ""))

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Return the trials of the study."""
        return optuna.load_study(study_name=self.settings.name, storage=self.home.study).trials


def sweep(settings: SweepSettings) -> Swept:
    """Run a sweep in this process."""
    printed = io.StringIO()
    status = run_sweep(settings, Console(file=printed, width=300, highlight=False))
    return Swept(settings, status, printed.getvalue())
