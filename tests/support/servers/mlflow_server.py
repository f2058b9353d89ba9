"""A local MLflow server that tests can stop and start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.servers.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class MlflowServer:
    """``mlflow server``, which also serves the artifacts."""

    folder: Path
    backend: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, seconds: float = 600) -> None:
        words = ["server", "--backend-store-uri", self.backend, "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--workers", "1", "--serve-artifacts", "--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *words], cwd=self.folder, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=60):
                return
            time.sleep(0.2)
        self.stop()
        pytest.fail(f"no MLflow server: {(self.folder / 'server.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Kill the server and its workers, as in a failure of their machine."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
