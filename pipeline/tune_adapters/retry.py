"""The second attempt of a trial that crashed, without neighbours if it ran out of memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from ray.tune import PlacementGroupFactory

from pipeline.cluster.ray_runtime import cluster_nodes
from pipeline.trial_status import CRASH, ENVIRONMENT, OUT_OF_MEMORY
from pipeline.tune_adapters.reported_errors import ErrorFiles
from trainables.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ray.tune.experiment import Trial

    from pipeline.cluster.ray_runtime import Node


@dataclass
class RetryState:
    """What the scheduler, which learns of a crash first, shares with the searcher. Trials are keyed by Tune's id."""

    reported: dict[str, str] = field(default_factory=dict)
    """Reasons that trials have reported for the errors that they are about to raise."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Reasons of the last crashes."""
    waiting: set[str] = field(default_factory=set)
    """Trials that wait until a node has become empty for them."""
    errors: ErrorFiles = field(default_factory=ErrorFiles)
    """Errors of trials that reported none."""
    disk_fault: str = ""
    """Reason for which a fault of the disk interrupted a trial: no further one starts, and the sweep ends."""
    fused: bool = False
    """Trials have no cores of their own: several share a process that has."""

    def require_disk(self, sweep: str) -> None:
        """Report what interrupted the trials.

        Raises:
            DiskError: a fault of the disk.
        """
        if self.disk_fault:
            raise DiskError(
                f"sweep {sweep!r} was interrupted: {self.disk_fault.removeprefix(ENVIRONMENT)}; then the same command "
                "continues from the checkpoints"
            )

    def record_result(self, trial: Trial, result: dict[str, Any]) -> None:
        """Keep the reason of an error that the trial is about to raise."""
        if CRASH in result:
            self.reported[trial.trial_id] = str(result[CRASH])

    def record(self, trial: Trial) -> None:
        """Record a crash. A trial that is repeated because memory ran out gets the largest node to itself.

        A fused trial gets a program of its own instead, whatever its reason, until its end: a process that dies takes
        all its trials with it, and which of them allocated too much cannot be known.
        """
        unreported = self.errors.reason(trial)
        reason = self.reported.pop(trial.trial_id, None) or unreported
        self.reasons[trial.trial_id] = reason
        # Tune has already marked the trial as failed only if it will repeat it.
        if self.fused:
            if trial.status == trial.ERROR:
                trial.config["alone"] = True
        elif trial.status == trial.ERROR and reason.startswith(OUT_OF_MEMORY):
            asked = cast("PlacementGroupFactory", trial.placement_group_factory).required_resources
            trial.update_resources(exclusive_node(cluster_nodes(), asked))
            self.waiting.add(trial.trial_id)


def exclusive_node(nodes: Sequence[Node], asked: dict[str, float]) -> PlacementGroupFactory:
    """Return a request for all cores of the fitting node with most cores, and for whole GPUs if GPUs were asked for.

    No other trial runs beside it, since each takes a core, and no smaller node can take it.
    """
    gpus = asked.get("GPU", 0.0)
    fitting = [node for node in nodes if node.cpus >= asked["CPU"] and node.gpus >= gpus]
    largest = max(fitting, key=lambda node: node.cpus, default=None)
    cores = largest.cpus if largest else asked["CPU"]
    return PlacementGroupFactory([{"CPU": cores, **({"GPU": max(1.0, gpus)} if gpus else {})}])
