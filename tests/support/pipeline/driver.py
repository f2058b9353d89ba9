"""Drivers in other processes, which tests kill, and checks of the sweeps that they leave."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from optuna.trial import TrialState

from analysis import schema
from tests.support.pipeline.command_line import TRIALS_OF_TUNE, Hold, command_words, is_called, start_cli
from tests.support.pipeline.sweep import Swept, tiny_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.settings import SweepSettings


KIMG = 4
TRIALS = 4


def fault_settings(home: Path, data: Path, name: str, **changes: Any) -> SweepSettings:
    """Return settings with which every trial completes, and suggestions depend on the trial number alone."""
    options = {"trials": TRIALS, "max_kimg": KIMG, "sampler": "grid", "scheduler": "none", **changes}
    return tiny_settings(home, data, name, **options)


STARTED: list[Driver] = []
"""Drivers started by the running test."""


@dataclass(frozen=True)
class Driver:
    """A driver in another process, and its sweep."""

    process: subprocess.Popen[str]
    swept: Swept

    @classmethod
    def start(
        cls, settings: SweepSettings, cwd: Path, words: list[str] | None = None, hold: Hold | None = None
    ) -> Driver:
        """Start ``gansweep run`` with these settings, or a command line of ``words``."""
        started = cls(start_cli(words or command_words(settings), cwd, hold=hold), Swept(settings, "", ""))
        STARTED.append(started)
        return started

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """Return the stored results of each trial."""
        results = {}
        for path in self.swept.folder.glob("*/results.jsonl"):
            results[path.parent.name] = [json.loads(line) for line in path.read_text().splitlines()]  # atomic
        return results

    def wait_for(self, condition: Callable[[], bool], seconds: float = 900) -> bool:
        """Wait until a condition holds; return False if the driver ended before."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if condition():
                return True
            if time.monotonic() > end:
                self.kill_all()
                pytest.fail("it did not happen in time")
            time.sleep(0.05)
        return condition()

    def wait_for_results(self, count: int) -> bool:
        """Wait until all trials together have ``count`` results."""
        return self.wait_for(lambda: sum(map(len, self.results().values())) >= count)

    def processes(self) -> list[psutil.Process]:
        """Return the driver and its child processes: Ray's servers and the workers."""
        try:
            driver = psutil.Process(self.process.pid)
            return [driver, *driver.children(recursive=True)]
        except psutil.NoSuchProcess:  # the driver has ended by itself
            return []

    def workers(self) -> list[psutil.Process]:
        """Return the processes that train trials."""
        return [process for process in self.processes() if is_called(process, TRIALS_OF_TUNE)]

    def kill(self) -> None:
        """Kill the driver, as the system's out-of-memory killer does."""
        self.process.kill()
        self.process.communicate(timeout=300)

    def kill_all(self) -> None:
        """Kill all processes, as in a power cut."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.communicate(timeout=300)

    def end(self, seconds: float = 1200) -> tuple[int, str]:
        """Wait for the driver to end, and return its exit code and stderr."""
        try:
            _, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise
        return self.process.returncode, err


def require_whole(swept: Swept, trials: int = TRIALS, kimg: int = KIMG) -> dict[str, float]:
    """Check that nothing is lost or duplicated: one run per key, one point per step, and a study that matches the runs.

    Returns:
        The last distance by key.
    """
    name = swept.settings.name
    runs = swept.runs()
    assert [run.data.tags[schema.KEY] for run in runs] == [f"{name}-{number:05d}" for number in range(trials)]
    for run in runs:
        ended = (run.data.tags[schema.STATUS], run.info.status)
        assert ended == ("complete", "FINISHED"), run.data.tags.get(schema.REASON)
        for metric in run.data.metrics:
            steps = [point.step for point in swept.client.get_metric_history(run.info.run_id, metric)]
            assert steps == sorted(set(steps)), (run.data.tags[schema.KEY], metric, steps)
        steps = [point.step for point in swept.client.get_metric_history(run.info.run_id, schema.DISTANCE)]
        assert steps == list(range(1, kimg + 1))
    (parent,) = swept.runs("sweep")
    assert (parent.data.tags[schema.STATUS], parent.info.status) == ("complete", "FINISHED")
    study_trials = swept.trials()
    assert [trial.state for trial in study_trials] == [TrialState.COMPLETE] * trials
    last = [run.data.metrics[schema.DISTANCE] for run in runs]
    assert [trial.values[0] for trial in study_trials] == last
    assert not (swept.folder / "spool").exists()
    return {run.data.tags[schema.KEY].removeprefix(f"{name}-"): value for run, value in zip(runs, last, strict=True)}
