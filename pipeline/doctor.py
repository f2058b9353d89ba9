"""``gansweep doctor``: tries everything that a sweep relies on, and gives the real error where it does not work."""

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
from pipeline.home import Home
from pipeline.settings import require_address, usable_cores
from trainables.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow import MlflowClient

    from pipeline.options import DoctorOptions

OK, WARNING, FAILED = "ok", "warning", "failed"
LIBRARIES = ("gansweep", "torch", "ray", "optuna", "mlflow", "torchvision")
GIB = 2**30
LITTLE_DISK, LITTLE_MEMORY = 5 * GIB, 2 * GIB
"""Free bytes below which a sweep of a few dozen trials, or two trials at once, may not fit."""
SCRATCH_NAME = "gansweep-doctor"


@dataclass(frozen=True)
class Check:
    """One line of the report: what was tried, ``ok``, ``warning`` or ``failed``, and what was found."""

    name: str
    status: str
    detail: str


def run_checks(options: DoctorOptions) -> Iterator[Check]:
    """Try one thing after the other; a failure of one does not keep the others from being tried.

    Raises:
        UsageError: an option that cannot be meant.
    """
    require_address(options.address)
    home = Home.find(options.home)
    checks: dict[str, Callable[[], Check]] = {
        "versions": _versions,
        "devices": _devices,
        "memory": _memory,
        "disk": lambda: _disk(home),
        "storage": lambda: _storage(home, options.storage),
        "tracking": lambda: _tracking(home, options.tracking),
        "study": lambda: _study(home, options.study),
        "ray": lambda: _cluster(home, options) if options.address else _ray(),
    }
    for name, check in checks.items():
        try:
            yield check()
        except Exception as error:  # whatever a driver or server raises is what the user has come to see
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
        torch.ones(8, device=f"cuda:{index}").sum().item()  # a driver that is too old shows here
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


def _storage(home: Home, location: str | None) -> Check:
    from trainables.storage import Storage, storage_location

    where = storage_location(location) if location else str(_existing(home.root))
    Storage(where).probe()
    return Check("storage", OK, f"{where}: written, read, deleted")


def _tracking(home: Home, tracking: str | None) -> Check:
    from analysis.connect import readable_errors, shown
    from pipeline.tracking import open_client

    if tracking is None and not Path(home.tracking.removeprefix("sqlite:///")).is_file():
        # Nothing is there yet: try whether a database can be made on that disk, and leave none behind.
        with tempfile.TemporaryDirectory(dir=_existing(home.root), prefix=f".{SCRATCH_NAME}-") as folder:
            trial = Home(Path(folder))
            with readable_errors(trial.tracking):
                _write_experiment(open_client(trial, None))
        return Check("tracking", OK, f"no sweeps in {home.root} yet; a database can be made there")
    client = open_client(home, tracking)
    with readable_errors(tracking or home.tracking):
        _write_experiment(client)
    return Check("tracking", OK, f"{shown(tracking or home.tracking)}: a run was written and deleted")


def _write_experiment(client: MlflowClient) -> None:
    """Make an experiment with a run, and delete it. MLflow keeps what is deleted, so the next time it is the same."""
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
            raise UserError("the tracking server did not give back the metric that was written")
        client.delete_run(run.info.run_id)
    finally:
        client.delete_experiment(number)


def _study(home: Home, study: str | None) -> Check:
    from analysis.connect import shown

    if study is None and not Path(home.study.removeprefix("sqlite:///")).is_file():
        with tempfile.TemporaryDirectory(dir=_existing(home.root), prefix=f".{SCRATCH_NAME}-") as folder:
            _write_study(Home(Path(folder)).study)
        return Check("study", OK, f"no studies in {home.root} yet; a database can be made there")
    _write_study(study or home.study)
    return Check("study", OK, f"{shown(study or home.study)}: a study was written and deleted")


def _write_study(url: str) -> None:
    import optuna

    from pipeline.study import open_study

    name = f"{SCRATCH_NAME}-{uuid.uuid4().hex}"
    study = open_study(url, name, ["minimize"])
    try:
        study.add_trial(optuna.trial.create_trial(values=[1.0]))
        if len(study.get_trials()) != 1:
            raise UserError("the study database did not give back the trial that was written")
    finally:
        optuna.delete_study(study_name=name, storage=url)


def _ray() -> Check:
    import ray

    from pipeline.cluster import RAY_SECONDS, local_ray

    def process_id() -> int:  # a local function travels by value: the workers need not find this module
        return os.getpid()

    with tempfile.TemporaryDirectory() as folder, local_ray(Path(folder), 1):
        process = ray.get(ray.remote(process_id).remote(), timeout=RAY_SECONDS)
    return Check("ray", OK, f"Ray {ray.__version__} starts, and ran a task in process {process}")


def _cluster(home: Home, options: DoctorOptions) -> Check:
    from pipeline.cluster import connected
    from pipeline.preflight import require_nodes
    from trainables.storage import Storage, storage_location

    where = storage_location(options.storage) if options.storage else str(_existing(home.root))
    with connected(options.address) as nodes:
        checked = require_nodes(nodes, Storage(where))
    about = (f"{n.host} ({n.cpus:g} cores, {n.gpus:g} GPUs, {n.memory / GIB:.1f} GiB free)" for n in checked)
    return Check("ray", OK, f"{options.address}: {len(checked)} nodes ready: {', '.join(about)}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists: the doctor makes none."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())
