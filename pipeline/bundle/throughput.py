"""Measure latency and throughput of an exported generator on this machine, for its model card."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.bundle.backends import BACKENDS
from pipeline.bundle.bundle import Bundle
from pipeline.bundle.example_inputs import example_inputs

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 64
_SECONDS = 0.5
"""Seconds after which no further run starts; the median of a slow network may be of one run."""


@dataclass(frozen=True)
class Speed:
    """Median times of one backend, and the size of its file."""

    latency_ms: float
    """Milliseconds for one image."""
    images_per_second: float
    """Images per second in batches of ``BATCH``."""
    megabytes: float


def measure_speeds(folder: Path, backends: list[str]) -> dict[str, Any]:
    """Measure every backend of an export, with as many threads as torch.

    Returns:
        ``{"machine": ..., "backends": {name: {"latency_ms", "images_per_second", "megabytes"}}}``.
    """
    import torch

    threads = torch.get_num_threads()
    speeds = {}
    for name in backends:
        bundle = Bundle.load(folder, name, threads=threads)
        seconds = {count: _median_seconds(_drawing(bundle, count)) for count in (1, BATCH)}
        size = (folder / BACKENDS[name]).stat().st_size / 1e6
        speeds[name] = asdict(Speed(1000 * seconds[1], BATCH / seconds[BATCH], size))
    return {"machine": _machine(threads), "backends": speeds}


def _drawing(bundle: Bundle, count: int) -> Callable[[], object]:
    inputs = example_inputs(bundle, count)
    return lambda: bundle.network.render(*inputs)


def _median_seconds(run: Callable[[], object]) -> float:
    run()  # warm-up: the first run also plans and allocates
    times: list[float] = []
    while sum(times) < _SECONDS:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _machine(threads: int) -> str:
    import onnxruntime
    import torch

    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):  # not Linux, or another CPU kind: keep the platform's name
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return (
        f"{processor}, {threads} of {os.cpu_count()} cores, no GPU, torch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}"
    )
