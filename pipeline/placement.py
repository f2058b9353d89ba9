"""How many trials run at once, and how much of a GPU each gets: packed by measured memory."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trainables.config import GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.cluster import Node
    from pipeline.settings import SweepSettings
    from search_spaces.space import Space
    from trainables.config import Value
    from trainables.data.dataset import TaggedImages

GIB = 2**30
MARGIN = 0.25
"""Kept free above the measured peak: evaluation, fragmentation, and configurations that need a little more."""
CUDA_CONTEXT = 0.6 * GIB
"""What a process takes of a GPU before its first tensor; the allocator does not see it."""
MEASURE_SECONDS = 300.0
FUSED = 8
"""Trials of one program on a GPU where ``--fuse auto`` decides."""
DRAWN = 256
"""Configurations of the space that are looked at: all must be possible, and one fusable where trials are fused."""
LARGER = ("generator.width", "generator.blocks", "generator.noise_dim", "discriminator.width", "training.batch_size")
"""Parameters whose largest value needs the most memory."""


def slots_of(nodes: Sequence[Node], cpus: float, gpus: float) -> int:
    """Trials that fit at once when each takes ``cpus`` cores and ``gpus`` GPUs, or a share of one, of one node."""
    return sum(_slots_of_node(node, cpus, gpus) for node in nodes)


def _slots_of_node(node: Node, cpus: float, gpus: float) -> int:
    by_cores = int(node.cpus // cpus)
    if not gpus:
        return by_cores
    # A share never spans two GPUs: three of 0.4 need two of them.
    by_gpus = int(node.gpus) * int(1 / gpus + 1e-6) if gpus < 1 else int(node.gpus // gpus)
    return min(by_cores, by_gpus)


def gpu_share(peak: float, total: float, at_most: int) -> float:
    """The share of a GPU of ``total`` bytes that a trial of ``peak`` bytes takes, with ``MARGIN``.

    ``at_most`` trials share one GPU, since more would find no cores. A trial that does not fit takes a whole one.
    Ray counts in ten-thousandths, so the share is rounded down to them.
    """
    fit = max(1, min(at_most, int(total // (peak * (1 + MARGIN)))))
    return math.floor(10_000 / fit) / 10_000


def largest(space: Space) -> dict[str, Value]:
    """The recipe with the widest and deepest networks and the largest batch that the space searches."""
    params = dict(space.recipe)
    for dimension in space.dimensions:
        if dimension.name in LARGER:
            values = dimension.choices or (dimension.low, dimension.high)
            top = max(cast("tuple[float, ...]", values))
            params[dimension.name] = int(top)
    return GanConfig.from_params(params).to_params()


def not_fused(settings: SweepSettings, space: Space) -> str:
    """Why no trials of a sweep can be one program, or ``""``."""
    from pipeline.plan.model import sampled
    from trainables.fused import fusable

    if settings.precision != "float32":
        return f"trials in {settings.precision} mix number formats"
    if GanConfig.from_params(space.recipe).translates:
        return f"trials of space {space.name} translate"
    # Drawn ones follow the conditions between parameters. The recipe, which comes first, is one trial.
    configs = map(GanConfig.from_params, sampled(space, 0, 1 + DRAWN)[1:])
    if not any(fusable(config, config) for config in configs):
        return "all trials have spectral norm, or SRResNet's dropout,"
    return ""


def placed(
    settings: SweepSettings, nodes: Sequence[Node], space: Space, images: TaggedImages
) -> tuple[SweepSettings, str]:
    """The settings with ``gpus_per_trial``, ``concurrent`` and ``fuse`` settled, and what to tell the user.

    ``concurrent`` is the room there is, also for more trials than these: ``slots()`` says how many of it they use.
    ``fuse="auto"`` fuses only where ``gpus_per_trial="auto"`` finds a GPU and ``concurrent`` is not given: who gives a
    share, or how many trials run at once, has placed the trials.

    Raises:
        UserError: no node has what one trial, or those of one program, ask for.
    """
    gpus, fused, told = settings.gpus(), settings.fused(), ""
    if gpus is None:
        gpus = 0.0
        if any(node.gpus for node in nodes):
            gpus, fused, told = _packed(settings, nodes, space, images)
    room = slots_of(nodes, settings.cpus_per_trial, gpus)
    if not room and settings.concurrent is None and (settings.address or gpus):
        raise UserError(
            f"no node has {settings.cpus_per_trial} free cores and {gpus:g} GPUs for one trial: "
            f"{', '.join(f'{node.host} has {node.cpus:g} cores, {node.gpus:g} GPUs' for node in nodes)}; use a smaller "
            "--cpus-per-trial or --gpus-per-trial, or give --concurrent where the cluster grows by itself"
        )
    settled = dataclasses.replace(
        settings,
        concurrent=settings.concurrent or max(1, room),
        gpus_per_trial=f"{gpus:g}",
        fuse=str(fused) if fused > 1 else "off",
    )
    return settled, told


def _packed(
    settings: SweepSettings, nodes: Sequence[Node], space: Space, images: TaggedImages
) -> tuple[float, int, str]:
    """Measure the recipe and the largest configuration on a GPU, and fill GPUs by the larger peak.

    Returns:
        GPUs of a trial, or of the trials of one program, which have one to themselves; how many those are; what to say.
    """
    peaks, total = [], 0
    for params in (dict(space.recipe), largest(space)):
        request = measuring(params, settings, images, "cuda")
        found = _on_a_gpu_node(request) if settings.address else measure(request)
        # Every trial keeps the pictures on its GPU.
        peaks.append(found["peak"] + images.pixels.nbytes + CUDA_CONTEXT)
        total = found["total"]
    needs = f"the recipe needs {peaks[0] / GIB:.1f}, the largest configuration {peaks[1] / GIB:.1f} GiB"
    fit = int(total // (max(peaks) * (1 + MARGIN)))
    if settings.fuse == "auto":
        fused = _fused_of_itself(settings, space, fit, sum(int(node.gpus) for node in nodes))
    else:
        fused = _fused_as_asked(settings, fit, f"{total / GIB:.1f} GiB: {needs}")
    if fused > 1:
        return 1.0, fused, f"{fused} trials are one program on a GPU of {total / GIB:.1f} GiB: {needs}"
    machine = max(nodes, key=lambda node: node.gpus)
    at_most = max(1, int(machine.cpus // settings.cpus_per_trial // machine.gpus))
    share = gpu_share(max(peaks), total, at_most)
    return share, 1, f"{int(1 / share)} trials share a GPU of {total / GIB:.1f} GiB: {needs}"


def _fused_of_itself(settings: SweepSettings, space: Space, fit: int, gpus: int) -> int:
    """Trials of one program on each of ``gpus`` GPUs that ``fit`` of them fit on; 1 for none."""
    from trainables.fused import FREE

    # Trials of other structures would take turns in one process, and are better off in several.
    alike = all(dimension.name in FREE for dimension in space.dimensions)
    if settings.concurrent is not None or not alike or not_fused(settings, space):
        return 1
    no_gpu_idle = math.ceil(settings.trials / max(1, gpus))
    return max(1, min(FUSED, fit, no_gpu_idle))


def _fused_as_asked(settings: SweepSettings, fit: int, memory: str) -> int:
    """What ``--fuse`` says, where that many trials ``fit`` on a GPU."""
    if 1 < settings.fused() > fit:
        alone = {0: "none does; use --fuse off", 1: "1 does; use --fuse off"}
        fitting = alone.get(fit, f"{fit} do; use a smaller --fuse")
        raise UserError(
            f"--fuse {settings.fuse} trials do not fit on a GPU of {memory}; {fitting}, or --gpus-per-trial 1 to try "
            "all the same"
        )
    return settings.fused()


def measuring(params: Mapping[str, Any], settings: SweepSettings, images: TaggedImages, device: str) -> dict[str, Any]:
    """What ``measure`` is asked for."""
    return {
        "params": dict(params),
        "sizes": images.vocabulary.sizes,
        "targets": images.target_places,
        "device": device,
        "precision": settings.precision,
    }


def _on_a_gpu_node(request: dict[str, Any]) -> dict[str, int]:
    import ray

    task = ray.remote(num_cpus=1, num_gpus=1)(measure)
    try:
        return ray.get(task.remote(request), timeout=MEASURE_SECONDS)
    except ray.exceptions.GetTimeoutError as error:
        raise UserError("no GPU of the cluster became free to measure a trial on; give --gpus-per-trial") from error


def measure(request: Mapping[str, Any]) -> dict[str, int]:
    """Measure one update of both networks in a process of its own.

    Args:
        request: ``params`` of the configuration, ``sizes`` of the tag groups, ``targets``: places of those that a
            translation changes, ``device`` (cpu or cuda), ``precision``.

    Returns:
        ``peak``: bytes, of the GPU, or resident on the CPU; ``total``: memory of the device.

    Raises:
        UserError: the update failed, e.g. for want of memory.
    """
    words = [sys.executable, "-P", "-m", "pipeline.placement"]
    done = subprocess.run(
        words, input=json.dumps(request), capture_output=True, text=True, timeout=MEASURE_SECONDS, check=False,
        env=child_environment(),
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"cannot measure the memory of a trial: {said}; give --gpus-per-trial a number")
    return cast("dict[str, int]", json.loads(done.stdout.strip().splitlines()[-1]))


def child_environment() -> dict[str, str]:
    """Ours, with this very code first on the path: on a worker it lies in a folder of Ray's."""
    import os

    code = str(Path(__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([code, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def _measure_here(request: Mapping[str, Any]) -> dict[str, int]:
    import psutil
    import torch

    from trainables.loop import TrainingData, TrainingLoop
    from trainables.systems.build import build_system

    config, device, sizes = GanConfig.from_params(request["params"]), request["device"], tuple(request["sizes"])
    pairs = ((0,) * len(sizes),) if config.tags.encoding == "pairs" else ()
    tags = torch.zeros(config.training.batch_size, len(sizes), dtype=torch.int64, device=device)
    shape = (len(tags), config.image_size, config.image_size, 3)
    pixels = torch.zeros(shape, dtype=torch.uint8, device=device)
    domains = (torch.arange(1, device=device),) * (2 if config.system == "cyclegan" else 0)
    system = build_system(config, sizes, request.get("targets", ()), pairs, request["precision"])
    TrainingLoop(system, TrainingData(pixels, tags, tags, domains), config).train_until(1)
    if device == "cuda":
        return {"peak": torch.cuda.max_memory_reserved(), "total": torch.cuda.mem_get_info()[1]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak": peak, "total": psutil.virtual_memory().total}


if __name__ == "__main__":
    print(json.dumps(_measure_here(json.load(sys.stdin))))
