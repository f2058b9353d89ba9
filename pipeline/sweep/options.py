"""Options of `run`, `resume` and `extend`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import tyro

from pipeline.settings import SweepSettings

HELP_GROUPS: Final = {
    "data": ("data", "image_size", "fit", "channels", "attributes", "domain_a", "domain_b", "max_bad_share"),
    "budget": ("trials", "max_kimg", "budget", "total_kimg", "patience", "time_limit", "max_trial_seconds"),
    "search": (
        "sampler", "prior_confidence", "like", "objectives", "set", "fix", "range", "choices", "init_from", "seed",
    ),
    "early stopping": ("scheduler", "eval_kimg", "end_hopeless"),
    "scores": (
        "samples", "rung_samples", "min_tag_accuracy", "extractor", "weights", "resize", "extractor_precision",
        "cascade", "fid_infinity", "mmd",
    ),
    "resources": ("concurrent", "cpus_per_trial", "gpus_per_trial", "fuse", "pixels", "precision", "address"),
    "storage": ("home", "storage", "tracking", "study", "checkpoint_seconds", "adopt"),
}  # fmt: skip
"""Options of the commands that train, by the group in which ``--help`` lists them; all others come first."""


@dataclass(frozen=True)
class RunOptions(SweepSettings):
    """Search the space of a system for the best generator of a folder of tagged images."""

    config: Path | None = None
    """YAML file of these options, e.g. `image-size: 64`; options on the command line take precedence."""
    print_config: bool = False
    """Print the options as YAML for --config, and run nothing."""

    def sweep_settings(self) -> SweepSettings:
        """Return the settings without what concerns the command line only."""
        return SweepSettings(**{field.name: getattr(self, field.name) for field in dataclasses.fields(SweepSettings)})


@dataclass(frozen=True)
class ResumeOptions:
    """Resume an interrupted sweep: ended trials stay, running ones continue from their checkpoints."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI; default: where the sweep was tracked."""
    study: str | None = None
    """Optuna storage URL; default: the sweep's."""
    data: Path | None = None
    """Folder of tagged images if it has moved; its contents must be the same."""
    address: str | None = None
    """Ray cluster to run on: auto or HOST:PORT; default: as it was started."""
    concurrent: int | None = None
    """Trials at once; default: as it was started."""
    fuse: str | None = None
    """Fused trials, as for run; all trials are placed anew. Default: as it was started."""
    time_limit: str | None = None
    """Stop the whole sweep after this time: 90s, 30m, 2h."""
    total_kimg: int | None = None
    """Cap on the training of all trials together, including ended ones; default: as it was started."""
    patience: int | None = None
    """End when nothing has moved for the training of this many trials; default: as it was started."""


@dataclass(frozen=True)
class ExtendOptions(ResumeOptions):
    """Extend a finished sweep by more trials, or by more training for the best ones."""

    concurrent: int | None = None
    """Trials at once; default: as it was started, or as many as the cores and GPUs hold for a sweep of its size."""
    trials: int = 0
    """Number of trials to add; the sampler knows all earlier ones."""
    max_kimg: int | None = None
    """A larger budget per trial: the best third of the complete trials continue to it from their checkpoints."""
