"""The cores, GPUs and worker slots of a sweep's trials.

A worker slot is a process that trains one trial at a time, or several fused trials as one batched program.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resources:
    """What one worker slot takes, and how many slots run at once."""

    cpus: int
    """Cores of a slot."""
    gpus: float
    """GPUs of a slot, or a share of one."""
    fused: int
    """Trials that a slot trains at once; 1: trials are not fused."""
    capacity: int
    """Slots that fit on the machines or that ``--concurrent`` allows, also where fewer trials are left to run."""
    trials: int
    """Trials to run."""

    @property
    def slots(self) -> int:
        """Worker slots that these trials use at once."""
        return min(math.ceil(self.trials / self.fused), self.capacity)

    @property
    def trials_at_once(self) -> int:
        """Trials that run at once, fused ones counted individually."""
        return self.slots * self.fused


@dataclass(frozen=True)
class ResourceRequest:
    """The resources that the settings ask for; placement decides what is ``None``."""

    trials: int
    cpus: int
    gpus: float | None
    """GPUs of a slot; ``None``: as many trials share a GPU as its memory holds."""
    fused: int | None
    """Trials that a slot trains at once; ``None``: fuse where it pays."""
    concurrent: int | None
    """Slots at once; ``None``: as many as fit."""

    def use_cores(self) -> Resources:
        """Resources on the cores of this machine, without the GPUs and the fusing that only placement can decide."""
        capacity = self.concurrent or max(1, usable_cores() // self.cpus)
        return Resources(self.cpus, self.gpus or 0.0, self.fused or 1, capacity, self.trials)


def usable_cores() -> int:
    """Count the cores that this process may use: its affinity, limited by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores
