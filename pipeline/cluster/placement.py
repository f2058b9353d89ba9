"""Placement: how many trials run at once and which share of a GPU each gets, packed by measured memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from pipeline.cluster.memory_probe import make_probe, measure, measure_on_gpu_node
from pipeline.resources import Resources
from pipeline.search.compatibility import fusion_obstacle
from trainables.config import GanConfig
from trainables.data.pixel_places import gathers_batches
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.cluster.ray_runtime import Node
    from pipeline.resources import ResourceRequest
    from search_spaces.space import Space
    from trainables.config import PixelPlace, Value
    from trainables.data.dataset import TaggedImages

GIB = 2**30
MARGIN = 0.25
"""Share kept free above the measured peak, for evaluation, fragmentation and slightly larger configurations."""
CUDA_CONTEXT = 0.6 * GIB
"""Bytes of a GPU that a process takes before its first tensor; the allocator does not count them."""
FUSED = 8
"""Most trials that ``--fuse auto`` fuses on a GPU."""
LARGER = ("generator.width", "generator.blocks", "generator.noise_dim", "discriminator.width", "training.batch_size")
"""Parameters whose largest value needs the most memory."""


def count_slots(nodes: Sequence[Node], cpus: float, gpus: float) -> int:
    """Count the worker slots of ``cpus`` cores and ``gpus`` GPUs, or a share of one, that fit on the nodes."""
    return sum(_count_slots_of_node(node, cpus, gpus) for node in nodes)


def _count_slots_of_node(node: Node, cpus: float, gpus: float) -> int:
    by_cores = int(node.cpus // cpus)
    if not gpus:
        return by_cores
    # A share never spans two GPUs: three of 0.4 need two of them.
    by_gpus = int(node.gpus) * int(1 / gpus + 1e-6) if gpus < 1 else int(node.gpus // gpus)
    return min(by_cores, by_gpus)


def gpu_share(peak: float, total: float, at_most: int) -> float:
    """Compute the share of a GPU of ``total`` bytes that a trial of ``peak`` bytes takes, with ``MARGIN``.

    At most ``at_most`` trials share one GPU, since there are no cores for more. A trial that does not fit takes a whole
    GPU. The share is rounded down to ten-thousandths, the resolution of Ray.
    """
    fit = max(1, min(at_most, int(total // (peak * (1 + MARGIN)))))
    return math.floor(10_000 / fit) / 10_000


def largest_config(space: Space) -> dict[str, Value]:
    """Return the recipe with the widest and deepest networks and the largest batch that the space searches."""
    params = dict(space.recipe)
    for dimension in space.dimensions:
        if dimension.name in LARGER:
            values = dimension.choices or (dimension.low, dimension.high)
            top = max(cast("tuple[float, ...]", values))
            params[dimension.name] = int(top)
    return GanConfig.from_params(params).to_params()


def resolve_placement(
    request: ResourceRequest,
    nodes: Sequence[Node],
    space: Space,
    images: TaggedImages,
    *,
    precision: str = "float32",
    pixels: PixelPlace = "device",
    cluster: bool = False,
) -> tuple[Resources, str]:
    """Decide the GPUs, the fusing and the number of worker slots that a request leaves open.

    ``capacity`` of the result also counts slots that these trials do not need. Trials are fused without being asked for
    only if GPUs are found and neither the share of a GPU nor the number of slots is requested: a user who gives one of
    the two has placed the trials.

    Args:
        request: what the settings ask for.
        nodes: machines to place the trials on.
        space: searched space, whose recipe and largest configuration are measured.
        images: the data.
        precision: of training.
        pixels: whether every trial keeps the images on its GPU.
        cluster: measure on a node of the Ray cluster, and refuse a cluster without room for one trial.

    Returns:
        The resources, and a line for the user, or ``""``.

    Raises:
        UserError: no node has the resources of one slot.
    """
    gpus, fused, message = request.gpus, request.fused or 1, ""
    if gpus is None:
        gpus = 0.0
        if any(node.gpus for node in nodes):
            gpus, fused, message = _pack(request, nodes, space, images, precision, pixels, cluster=cluster)
    room = count_slots(nodes, request.cpus, gpus)
    if not room and request.concurrent is None and (cluster or gpus):
        raise UserError(
            f"no node has {request.cpus} free cores and {gpus:g} GPUs for one trial: "
            f"{', '.join(f'{node.host} has {node.cpus:g} cores, {node.gpus:g} GPUs' for node in nodes)}; use a smaller "
            "--cpus-per-trial or --gpus-per-trial, or give --concurrent if the cluster scales automatically"
        )
    return Resources(request.cpus, gpus, fused, request.concurrent or max(1, room), request.trials), message


def _pack(
    request: ResourceRequest,
    nodes: Sequence[Node],
    space: Space,
    images: TaggedImages,
    precision: str,
    pixels: PixelPlace,
    *,
    cluster: bool,
) -> tuple[float, int, str]:
    """Measure the recipe and the largest configuration on a GPU, and fill GPUs by the larger peak.

    Returns:
        GPUs of a slot (fused trials have a whole one), trials that a slot fuses, and a line for the user.
    """
    peaks, total = [], 0
    for params in (dict(space.recipe), largest_config(space)):
        probe = make_probe(params, images, "cuda", precision)
        measured = measure_on_gpu_node(probe) if cluster else measure(probe)
        total = measured["total"]
        gathers = gathers_batches(pixels, images.pixels.nbytes, total)
        peaks.append(measured["peak"] + (0 if gathers else images.pixels.nbytes) + CUDA_CONTEXT)
    needs = f"the recipe needs {peaks[0] / GIB:.1f}, the largest configuration {peaks[1] / GIB:.1f} GiB"
    fit = int(total // (max(peaks) * (1 + MARGIN)))
    if request.fused is None:
        fused = auto_fuse_count(request, space, fit, sum(int(node.gpus) for node in nodes), precision)
    else:
        fused = _require_fit(request.fused, fit, f"{total / GIB:.1f} GiB: {needs}")
    if fused > 1:
        return 1.0, fused, f"{fused} trials are one program on a GPU of {total / GIB:.1f} GiB: {needs}"
    machine = max(nodes, key=lambda node: node.gpus)
    at_most = max(1, int(machine.cpus // request.cpus // machine.gpus))
    share = gpu_share(max(peaks), total, at_most)
    return share, 1, f"{int(1 / share)} trials share a GPU of {total / GIB:.1f} GiB: {needs}"


def auto_fuse_count(request: ResourceRequest, space: Space, fit: int, gpus: int, precision: str = "float32") -> int:
    """Choose the trials to fuse on each of ``gpus`` GPUs with memory for ``fit`` of them; 1 for no fusing."""
    from trainables.fused.fused_loop import PER_TRIAL_PARAMS

    # Trials of other structures would take turns in one process; separate processes are faster.
    alike = all(dimension.name in PER_TRIAL_PARAMS for dimension in space.dimensions)
    if request.concurrent is not None or not alike or fusion_obstacle(space, precision):
        return 1
    no_gpu_idle = math.ceil(request.trials / max(1, gpus))
    return max(1, min(FUSED, fit, no_gpu_idle))


def _require_fit(fused: int, fit: int, memory: str) -> int:
    """Return ``fused`` if that many trials fit on a GPU."""
    if 1 < fused > fit:
        alone = {0: "none does; use --fuse off", 1: "1 does; use --fuse off"}
        fitting = alone.get(fit, f"{fit} do; use a smaller --fuse")
        raise UserError(
            f"--fuse {fused} trials do not fit on a GPU of {memory}; {fitting}, or --gpus-per-trial 1 to try anyway"
        )
    return fused
