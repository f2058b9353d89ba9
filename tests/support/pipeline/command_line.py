"""The command line, run in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.settings import SweepSettings


REPOSITORY = Path(__file__).resolve().parents[3]


def command_words(settings: SweepSettings) -> list[str]:
    """Return the arguments of the command line that result in these settings."""
    words = ["run", settings.space]
    for name, value in settings.to_json().items():
        option = f"--{name.replace('_', '-')}"
        if name == "space" or value is None or isinstance(value, bool):
            words += [option] if value is True else []
            continue
        for entry in value if isinstance(value, list | tuple) else [value]:
            words += [option, str(entry)]
    return words


def until(condition: Callable[[], object], seconds: float = 600) -> None:
    """Wait until a condition holds; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


TRIALS_OF_TUNE = ("ray::ResourceTrainable", "ray::TuneTrial", "ray::ProxyTrial")
"""Ray's titles of trial processes: Tune's class while a method runs, our class between two methods."""


def is_called(process: psutil.Process, title: str | tuple[str, ...]) -> bool:
    """Return whether a process is alive and its title, which Ray sets for workers, begins with ``title``."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and " ".join(process.cmdline()).startswith(title)
    except psutil.NoSuchProcess:
        return False


MAIN = "import sys; from pipeline.cli.main import main; sys.exit(main())"
HELD = """
import sys, time
from pathlib import Path
from pipeline.tune_adapters.callback import SweepCallback
from pipeline.cli.main import main

folder, results, trials = Path(sys.argv.pop(1)), int(sys.argv.pop(1)), int(sys.argv.pop(1))
report, keys = SweepCallback.on_trial_result, []

def held(self, **info):
    report(self, **info)
    keys.append(info["trial"].config["key"])
    if len(keys) >= results and len(set(keys)) >= trials:
        (folder / "reached").touch()
        while not (folder / "go-on").exists():
            time.sleep(0.02)

SweepCallback.on_trial_result = held
sys.exit(main())
"""


@dataclass(frozen=True)
class Hold:
    """Point at which a driver waits, after its first results, until ``release``; its trials cannot end meanwhile."""

    folder: Path
    results: int = 1
    """Number of results before the driver waits."""
    trials: int = 1
    """Number of trials that must have reported one."""

    def wait(self, process: subprocess.Popen[str], seconds: float = 900) -> None:
        """Wait until the driver has reached the point."""
        end = time.monotonic() + seconds
        while not (self.folder / "reached").exists():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                pytest.fail(f"it has not come so far: {process.communicate()}")
            time.sleep(0.05)

    def release(self) -> None:
        """Let the driver continue to its end."""
        (self.folder / "go-on").touch()


def start_cli(words: list[str], cwd: Path, *, hold: Hold | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m pipeline.cli.main`` in another process."""
    code = [MAIN] if hold is None else [HELD, str(hold.folder), str(hold.results), str(hold.trials)]
    return subprocess.Popen(
        [sys.executable, "-c", *code, *words],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_cli(words: list[str], cwd: Path, timeout: float = 900, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m pipeline.cli.main`` in another process."""
    process = start_cli(words, cwd, **environment)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)
