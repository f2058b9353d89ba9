"""A local ``mlflow models serve``, queried over HTTP."""

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

import pipeline
from tests.support.servers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self


class Served:
    """Server of an MLflow model, a context manager that stops it at the end of the block."""

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

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def ask(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Send a request, and return the HTTP status and the response."""
        url = f"http://127.0.0.1:{self.port}/invocations"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


WITHOUT_GANSWEEP = """
import sys
for name in ("torch", "torchvision", "ray", "optuna", "onnx", "safetensors", "scipy", "tyro", "rich"):
    sys.modules[name] = None
sys.path = [path for path in sys.path if path != sys.argv[1]]
sys.meta_path = [one for one in sys.meta_path if "editable" not in str(one)]
{code}
ours = [module for name, module in sys.modules.items() if name.startswith(("pipeline.", "trainables."))]
files = [module.__file__ for module in ours if getattr(module, "__file__", None)]
assert files and all(file.startswith(sys.argv[2]) for file in files), files
"""


def run_without_gansweep(code: str, words: Sequence[str], folder: Path) -> str:
    """Run Python code without gansweep and its heavy dependencies, and return its output.

    ``words``, the first of which is a model's folder, are ``sys.argv[2:]``. The code may import gansweep's modules only
    from the model's folder.
    """
    root = str(Path(pipeline.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GANSWEEP.replace("{code}", code), root, *words],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
