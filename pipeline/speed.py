"""How fast an exported generator draws here: what its model card says of latency and throughput."""

from __future__ import annotations

import contextlib
import os
import platform
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backends import BACKENDS
from pipeline.bundle import Bundle
from pipeline.examples import example_inputs

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 64
_SECONDS = 0.5
"""No further run after this time: the median is of many runs, or of one where a network is so slow."""


@dataclass(frozen=True)
class Speed:
    """Of one way to draw: medians, and the size of the file that it needs."""

    latency_ms: float
    """Of one picture."""
    images_per_second: float
    """In batches of ``BATCH``."""
    megabytes: float


def measure_speeds(folder: Path, backends: list[str]) -> dict[str, Any]:
    """``{"machine": ..., "backends": {name: {"latency_ms", "images_per_second", "megabytes"}}}`` of an export.

    Every backend gets as many threads as torch has.
    """
    import torch

    threads = torch.get_num_threads()
    found = {}
    for name in backends:
        bundle = Bundle.load(folder, name, threads=threads)
        seconds = {count: _median_seconds(_drawing(bundle, count)) for count in (1, BATCH)}
        size = (folder / BACKENDS[name]).stat().st_size / 1e6
        found[name] = asdict(Speed(1000 * seconds[1], BATCH / seconds[BATCH], size))
    return {"machine": _machine(threads), "backends": found}


def _drawing(bundle: Bundle, count: int) -> Callable[[], object]:
    given = example_inputs(bundle, count)
    return lambda: bundle.network.render(*given)


def _median_seconds(run: Callable[[], object]) -> float:
    run()  # the first run also plans and allocates
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
    with contextlib.suppress(OSError, StopIteration):  # not Linux, or not this kind: the platform's own word stands
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return (
        f"{processor}, {threads} of {os.cpu_count()} cores, no GPU, torch {torch.__version__}, "
        f"onnxruntime {onnxruntime.__version__}"
    )
