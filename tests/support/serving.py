"""``mlflow models serve`` on loopback, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ports import free_port

if TYPE_CHECKING:
    from typing import Self


class Served:
    """A server of an MLflow model until the block ends."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.port = free_port()
        words = ["models", "serve", "-m", str(model), "--env-manager", "local", "-h", "127.0.0.1"]
        self.log = (folder / "server.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "-p", str(self.port)],
            cwd=folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        )

    def __enter__(self) -> Self:
        for _ in range(3000):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=60).close()
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
            else:
                return self
        self.__exit__()
        pytest.fail(Path(self.log.name).read_text())

    def __exit__(self, *given: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def ask(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """HTTP status and answer."""
        url = f"http://127.0.0.1:{self.port}/invocations"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
