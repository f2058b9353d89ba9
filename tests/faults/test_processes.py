"""Killed processes: drivers, workers, both; and two drivers of one sweep."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.pipeline.command_line import Hold, until
from tests.support.pipeline.driver import KIMG, TRIALS, Driver, fault_settings, require_whole
from tests.support.pipeline.sweep import CONCURRENT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.real_processes]

SEED = 11


def test_a_driver_that_is_killed_three_times_loses_and_repeats_nothing(
    home_with_classifier: Path, faces: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    settings = fault_settings(home_with_classifier, faces, "driver-killed")
    resume = ["resume", "driver-killed", "--home", str(home_with_classifier)]
    moments = random.Random(SEED)
    lines = sorted(moments.sample(range(1, TRIALS * KIMG - 2), 2))
    driver = Driver.start(settings, tmp_path)
    assert driver.wait_for((driver.swept.folder / "sweep.json").exists)  # before the first trial
    driver.kill_all()
    driver = Driver.start(settings, tmp_path, resume)
    for count, how in zip(lines, (Driver.kill, Driver.kill_all), strict=True):
        assert driver.wait_for_results(count)
        time.sleep(moments.uniform(0, 0.5))
        how(driver)
        driver = Driver.start(settings, tmp_path, resume)
    code, err = driver.end()
    assert code == 0, err
    assert "Traceback" not in err
    assert require_whole(driver.swept) == undisturbed


def test_a_worker_that_is_killed_leaves_its_trial_to_another(
    home_with_classifier: Path, faces: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    hold = Hold(tmp_path, results=CONCURRENT + 1)  # so that one of the trials has two
    driver = Driver.start(fault_settings(home_with_classifier, faces, "orphaned"), tmp_path, hold=hold)
    hold.wait(driver.process)
    victims = driver.workers()
    assert victims
    # The last result may be written while its checkpoint is not: it is computed again.
    before = {key: lines[:-1] for key, lines in driver.results().items() if len(lines) >= 2}
    assert before
    for victim in victims:
        victim.kill()
    hold.release()
    code, err = driver.end()
    assert code == 0, err
    assert "Traceback" not in err
    # Their results are those of before, seconds and all: the trials went on and did not begin anew.
    after = driver.results()
    assert {key: after[key][: len(lines)] for key, lines in before.items()} == before
    assert require_whole(driver.swept) == undisturbed


def test_of_two_drivers_that_start_at_once_one_runs(home_with_classifier: Path, faces: Path, tmp_path: Path) -> None:
    settings, hold = fault_settings(home_with_classifier, faces, "twice", trials=2, max_kimg=2), Hold(tmp_path)
    drivers = [Driver.start(settings, tmp_path, hold=hold) for _ in range(2)]
    until(lambda: any(driver.process.poll() is not None for driver in drivers))
    hold.release()
    ends = sorted(driver.end() for driver in drivers)
    assert [code for code, _ in ends] == [0, 1], ends
    (line,) = ends[1][1].splitlines()
    assert line.startswith("gansweep: error: sweep 'twice' is in use by process ")
    assert line.endswith("; wait for its end, or stop it")
    require_whole(drivers[0].swept, 2, 2)
