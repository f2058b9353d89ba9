"""MLflow's pages: served by a real server until a signal, and by nothing afterwards."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from mlflow import MlflowClient

from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.serve import mlflow_pages
from tests.support.pipeline.command_line import is_called, start_cli, until
from tests.support.servers.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


class Healthy(BaseHTTPRequestHandler):
    """Answers as MLflow's server does when it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@pytest.mark.real_processes
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_command_ends_the_pages(tmp_path: Path, number: signal.Signals) -> None:
    home, port = Home.find(tmp_path / "home"), free_port()
    home.root.mkdir()
    MlflowClient(home.tracking).create_experiment("known")
    process = start_cli(["ui", "--home", str(home.root), "--port", str(port), "--no-open"], tmp_path)

    def healthy() -> bool:
        assert process.poll() is None, process.communicate()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=60) as answer:
                return bool(answer.read() == b"OK")
        except OSError:
            return False

    until(healthy)
    servers = psutil.Process(process.pid).children(recursive=True)
    assert servers
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert "gansweep: error: interrupted\n" in err
    until(lambda: not [one for one in servers if is_called(one, "")])


def test_a_home_without_sweeps_and_an_invalid_port_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", "--home", str(tmp_path)]) == 1
    assert f"no sweeps in {tmp_path}; run one first" in capsys.readouterr().err
    (tmp_path / "mlflow.db").touch()
    assert main(["ui", "--home", str(tmp_path), "--port", "70000"]) == 2
    assert "--port is 70000; allowed: 1 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("name", [[], ["faces"]])
@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_a_file_that_is_no_database_is_one_line_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: list[str], content: bytes
) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(content)
    monkeypatch.setattr(mlflow_pages.subprocess, "Popen", lambda *_: pytest.fail("a server was started"))
    assert main(["ui", *name, "--home", str(tmp_path), "--port", str(free_port()), "--no-open"]) == 1
    answer = capsys.readouterr()
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert str(tmp_path) in line
    assert ("no database of MLflow" if not content else "not a database") in line
    assert file.read_bytes() == content


@pytest.mark.parametrize("has_database", [True, False])
def test_a_sweep_on_a_server_has_its_address_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], has_database: bool
) -> None:
    def started(name: str, tracking: str) -> None:
        (tmp_path / "trials" / name).mkdir(parents=True)
        settings = {"started_with": {"tracking": tracking}}
        (tmp_path / "trials" / name / "sweep.json").write_text(json.dumps(settings))

    if has_database:
        (tmp_path / "mlflow.db").touch()
    started("faces", "https://me:secret@mlflow.test:5000")
    assert main(["ui", "faces", "--home", str(tmp_path), "--no-open"]) == 0
    answer = capsys.readouterr()
    assert answer.out == "sweep 'faces' is tracked by a server, which has its pages: https://***@mlflow.test:5000\n"
    started("others", "postgresql://me:secret@db.test/mlflow")
    assert main(["ui", "others", "--home", str(tmp_path), "--no-open"]) == 1
    error = capsys.readouterr().err
    assert "sweep 'others' is tracked in postgresql://***@db.test/mlflow" in error
    if not has_database:
        assert main(["ui", "--home", str(tmp_path), "--no-open"]) == 1
        assert f"no sweep is tracked in {tmp_path}; `gansweep ui NAME` says where" in capsys.readouterr().err


def test_a_port_in_use_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mlflow.db").touch()
    monkeypatch.setattr(mlflow_pages.subprocess, "Popen", lambda *_: pytest.fail("a server was started"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["ui", "--home", str(tmp_path), "--port", str(port)]) == 1
    assert f"port {port} is in use; give another --port" in capsys.readouterr().err


def test_the_browser_opens_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    opened: list[str] = []
    monkeypatch.setattr(mlflow_pages.webbrowser, "open", opened.append)
    process: Any = SimpleNamespace(poll=iter([None, 0]).__next__)  # ended after the first attempt
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        mlflow_pages._open_when_ready(process, f"http://127.0.0.1:{server.server_port}", "page")
        server.shutdown()
        thread.join()
    assert opened == ["page"]
