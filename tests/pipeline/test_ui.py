"""MLflow's pages: served by a real server until a signal, and by nothing afterwards."""

from __future__ import annotations

import signal
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest
from mlflow import MlflowClient

from pipeline.cli import main
from pipeline.home import Home
from tests.pipeline.conftest import is_called, start_cli, until
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_pages_are_there_until_a_signal_to_the_command_alone(tmp_path: Path, number: signal.Signals) -> None:
    home, port = Home.find(tmp_path / "home"), free_port()
    home.root.mkdir()
    MlflowClient(home.tracking).create_experiment("known")
    process = start_cli(["ui", "--home", str(home.root), "--port", str(port)], tmp_path)

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


def test_a_home_without_sweeps_and_a_port_that_is_none_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", "--home", str(tmp_path)]) == 1
    assert f"no sweeps in {tmp_path}; run one first" in capsys.readouterr().err
    (tmp_path / "mlflow.db").touch()
    assert main(["ui", "--home", str(tmp_path), "--port", "70000"]) == 2
    assert "--port is 70000; allowed: 1 to 65535" in capsys.readouterr().err
