"""Measure the memory of one trial in a separate process."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trainables.config import GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainables.data.dataset import TaggedImages


MEASURE_SECONDS = 300.0


def make_probe(params: Mapping[str, Any], images: TaggedImages, device: str, precision: str) -> dict[str, Any]:
    """Build the request of ``measure`` for a configuration on these images."""
    return {
        "params": dict(params),
        "sizes": images.vocabulary.sizes,
        "targets": images.target_places,
        "device": device,
        "precision": precision,
    }


def measure_on_gpu_node(request: dict[str, Any]) -> dict[str, int]:
    """Run ``measure`` on a node of the Ray cluster that has a GPU."""
    import ray

    task = ray.remote(num_cpus=1, num_gpus=1)(measure)
    try:
        return ray.get(task.remote(request), timeout=MEASURE_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        raise UserError("no GPU of the cluster became free to measure a trial on; give --gpus-per-trial") from error


def measure(request: Mapping[str, Any]) -> dict[str, int]:
    """Measure one update of both networks in a separate process.

    Args:
        request: ``params`` of the configuration, ``sizes`` of the tag groups, ``targets``: indices of the groups that
            a translation changes, ``device`` (cpu or cuda), ``precision``.

    Returns:
        ``peak``: bytes on the GPU, or resident bytes on the CPU; ``total``: bytes of the device.

    Raises:
        UserError: the update failed, e.g. out of memory.
    """
    words = [sys.executable, "-P", "-m", "pipeline.cluster.memory_probe"]
    done = subprocess.run(
        words, input=json.dumps(request), capture_output=True, text=True, timeout=MEASURE_SECONDS, check=False,
        env=child_environment(),
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"cannot measure the memory of a trial: {reason}; give --gpus-per-trial a number")
    return cast("dict[str, int]", json.loads(done.stdout.strip().splitlines()[-1]))


def child_environment() -> dict[str, str]:
    """Return this process's environment with this code first on the path: a worker has it in a folder of Ray's."""
    import os

    code = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([code, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def _measure_here(request: Mapping[str, Any]) -> dict[str, int]:
    import psutil
    import torch

    from trainables.systems.build import build_system
    from trainables.training.loop import TrainingData, TrainingLoop

    config, device, sizes = GanConfig.from_params(request["params"]), request["device"], tuple(request["sizes"])
    pairs = ((0,) * len(sizes),) if config.tags.encoding == "pairs" else ()
    tags = torch.zeros(config.training.batch_size, len(sizes), dtype=torch.int64, device=device)
    shape = (len(tags), config.image_size, config.image_size, config.channels)
    pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
    domains = (torch.arange(1, device=device),) * (2 if config.system == "cyclegan" else 0)
    system = build_system(config, sizes, request.get("targets", ()), pairs, request["precision"])
    TrainingLoop(system, TrainingData(pixels, tags, tags, domains), config).train_until(1)
    if device == "cuda":
        return {"peak": torch.cuda.max_memory_reserved(), "total": torch.cuda.mem_get_info()[1]}
    return {"peak": measure_peak_resident(), "total": psutil.virtual_memory().total}


def measure_peak_resident() -> int:
    """Return the largest number of bytes that this process has held in memory since its program started."""
    # On Linux `getrusage` also counts what the parent held when it forked this process: a large driver's memory.
    with contextlib.suppress(FileNotFoundError):
        fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    print(json.dumps(_measure_here(json.load(sys.stdin))))
