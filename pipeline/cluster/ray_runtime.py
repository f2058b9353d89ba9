"""Ray on this machine or on a running cluster; this code is sent to the cluster's workers."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.cluster.ray_files import provide_token, ray_folder, require_ray_folder
from pipeline.resources import usable_cores
from pipeline.signals import Termination, termination_blocked
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("analysis", "pipeline", "search_spaces", "trainables")
CODE_LIMIT = 10 * 2**20
"""Bytes. The packages have a fifth of it: more means that other files lie among them."""
TCP_SECONDS, RAY_SECONDS = 5.0, 90.0
"""Timeouts for an address to accept a connection, and to admit a driver."""

# Ray waits minutes for an address without a cluster and logs from C++ meanwhile, so another process tries it first.
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
    """A machine that runs trials; ``memory`` is its free memory in bytes. This machine has no ``id``."""

    host: str
    cpus: float
    gpus: float
    memory: float
    id: str = ""


@contextlib.contextmanager
def connect_cluster(address: str | None) -> Iterator[tuple[Node, ...]]:
    """Connect to the cluster at ``address``; without an address, describe this machine and start nothing.

    Args:
        address: ``auto`` for the cluster that this machine belongs to, or HOST:PORT.

    Raises:
        UserError: no cluster answers, it has another version of Ray or Python, Ray runs in this process already, or
            a local Ray would find no folder for its sockets.
    """
    import ray

    if address is None:
        require_ray_folder()
        yield (this_machine(),)
        return
    if ray.is_initialized():
        raise UserError(f"Ray runs in this process already; call ray.shutdown() to use --address {address}")
    require_cluster(address)
    with tempfile.TemporaryDirectory(prefix="gansweep-code-") as code:
        stage_code(Path(code))
        with _ray(address=address, runtime_env={"working_dir": code}):
            yield cluster_nodes()


@contextlib.contextmanager
def local_ray(folder: Path, cores: int) -> Iterator[None]:
    """Start a quiet Ray with at least ``cores`` cores on this machine, unless one is running in this process.

    Ray puts the driver's working directory first on its workers' import path, and would import another ``analysis`` or
    ``pipeline`` package from there. So the working directory is ``folder`` while Ray starts.
    """
    provide_token()
    with contextlib.chdir(folder), ray_folder() as sockets, _ray(
        address="local",
        _temp_dir=str(sockets),
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
    if ray.is_initialized():
        yield
        return
    try:
        _start(**options)
        yield
    finally:
        if options.get("address") == "local":
            _end_helpers()
        ray.shutdown()


def _start(**options: Any) -> None:
    """Start or join Ray, keep SIGTERM from the processes that it starts, and restore our handler.

    ``timeout`` and systemd send SIGTERM to every process of a command. Without its daemons Ray would end this process
    before the runs are closed; so they and the workers, which inherit the mask, ignore the signal, and end when this
    process shuts them down or dies. Ray's own handler prints a stack and ends Ray before the driver.
    """
    import ray

    termination = signal.getsignal(signal.SIGTERM)
    with termination_blocked():  # a signal that comes meanwhile is handled after it, by our handler ...
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except SystemExit:  # ... or by Ray's, if another thread of this process took it
            if isinstance(termination, Termination):
                termination(signal.SIGTERM, None)
            raise
        finally:
            if isinstance(termination, Termination):
                termination.listen()


def _end_helpers() -> None:
    """End the processes of a local Ray but its two daemons: they ignore SIGTERM, and Ray waits a second for each."""
    import ray

    folder = str(Path(ray.__file__).parent)
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if child.name() not in ("gcs_server", "raylet") and any(folder in word for word in child.cmdline()):
                    child.kill()


def this_machine() -> Node:
    """Describe the resources that this process may use."""
    import torch

    return Node("this machine", usable_cores(), torch.cuda.device_count(), psutil.virtual_memory().available)


def cluster_nodes() -> tuple[Node, ...]:
    """Return the living nodes of the connected cluster; ``memory`` is what Ray may use, in bytes."""
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
    """Check that a cluster admits this process, faster than ``ray.init`` would.

    Raises:
        UserError: no cluster answers, or Ray's own message.
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
            f"--address {address} did not admit a Ray driver within {RAY_SECONDS:.0f} s; is it the head's "
            "port (6379 by default), and is this machine a node of the cluster (`ray start --address=...`)?"
        ) from error
    if tried.returncode:
        reason = (tried.stdout.strip().splitlines() or tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"cannot use the Ray cluster at --address {address}: {reason}")


def stage_code(folder: Path) -> int:
    """Copy the packages, and no other files beside them, for Ray to send to the workers.

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
