"""Crashes: what Tune wrote of one, and a second try without neighbours for a trial that ran out of memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ray.tune import PlacementGroupFactory

from pipeline.cluster import cluster_nodes
from pipeline.outcome import ran_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.tune.experiment import Trial

    from pipeline.cluster import Node

_BEGIN = re.compile(r"^Failure # .*\n", re.MULTILINE)
"""What Tune writes above each failure of a trial."""


@dataclass
class Failures:
    """What the scheduler, which hears of a crash first, has to tell the searcher. Trials are known by Tune's id."""

    texts: dict[str, str] = field(default_factory=dict)
    """What the last crash of a trial said."""
    waiting: set[str] = field(default_factory=set)
    """Trials that wait until a node has become empty for them."""
    fused: bool = False
    """Trials have no cores of their own: several share a process that has."""

    def record(self, trial: Trial) -> None:
        """Take in a crash. A trial that is to be tried again for want of memory gets the largest node to itself.

        A fused one gets a program of its own instead, whatever it died of, and to its end: a process that ends takes
        all its trials with it, nobody can tell which of them asked for too much, and together they might again.
        """
        self.texts[trial.trial_id] = text = error_text(trial)
        # Tune has marked a trial as failed already only if it tries it again.
        if self.fused:
            if trial.status == trial.ERROR:
                trial.config["alone"] = True
        elif trial.status == trial.ERROR and ran_out_of_memory(text):
            asked = cast("PlacementGroupFactory", trial.placement_group_factory).required_resources
            trial.update_resources(whole_node(cluster_nodes(), asked))
            self.waiting.add(trial.trial_id)


def error_text(trial: Trial) -> str:
    """What the last crash said. Tune's own ``get_error`` looks where the file is copied to only later."""
    file = trial.error_file
    text = Path(file).read_text(encoding="utf-8") if file and Path(file).is_file() else ""
    return _BEGIN.split(text)[-1]


def whole_node(nodes: Sequence[Node], asked: dict[str, float]) -> PlacementGroupFactory:
    """The request for all cores, and where GPUs are asked for for whole ones, of the node with most cores that fits.

    No other trial runs beside it, since each takes a core; no smaller node can take it.
    """
    gpus = asked.get("GPU", 0.0)
    fitting = [node for node in nodes if node.cpus >= asked["CPU"] and node.gpus >= gpus]
    largest = max(fitting, key=lambda node: node.cpus, default=None)
    cores = largest.cpus if largest else asked["CPU"]
    return PlacementGroupFactory([{"CPU": cores, **({"GPU": max(1.0, gpus)} if gpus else {})}])
