"""Serve MLflow's pages of a home on loopback, and open those of a sweep."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import webbrowser
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from analysis import schema
from analysis.mlflow_reader.connect import open_tracking, readable_errors, redact_uri
from analysis.mlflow_reader.sweep import tracked_elsewhere
from trainables.errors import UsageError, UserError, nearest

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.home import Home

_PAUSE: Final = 0.3
_RUNS: Final = "{server}/#/experiments/{experiment}/runs?workflowType=machine_learning"
_BY_DISTANCE: Final = f"&orderByKey=metrics.%60{schema.DISTANCE}%60&orderByAsc=true"
_VIEW: Final = f"&viewStateShareKey={schema.RUNS_VIEW}"
"""The view says how the runs are sorted, and MLflow ignores it where the address does."""


def serve_pages(home: Home, name: str | None, port: int, *, browse: bool) -> int:
    """Serve until a signal; print the addresses first.

    Args:
        home: whose database is served.
        name: of the sweep whose pages are printed; default: the list of all experiments. Of a sweep that a server
            tracks, the address of the server is printed, and nothing is served.
        port: on the loopback interface.
        browse: open the first address in a browser, where there is a display.

    Raises:
        UserError: the home has no sweeps, the sweep is in another database, or the port is in use.
        UsageError: an unknown sweep, or an invalid port.
        AnalysisError: the home's database is none of MLflow's.
    """
    if name is not None and (server := tracked_elsewhere(home.sweep(name) / schema.SETTINGS_FILE)) not in (
        None,
        home.tracking,
    ):
        return _name_server(name, str(server))
    if not home.tracking_file.is_file():
        if any(home.root.glob(f"trials/*/{schema.SETTINGS_FILE}")):
            raise UserError(f"no sweep is tracked in {home.root}; `gansweep ui NAME` says where NAME is")
        raise UserError(f"no sweeps in {home.root}; run one first, or give --home")
    if not 1 <= port <= 65535:
        raise UsageError(f"--port is {port}; allowed: 1 to 65535")
    _require_free(port)
    open_tracking(home.root)  # the server would make its tables in any file
    server = f"http://127.0.0.1:{port}"
    pages = {"": server} if name is None else sweep_pages(server, home, name)
    for title, address in pages.items():
        print(f"{title} {address}".strip(), flush=True)
    print("(Ctrl-C stops it)", flush=True)
    words = ["server", "--backend-store-uri", home.tracking, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([sys.executable, "-m", "mlflow", *words]) as process:
        try:
            if browse and _has_display():
                address = next(iter(pages.values()))
                threading.Thread(target=_open_when_ready, args=(process, server, address), daemon=True).start()
            return process.wait()
        finally:
            process.terminate()  # the server passes the signal on to its worker processes


def _name_server(name: str, tracking: str) -> int:
    """Print where the pages of a sweep are that is not tracked in its home."""
    place = redact_uri(tracking)
    if urlsplit(tracking).scheme not in ("http", "https"):
        raise UserError(
            f"sweep {name!r} is tracked in {place}; `mlflow server --backend-store-uri {place}` serves its pages"
        )
    print(f"sweep {name!r} is tracked by a server, which has its pages: {place}", flush=True)
    return 0


def sweep_pages(server: str, home: Home, name: str) -> dict[str, str]:
    """Return the addresses of a sweep's pages by title: its runs, lowest distance first, and its own run.

    Raises:
        UsageError: the home's database has no such sweep.
    """
    client = open_tracking(home.root)
    with readable_errors(home.tracking):
        return _find_pages(client, server, home, name)


def _find_pages(client: MlflowClient, server: str, home: Home, name: str) -> dict[str, str]:
    experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        known = [one.name for one in client.search_experiments() if one.name != "Default"]
        raise UsageError(f"no sweep {name!r} in {home.root}{nearest(name, known)}; `gansweep list` lists them")
    number = experiment.experiment_id
    view = f"mlflow.sharedViewState.{schema.RUNS_VIEW}" in experiment.tags
    address = _RUNS.format(server=server, experiment=number)
    pages = {"runs, best first:": f"{address}{_VIEW if view else _BY_DISTANCE}"}
    for run in client.search_runs([number], f"tags.`{schema.KIND}` = '{schema.KIND_SWEEP}'", max_results=1):
        pages["ranking, front and samples:"] = f"{server}/#/experiments/{number}/runs/{run.info.run_id}"
    return pages


def _require_free(port: int) -> None:
    """Refuse a port on which another program answers: its pages would be taken for those of this home."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise UserError(f"port {port} {reason}; give another --port") from error


def _has_display() -> bool:
    """Whether a browser would open a window, not take over the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _open_when_ready(process: subprocess.Popen[bytes], server: str, address: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to this machine
    while process.poll() is None:
        try:
            with opener.open(f"{server}/health", timeout=60):
                webbrowser.open(address)
                return
        except OSError:
            time.sleep(_PAUSE)
