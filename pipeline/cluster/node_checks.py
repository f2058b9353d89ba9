"""Checks before the first trial: every node, its storage, free memory and free disk."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.cluster.placement import count_slots
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.cluster.ray_runtime import Node
    from pipeline.resources import Resources
    from trainables.storage.storage import Storage

MIB, GIB = 2**20, 2**30
MEMORY_PER_TRIAL = 0.8 * GIB
"""Bytes. Measured: a worker with torch, the extractor and a small GAN holds 0.6 to 0.9 GiB."""
MEMORY_PER_FUSED = 0.3 * GIB
"""Additional bytes of each fused trial: its proxy process, and its networks."""
DISK_PER_TRIAL = 50 * MIB
"""Bytes of a trial at default widths: weights, images and its part of the databases."""
SCRATCH = GIB
"""Free bytes that a node needs for the temporary files of Ray and Tune."""
NODE_SECONDS = 120.0
"""Time for all nodes to answer: each unpacks this code and imports torch first."""


def node_facts(storage: Storage, token: str) -> dict[str, Any]:
    """Collect this node's versions, free memory and disk, and whether it can use ``storage``."""
    import ray
    import torch

    scratch = tempfile.gettempdir()
    return {
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "ray": ray.__version__},
        "memory": psutil.virtual_memory().available,
        "scratch": (scratch, shutil.disk_usage(scratch).free),
        "storage": storage_fault(storage, token),
    }


def storage_fault(storage: Storage, token: str) -> str:
    """Return why trials cannot use the storage, or ``""``.

    ``token`` names a file that the driver has written: a node without it does not share the driver's folder.
    """
    try:
        if not storage.exists(token):
            return (
                f"sees another {storage.location} than the driver; share the folder, e.g. by NFS, under the same path, "
                "or use a bucket"
            )
        storage.probe()
    except UserError as error:
        return str(error)
    return ""


def node_faults(facts: dict[str, Any], driver: dict[str, Any]) -> list[str]:
    """Compare a node's facts with the driver's, and return its faults."""
    faults = [
        f"has {name} {version}, the driver has {driver['versions'][name]}"
        for name, version in facts["versions"].items()
        if version != driver["versions"][name]
    ]
    scratch, free = facts["scratch"]
    if free < SCRATCH:
        faults.append(f"has {free / GIB:.1f} GiB free in {scratch}, {SCRATCH / GIB:.0f} are needed")
    return [*faults, *([facts["storage"]] if facts["storage"] else [])]


def require_nodes(nodes: Sequence[Node], storage: Storage) -> tuple[Node, ...]:
    """Check the driver and every node of a cluster before anything is trained. Nothing of it stays in the storage.

    Returns:
        The nodes with their free memory in bytes.

    Raises:
        UserError: which node failed which check.
    """
    token = f"driver-{uuid.uuid4().hex}"
    is_new = storage.in_place and not Path(storage.location).exists()
    try:
        storage.probe()  # retries for a shorter time than later accesses: nothing is lost yet
        with storage.writing(token) as path:
            path.write_bytes(b"")
        try:
            driver = node_facts(storage, token)
            answers = _ask(nodes, storage, token) if nodes[0].id else [(nodes[0], driver)]
        finally:
            storage.delete(token)
    finally:
        if is_new:  # a sweep that is refused here leaves no folder
            with contextlib.suppress(OSError):
                Path(storage.location).rmdir()
    faults, checked = [], []
    for node, facts in answers:
        node_result = [facts] if isinstance(facts, str) else node_faults(facts, driver)
        faults += [f"{node.host}: {text}" for text in node_result]
        if not isinstance(facts, str):
            checked.append(dataclasses.replace(node, memory=facts["memory"]))
    if faults:
        raise UserError(f"the sweep cannot run; {'; '.join(faults)}")
    return tuple(checked)


def _ask(nodes: Sequence[Node], storage: Storage, token: str) -> list[tuple[Node, dict[str, Any] | str]]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(node_facts)
    asked = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(storage, token)
        for node in nodes
    ]
    ray.wait(asked, num_returns=len(asked), timeout=NODE_SECONDS)
    return [(node, _answer(ref)) for node, ref in zip(nodes, asked, strict=True)]


def _answer(ref: Any) -> dict[str, Any] | str:
    import ray

    try:
        facts: dict[str, Any] = ray.get(ref, timeout=0)
    except ray.exceptions.GetTimeoutError:
        return f"does not answer within {NODE_SECONDS:.0f} s"
    except ray.exceptions.RayTaskError as error:
        return f"fails: {first_line(error.cause) if error.cause else str(error).strip().splitlines()[-1]}"
    except ray.exceptions.RayError as error:
        return f"fails: {' '.join(str(error).split())[:300]}"
    return facts


def require_resources(
    resources: Resources, image_bytes: int, folder: Path, nodes: Sequence[Node] = (), *, begun: int = 0
) -> None:
    """Refuse a sweep that would run out of disk, or of memory on this machine or on a node of the cluster.

    Args:
        resources: worker slots and trials.
        image_bytes: size of the decoded images.
        folder: where the home lies.
        nodes: nodes of the cluster; none: the trials run on this machine.
        begun: trials that earlier drivers have begun, whose files are there already.

    Raises:
        UserError: needed and free bytes, and which option to change.
    """
    fused = resources.fused
    fuse, of_fused = (", --fuse", fused * MEMORY_PER_FUSED) if fused > 1 else ("", 0.0)
    each = MEMORY_PER_TRIAL + of_fused
    for node in nodes:
        slots = min(resources.slots, count_slots([node], resources.cpus, resources.gpus))
        needed = slots * each + image_bytes
        if needed > node.memory:
            raise UserError(
                f"too little memory on {node.host}: its {slots * fused} trials at once need about "
                f"{needed / GIB:.1f} GiB, {node.memory / GIB:.1f} GiB are free; use a smaller --image-size{fuse} or a "
                "larger --cpus-per-trial"
            )
    # The images lie in the object store, and once more in the driver while they are sent there.
    memory = (0 if nodes else resources.slots) * each + 2 * image_bytes
    available = psutil.virtual_memory().available
    if memory > available:
        raise UserError(
            f"too little memory: {resources.trials_at_once} trials at once need about {memory / GIB:.1f} GiB, "
            f"{available / GIB:.1f} GiB are free; use a smaller --concurrent{fuse} or --image-size"
        )
    new = max(resources.trials - begun, 0)
    disk = new * DISK_PER_TRIAL
    free = shutil.disk_usage(folder).free
    if disk > free:
        raise UserError(
            f"too little disk: {new} {'more ' if begun else ''}trials need about {disk / MIB:.0f} MiB below {folder}, "
            f"{free / MIB:.0f} MiB are free; use another --home or fewer --trials"
        )
