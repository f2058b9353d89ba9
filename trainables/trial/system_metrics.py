"""Resource use of a trial's process."""

from __future__ import annotations

import psutil
import torch


def system_metrics(device: str) -> dict[str, float]:
    """Return memory use and load under MLflow's names for system metrics."""
    process = psutil.Process()
    metrics = {
        "system/process_memory_megabytes": process.memory_info().rss / 2**20,
        "system/process_cpu_seconds": sum(process.cpu_times()[:2]),
        "system/system_memory_usage_percentage": psutil.virtual_memory().percent,
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
    }
    if device.startswith("cuda"):
        metrics["system/gpu_peak_memory_megabytes"] = torch.cuda.max_memory_allocated() / 2**20
    return metrics
