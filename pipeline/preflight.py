"""What is checked before the first trial starts: every node, memory, disk, that a name still means the same sweep."""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import tempfile
import uuid
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.placement import slots_of
from pipeline.same_data import data_changes, write_pictures
from pipeline.settings import PLACED, PRIVATE, SweepSettings
from trainables.errors import UserError, first_line
from trainables.files import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.cluster import Node
    from search_spaces.space import Space
    from trainables.data.dataset import TaggedImages
    from trainables.storage import Storage

SETTINGS_FILE = "sweep.json"
GIB = 2**30
MEMORY_PER_TRIAL = 0.8 * GIB
"""Measured: a worker with torch, the extractor and a small GAN holds 0.6 to 0.9 GiB."""
MEMORY_PER_FUSED = 0.3 * GIB
"""Of each fused trial besides: the process that stands for it, and its networks."""
DISK_PER_TRIAL = 50 * 2**20
"""Weights, pictures and a share of the databases of a trial at default widths."""
SCRATCH = GIB
"""Free bytes that a node needs where Ray and Tune keep their temporary files."""
NODE_SECONDS = 120.0
"""For all nodes to answer: each unpacks our code and imports torch first."""


def node_facts(storage: Storage, token: str) -> dict[str, Any]:
    """What a node finds out about itself: versions, free memory and disk, and whether it can use ``storage``."""
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
    """Why trials cannot keep their files there, or ``""``.

    ``token`` names a file that the driver has written: a node that does not see it has a folder of its own.
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
    """What is wrong with a node, against the driver's own facts."""
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
    """Check the driver and every node of a cluster before anything is trained.

    Returns:
        The nodes with the memory that is free on them.

    Raises:
        UserError: which node failed what.
    """
    storage.probe()  # has less patience than what follows: nothing is lost yet
    token = f"driver-{uuid.uuid4().hex}"
    with storage.writing(token) as path:
        path.write_bytes(b"")
    try:
        driver = node_facts(storage, token)
        answers = _ask(nodes, storage, token) if nodes[0].id else [(nodes[0], driver)]
    finally:
        storage.delete(token)
    faults, checked = [], []
    for node, facts in answers:
        found = [facts] if isinstance(facts, str) else node_faults(facts, driver)
        faults += [f"{node.host}: {text}" for text in found]
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


def require_resources(settings: SweepSettings, picture_bytes: int, folder: Path, nodes: Sequence[Node] = ()) -> None:
    """Refuse a sweep that would run out of memory, here or on a node of the cluster, or disk.

    Raises:
        UserError: what is needed, what is there, what to change.
    """
    fuse = ", --fuse" if settings.fused() > 1 else ""
    each = MEMORY_PER_TRIAL + (settings.fused() * MEMORY_PER_FUSED if settings.fused() > 1 else 0)
    for node in nodes:
        room = min(settings.slots(), slots_of([node], settings.cpus_per_trial, settings.gpus() or 0.0))
        needed, at_once = room * each + picture_bytes, room * settings.fused()
        if needed > node.memory:
            raise UserError(
                f"too little memory on {node.host}: its {at_once} trials at once need about {needed / GIB:.1f} GiB, "
                f"{node.memory / GIB:.1f} GiB are free; use a smaller --image-size{fuse} or a larger --cpus-per-trial"
            )
    # The pictures lie in the object store and once more in the driver while they are sent there.
    memory = (0 if nodes else settings.slots()) * each + 2 * picture_bytes
    available, at_once = psutil.virtual_memory().available, settings.at_once()
    if memory > available:
        raise UserError(
            f"too little memory: {at_once} trials at once need about {memory / GIB:.1f} GiB, "
            f"{available / GIB:.1f} GiB are free; use a smaller --concurrent{fuse} or --image-size"
        )
    disk = settings.trials * DISK_PER_TRIAL
    free = shutil.disk_usage(folder).free
    if disk > free:
        raise UserError(
            f"too little disk: {settings.trials} trials need about {disk / GIB:.1f} GiB below {folder}, "
            f"{free / GIB:.1f} GiB are free; use another --home or fewer --trials"
        )


def require_same_sweep(
    path: Path, settings: SweepSettings, space: Space, images: TaggedImages, given: SweepSettings | None = None
) -> None:
    """Save what defines the sweep under its name; refuse a name that already stands for something else.

    ``given`` are the settings before it was decided what follows from the machines.

    Raises:
        UserError: the saved sweep differs, with the first differences.
    """
    mine = {
        "settings": {name: value for name, value in settings.to_json().items() if name not in PRIVATE},
        "space": space.to_json(),
        "data": images.fingerprint,
    }
    # Who goes on with it may stand in another folder; a sweep is taken over once, and not again by going on with it.
    own = {"concurrent": settings.concurrent, "data": str(settings.data.resolve()), "adopt": False}
    asked = {name: getattr(given or settings, name) for name in PLACED}
    full = {**mine, "started_with": {**settings.public(), **own}, "asked": asked}
    if not path.exists():
        write_pictures(path.parent, images)
        write_json(path, full)
        return
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        before = {name: saved.get(name) for name in mine}
        options = dict(before["settings"])
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    changed = differences(options, json.loads(json.dumps(mine["settings"])))
    if changed:
        first = [f"{option} ({old}, now {new})" for option, (old, new) in changed.items()][:3]
        raise UserError(
            f"sweep {settings.name!r} exists with another {'; '.join(first)}; "
            "take another --name, or the same settings to go on with it"
        )
    if before["data"] != mine["data"]:
        what = data_changes(path.parent, images) or f"fingerprint {before['data']}, now {mine['data']}"
        raise UserError(
            f"data folder {settings.data} is not what sweep {settings.name!r} began with: {what}; put it back as it "
            "was to go on, or take another --name"
        )
    if before["space"] != json.loads(json.dumps(mine["space"])):
        raise UserError(
            f"sweep {settings.name!r} exists with another space (its dimensions or recipe have changed); take another "
            "--name, or the version of gansweep that began it"
        )


def differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Options that ``old`` has with another value than ``new``, with both values; all as read from JSON.

    What an earlier version did not know yet was as the setting's default.
    """
    fields = dataclasses.fields(SweepSettings)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    before = {**json.loads(json.dumps(defaults)), **old}
    return {
        f"--{name.replace('_', '-')}": (before.get(name), value)
        for name, value in new.items()
        if before.get(name) != value
    }
