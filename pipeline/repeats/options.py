"""Options of `confirm` and `ablate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class RepeatOptions:
    """Options of every command that trains configurations of a sweep again."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """The sweep."""
    seeds: int = 5
    """Runs of each configuration, on the same seeds. A larger number later only adds the missing runs."""
    max_kimg: int | None = None
    """Budget of each run, in thousands of real images seen; default: the sweep's."""
    home: Path | None = None
    """Folder of all sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI; default: where the sweep was tracked."""
    data: Path | None = None
    """Folder of tagged images if it has moved; its contents must be the same."""
    address: str | None = None
    """Ray cluster to run on: auto or HOST:PORT; default: as the sweep was started."""
    concurrent: int | None = None
    """Runs at once; default: as the sweep was started."""
    time_limit: str | None = None
    """Stop after this time: 90s, 30m, 2h; the same command continues."""
    min_tag_accuracy: float | None = None
    """Least tag accuracy of the winner, 0 to 1, as for `gansweep rank`; 0: the lowest distance wins."""
    json: bool = False
    """Print one JSON object."""


@dataclass(frozen=True)
class ConfirmOptions(RepeatOptions):
    """Train the best configurations and the recipe again on fresh seeds with the full budget, and compare them."""

    top: int | None = None
    """Number of configurations: the winner by the scores of the search, then the others that follow their tags, lowest
    distance first; the recipe is added. Default: 5."""
    trial: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Key of a trial to confirm instead of the best; the recipe is added. May be repeated."""
    fuse: int | None = None
    """Train this many runs of equal structure as one batched program, in this process; faster on a GPU that small
    networks leave idle. Default: one by one."""


@dataclass(frozen=True)
class AblateOptions(RepeatOptions):
    """Remove the winner's tricks one at a time, and add them to the recipe one at a time, on the same seeds."""

    trial: str | None = None
    """Key of the trial; default: the winner, after a confirmation by its means."""
    seeds: int = 3
    """Runs of each variant, on the same seeds. A larger number later only adds the missing runs."""
    mode: Literal["leave-one-out", "add-one", "both"] = "both"
    """leave-one-out: the winner without one trick; add-one: the recipe with one; both."""
    with_value: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="with")] = ()
    """k=v: compare the recipe with the recipe changed in this one value, whatever won. May be repeated."""
    only: str | None = None
    """Dimensions to try, separated by commas; default: all in which the winner differs from the recipe."""
