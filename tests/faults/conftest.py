"""Sweeps in processes of their own that are killed, and the one rule that what is left must obey."""

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
from tests.conftest import make_judged_home
from tests.pipeline.conftest import TRIALS_OF_TUNE, Hold, Swept, command_words, is_called, start_cli, tiny_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.settings import SweepSettings

KIMG = 4
TRIALS = 4


def fault_settings(home: Path, data: Path, name: str, **changes: Any) -> SweepSettings:
    """A sweep whose every trial runs to its end, and whose proposals follow from their numbers alone."""
    given = {"trials": TRIALS, "max_kimg": KIMG, "sampler": "grid", "scheduler": "none", **changes}
    return tiny_settings(home, data, name, **given)


STARTED: list[Driver] = []
"""By the test that runs."""


@dataclass(frozen=True)
class Driver:
    """A driver in a process of its own, and the sweep that it works at."""

    process: subprocess.Popen[str]
    swept: Swept

    @classmethod
    def start(
        cls, settings: SweepSettings, cwd: Path, words: list[str] | None = None, hold: Hold | None = None
    ) -> Driver:
        """``gansweep run`` with these settings, or other words."""
        started = cls(start_cli(words or command_words(settings), cwd, hold=hold), Swept(settings, "", ""))
        STARTED.append(started)
        return started

    def results(self) -> dict[str, list[dict[str, Any]]]:
        """What each trial has written into its journal."""
        found = {}
        for path in self.swept.folder.glob("*/results.jsonl"):
            found[path.parent.name] = [json.loads(line) for line in path.read_text().splitlines()]  # appears whole
        return found

    def wait_for(self, condition: Callable[[], bool], seconds: float = 900) -> bool:
        """Wait for something; False when the driver ended without it."""
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
        """Wait until all trials together have so many."""
        return self.wait_for(lambda: sum(map(len, self.results().values())) >= count)

    def processes(self) -> list[psutil.Process]:
        """The driver and all that it has started: Ray's servers, and the workers."""
        try:
            driver = psutil.Process(self.process.pid)
            return [driver, *driver.children(recursive=True)]
        except psutil.NoSuchProcess:  # it has ended by itself
            return []

    def workers(self) -> list[psutil.Process]:
        """Processes that train."""
        return [process for process in self.processes() if is_called(process, TRIALS_OF_TUNE)]

    def kill(self) -> None:
        """As the system's out-of-memory killer ends a driver."""
        self.process.kill()
        self.process.communicate(timeout=300)

    def kill_all(self) -> None:
        """As a power cut ends everything at once."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.communicate(timeout=300)

    def end(self, seconds: float = 1200) -> tuple[int, str]:
        """Exit code and stderr of a driver that is left alone."""
        try:
            _, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise
        return self.process.returncode, err


@pytest.fixture(autouse=True)
def no_driver_outlives_its_test() -> Iterator[None]:
    """A test that fails half-way leaves nothing running."""
    yield
    while STARTED:
        driver = STARTED.pop()
        if driver.process.poll() is None:
            driver.kill_all()


def require_whole(swept: Swept, trials: int = TRIALS, kimg: int = KIMG) -> dict[str, float]:
    """Nothing lost, nothing double: one run a key, one point a step, and the study says what the runs say.

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
    told = swept.trials()
    assert [trial.state for trial in told] == [TrialState.COMPLETE] * trials
    last = [run.data.metrics[schema.DISTANCE] for run in runs]
    assert [trial.values[0] for trial in told] == last
    assert not (swept.folder / "spool").exists()
    return {run.data.tags[schema.KEY].removeprefix(f"{name}-"): value for run, value in zip(runs, last, strict=True)}


@pytest.fixture(scope="session")
def undisturbed(judged_home: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The last distance by number of a sweep in which nothing happens."""
    driver = Driver.start(fault_settings(judged_home, faces, "undisturbed"), tmp_path_factory.mktemp("undisturbed"))
    code, err = driver.end()
    assert code == 0, err
    return require_whole(driver.swept)


@pytest.fixture(scope="session")
def judged_home(tmp_path_factory: pytest.TempPathFactory, faces: Path) -> Path:
    """Apart from that of other folders' tests."""
    return make_judged_home(tmp_path_factory, faces)
