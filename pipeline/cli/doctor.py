"""``gansweep doctor``: check everything that a sweep relies on, and report the original error of what fails."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from analysis.errors import AnalysisError
from pipeline.home import SCRATCH_NAME, Home
from pipeline.resources import usable_cores
from pipeline.settings import require_address
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient


OK, WARNING, FAILED = "ok", "warning", "failed"
LIBRARIES = ("gansweep", "torch", "ray", "optuna", "mlflow", "torchvision")
GIB = 2**30
LITTLE_DISK, LITTLE_MEMORY = 5 * GIB, 2 * GIB
"""Free bytes below which a sweep of a few dozen trials, or two trials at once, may not fit."""


@dataclass(frozen=True)
class Check:
    """One line of the report: what was checked, ``ok``, ``warning`` or ``failed``, and the finding."""

    name: str
    status: str
    detail: str


def run_checks(
    home: Home,
    *,
    storage: str | None = None,
    tracking: str | None = None,
    study: str | None = None,
    address: str | None = None,
) -> Iterator[Check]:
    """Run the checks one after the other; a failure does not stop the others.

    Raises:
        UsageError: an invalid ``--address``.
    """
    require_address(address)
    checks: dict[str, Callable[[], Check]] = {
        "versions": _versions,
        "devices": _devices,
        "memory": _memory,
        "disk": lambda: _disk(home),
        "cache": lambda: _cache(home),
        "storage": lambda: _storage(home, storage),
        "tracking": lambda: _tracking(home, tracking),
        "study": lambda: _study(home, study),
        "ray": lambda: _cluster(home, storage, address) if address else _ray(),
    }
    for name, check in checks.items():
        try:
            yield check()
        except Exception as error:  # drivers and servers raise anything, and the user needs to see it
            known = isinstance(error, UserError | AnalysisError)
            yield Check(name, FAILED, f"{'' if known else f'{type(error).__name__}: '}{first_line(error)}")


def _versions() -> Check:
    found, missing = [f"python {platform.python_version()}"], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    detail = ", ".join(found) + (f"; not installed: {', '.join(missing)}" if missing else "")
    return Check("versions", WARNING if missing else OK, detail)


def _devices() -> Check:
    import torch

    detail = f"{usable_cores()} CPU cores, {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        built = torch.version.cuda
        return Check(
            "devices", OK, f"{detail}; no GPU ({f'torch is built for CUDA {built}' if built else 'CPU torch'})"
        )
    gpus = []
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        torch.ones(8, device=f"cuda:{index}").sum().item()  # fails if the driver is too old
        bf16 = "bf16" if about.major >= 8 else "no bf16"
        gpus.append(f"{about.name}, {about.total_memory / GIB:.0f} GiB, {bf16}")
    return Check("devices", OK, f"{detail}; CUDA {torch.version.cuda}: {'; '.join(gpus)}")


def _memory() -> Check:
    memory = psutil.virtual_memory()
    detail = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    return Check("memory", WARNING if memory.available < LITTLE_MEMORY else OK, detail)


def _disk(home: Home) -> Check:
    places = {"home": _existing(home.root), "temporary files": Path(tempfile.gettempdir())}
    free = {name: shutil.disk_usage(folder).free for name, folder in places.items()}
    detail = ", ".join(f"{free[name] / GIB:.1f} GiB free for {name} ({folder})" for name, folder in places.items())
    return Check("disk", WARNING if min(free.values()) < LITTLE_DISK else OK, detail)


def _cache(home: Home) -> Check:
    from trainables.data.pixel_cache import damaged_pixels

    count, damaged = damaged_pixels(home.cache)
    if damaged:
        names = ", ".join(path.name for path in damaged[:3])
        return Check("cache", FAILED, f"{len(damaged)} of {count} files of decoded images in {home.cache} are damaged: "
                     f"{names}; delete them, and the next start decodes the images again")  # fmt: skip
    return Check("cache", OK, f"{count} files of decoded images, all as they were written")


def _storage(home: Home, location: str | None) -> Check:
    from trainables.storage.storage import Storage, storage_location

    where = storage_location(location) if location else str(_existing(home.root))
    Storage(where).probe()
    return Check("storage", OK, f"{where}: written, read, deleted")


def _tracking(home: Home, tracking: str | None) -> Check:
    from analysis.mlflow_reader.connect import readable_errors, redact_uri
    from pipeline.tracking.client import open_client

    if tracking is None and not home.tracking_file.is_file():
        # No database yet: check in a temporary folder that one can be created on that disk.
        with tempfile.TemporaryDirectory(dir=_existing(home.root), prefix=f".{SCRATCH_NAME}-") as folder:
            trial = Home(Path(folder))
            with readable_errors(trial.tracking):
                _write_experiment(open_client(trial, None))
        return Check("tracking", OK, f"no sweeps in {home.root} yet; a database can be created there")
    client = open_client(home, tracking)
    with readable_errors(tracking or home.tracking):
        _write_experiment(client)
    return Check("tracking", OK, f"{redact_uri(tracking or home.tracking)}: a run was written and deleted")


def _write_experiment(client: MlflowClient) -> None:
    """Create an experiment with a run, and delete both; the next check restores the same experiment."""
    known = client.get_experiment_by_name(SCRATCH_NAME)
    if known is None:
        number = client.create_experiment(SCRATCH_NAME)
    else:
        number = known.experiment_id
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(number)
    try:
        run = client.create_run(number)
        client.log_metric(run.info.run_id, "probe", 1.0)
        if client.get_run(run.info.run_id).data.metrics != {"probe": 1.0}:
            raise UserError("the tracking server did not return the metric that was written")
        client.delete_run(run.info.run_id)
    finally:
        client.delete_experiment(number)


def _study(home: Home, study: str | None) -> Check:
    from analysis.mlflow_reader.connect import redact_uri

    if study is None and not home.study_file.is_file():
        with tempfile.TemporaryDirectory(dir=_existing(home.root), prefix=f".{SCRATCH_NAME}-") as folder:
            _write_study(Home(Path(folder)).study)
        return Check("study", OK, f"no studies in {home.root} yet; a database can be created there")
    _write_study(study or home.study)
    return Check("study", OK, f"{redact_uri(study or home.study)}: a study was written and deleted")


def _write_study(url: str) -> None:
    import optuna

    from pipeline.search.study import open_study

    name = f"{SCRATCH_NAME}-{uuid.uuid4().hex}"
    study = open_study(url, name, ["minimize"])
    try:
        study.add_trial(optuna.trial.create_trial(values=[1.0]))
        if len(study.get_trials()) != 1:
            raise UserError("the study database did not return the trial that was written")
    finally:
        optuna.delete_study(study_name=name, storage=url)


def _ray() -> Check:
    import ray

    from pipeline.cluster.ray_files import ray_folder
    from pipeline.cluster.ray_runtime import RAY_SECONDS, local_ray

    def process_id() -> int:  # a local function is pickled by value: workers need not import this module
        return os.getpid()

    with tempfile.TemporaryDirectory() as folder, local_ray(Path(folder), 1):
        process = ray.get(ray.remote(process_id).remote(), timeout=RAY_SECONDS)
    with ray_folder() as sockets:
        detail = f"Ray {ray.__version__} starts, and ran a task in process {process}; its files lie in {sockets}"
    return Check("ray", OK, detail)


def _cluster(home: Home, storage: str | None, address: str) -> Check:
    from pipeline.cluster.node_checks import require_nodes
    from pipeline.cluster.ray_runtime import connect_cluster
    from trainables.storage.storage import Storage, storage_location

    where = storage_location(storage) if storage else str(_existing(home.root))
    with connect_cluster(address) as nodes:
        checked = require_nodes(nodes, Storage(where))
    about = (f"{n.host} ({n.cpus:g} cores, {n.gpus:g} GPUs, {n.memory / GIB:.1f} GiB free)" for n in checked)
    return Check("ray", OK, f"{address}: {len(checked)} nodes ready: {', '.join(about)}")


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists; the doctor creates none."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
