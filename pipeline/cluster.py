"""Ray, on this machine or on a cluster that is already running; our code travels to the cluster's workers."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.settings import usable_cores
from pipeline.termination import Termination
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("analysis", "pipeline", "search_spaces", "trainables")
CODE_LIMIT = 10 * 2**20
"""Bytes. Ours are a fiftieth of it: more means that something else was put beside the code."""
TCP_SECONDS, RAY_SECONDS = 5.0, 90.0
"""How long an address may take to accept a connection, and to let a driver in."""
WATCH_SECONDS = 0.5
"""Between two looks at Ray's processes; it may take as long until a SIGTERM that has hit them is seen."""
INTERRUPTIONS, AGAIN_SECONDS = 3, 10.0
"""One may fall into code that swallows it; the next comes after so long."""

# Ray waits minutes for an address that is no cluster, and logs from C++ meanwhile: another process tries it first.
_TRY = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL", configure_logging=False)
except BaseException as error:
    print(" ".join(str(error).split()) or type(error).__name__)
    sys.exit(1)
"""


@dataclass(frozen=True)
class Node:
    """A machine that runs trials; ``memory`` is what is free, in bytes. The local one has no ``id``."""

    host: str
    cpus: float
    gpus: float
    memory: float
    id: str = ""


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[tuple[Node, ...]]:
    """Connect to the cluster at ``address``; without one, only describe this machine.

    Args:
        address: ``auto`` for the cluster that this machine belongs to, or HOST:PORT.

    Raises:
        UserError: no cluster answers, it has another version of Ray or Python, or this process has a Ray already.
    """
    import ray

    if address is None:
        yield (this_machine(),)
        return
    if ray.is_initialized():
        raise UserError(f"this process has a Ray already; end it with ray.shutdown() to use --address {address}")
    require_cluster(address)
    with tempfile.TemporaryDirectory(prefix="gansweep-code-") as code:
        stage_code(Path(code))
        with _ray(address=address, runtime_env={"working_dir": code}):
            yield cluster_nodes()


@contextlib.contextmanager
def local_ray(folder: Path, cores: int) -> Iterator[None]:
    """A quiet Ray on this machine with at least ``cores`` slots for cores, unless a Ray is there already.

    Ray puts the driver's working directory first on its workers' import path: a foreign ``analysis`` or ``pipeline``
    package there would be imported instead of ours. So the driver stands in ``folder`` while Ray starts.
    """
    with contextlib.chdir(folder), _ray(
        address="local",
        num_cpus=max(usable_cores(), cores),
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
    ):  # fmt: skip
        yield


@contextlib.contextmanager
def _ray(**options: Any) -> Iterator[None]:
    import ray

    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")  # a diverged trial has no distance to report
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failed trials are reported by our own callback
    started = not ray.is_initialized()
    try:
        if started:
            _start(**options)
        yield
    finally:
        if started:
            ray.shutdown()


def _start(**options: Any) -> None:
    """Start or join a Ray, and take SIGTERM back: Ray's handlers print their stack and end Ray below the driver."""
    import ray

    ours = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except SystemExit:  # a SIGTERM meanwhile, as Ray answers it
        if isinstance(ours, Termination):
            ours(signal.SIGTERM, None)
        raise
    finally:
        if isinstance(ours, Termination):
            ours.listen()


@contextlib.contextmanager
def leaving_a_dead_ray() -> Iterator[None]:
    """Interrupt what waits for this machine's Ray once more when the SIGTERM has ended Ray as well.

    ``timeout`` and systemd send it to every process of a command. Ray Tune, which then stops its trials in
    order, would wait for a minute, and Ray end this process before the runs are closed.
    """
    termination, daemons = signal.getsignal(signal.SIGTERM), _daemons()
    if not isinstance(termination, Termination) or not daemons:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        interruptions = 0
        while interruptions < INTERRUPTIONS and not over.wait(AGAIN_SECONDS if interruptions else WATCH_SECONDS):
            if termination.received and any(map(_has_ended, daemons)):
                os.kill(os.getpid(), signal.SIGTERM)
                interruptions += 1

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _daemons() -> list[psutil.Process]:
    """The processes of a Ray that this one has started, without the workers."""
    return [child for child in psutil.Process().children() if _name(child) in ("gcs_server", "raylet")]


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def this_machine() -> Node:
    """What this process may use."""
    import torch

    return Node("this machine", usable_cores(), torch.cuda.device_count(), psutil.virtual_memory().available)


def cluster_nodes() -> tuple[Node, ...]:
    """The living nodes of the Ray that is connected to; ``memory`` is what Ray may use."""
    import ray

    return tuple(
        Node(
            str(node["NodeManagerAddress"]),
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
            node["Resources"].get("memory", 0.0),
            str(node["NodeID"]),
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    )


def require_cluster(address: str) -> None:
    """Find out sooner than Ray itself would whether a cluster lets this process in.

    Raises:
        UserError: why not, in Ray's own words where it has any.
    """
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), TCP_SECONDS).close()
        except OSError as error:
            raise UserError(
                f"no Ray cluster answers at --address {address} ({error.strerror or error}); "
                "`ray start --head` starts one, `ray status` shows whether it runs"
            ) from error
    words = [sys.executable, "-P", "-c", _TRY, address]
    try:
        tried = subprocess.run(words, capture_output=True, text=True, timeout=RAY_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"what answers at --address {address} let no Ray driver in within {RAY_SECONDS:.0f} s; is it the head's "
            "port (6379 by default), and is this machine a node of the cluster (`ray start --address=...`)?"
        ) from error
    if tried.returncode:
        said = (tried.stdout.strip().splitlines() or tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"cannot use the Ray cluster at --address {address}: {said}")


def stage_code(folder: Path) -> int:
    """Copy our four packages, and nothing that lies beside them, for Ray to send to the workers.

    Returns:
        Bytes copied.

    Raises:
        UserError: more than ``CODE_LIMIT``.
    """
    for name in PACKAGES:
        source = Path(str(importlib.import_module(name).__file__)).parent
        shutil.copytree(source, folder / name, ignore=_not_code)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > CODE_LIMIT:
        raise UserError(
            f"the code to send to the cluster has {size / 2**20:.0f} MiB, allowed are {CODE_LIMIT / 2**20:.0f}; "
            f"is there anything but code in {', '.join(PACKAGES)}?"
        )
    return size


def _not_code(folder: str, names: list[str]) -> set[str]:
    kept = {name for name in names if Path(name).suffix == ".py" or name == "py.typed"}
    return {name for name in names if name not in kept and (name == "__pycache__" or not Path(folder, name).is_dir())}
