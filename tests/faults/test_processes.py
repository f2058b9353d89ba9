"""Processes that are killed without a word: drivers, workers, everything; and two drivers of one sweep."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.faults.conftest import KIMG, TRIALS, Driver, fault_settings, require_whole
from tests.pipeline.conftest import CONCURRENT, Hold, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SEED = 11


def test_a_driver_that_is_killed_three_times_loses_and_doubles_nothing(
    judged_home: Path, faces: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    settings = fault_settings(judged_home, faces, "killed")
    resume = ["resume", "killed", "--home", str(judged_home)]
    moments = random.Random(SEED)
    lines = sorted(moments.sample(range(1, TRIALS * KIMG - 2), 3))
    driver = Driver.start(settings, tmp_path)
    for count, how in zip(lines, (Driver.kill, Driver.kill_all, Driver.kill), strict=True):
        assert driver.wait_for_results(count)
        time.sleep(moments.uniform(0, 0.5))
        how(driver)
        driver = Driver.start(settings, tmp_path, resume)
    code, err = driver.end()
    assert code == 0, err
    assert "Traceback" not in err
    assert require_whole(driver.swept) == undisturbed


def test_a_driver_that_is_killed_before_the_first_trial_begins_again(
    judged_home: Path, faces: Path, tmp_path: Path
) -> None:
    settings = fault_settings(judged_home, faces, "early", trials=1, max_kimg=1)
    driver = Driver.start(settings, tmp_path)
    assert driver.wait_for((driver.swept.folder / "sweep.json").exists)
    driver.kill_all()
    driver = Driver.start(settings, tmp_path, ["resume", "early", "--home", str(judged_home)])
    code, err = driver.end()
    assert code == 0, err
    require_whole(driver.swept, 1, 1)


def test_a_worker_that_is_killed_leaves_its_trial_to_another(
    judged_home: Path, faces: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    hold = Hold(tmp_path, results=CONCURRENT + 1)  # so that one of the trials has two
    driver = Driver.start(fault_settings(judged_home, faces, "orphaned"), tmp_path, hold=hold)
    hold.wait(driver.process)
    victims = driver.workers()
    assert victims
    # The last result may be written while its checkpoint is not: it is computed again.
    before = {key: lines[:-1] for key, lines in driver.results().items() if len(lines) >= 2}
    assert before
    for victim in victims:
        victim.kill()
    hold.go_on()
    code, err = driver.end()
    assert code == 0, err
    assert "Traceback" not in err
    # Their results are those of before, seconds and all: the trials went on and did not begin anew.
    after = driver.results()
    assert {key: after[key][: len(lines)] for key, lines in before.items()} == before
    assert require_whole(driver.swept) == undisturbed


def test_of_two_drivers_that_start_at_once_one_runs(judged_home: Path, faces: Path, tmp_path: Path) -> None:
    settings, hold = fault_settings(judged_home, faces, "twice", trials=2, max_kimg=2), Hold(tmp_path)
    drivers = [Driver.start(settings, tmp_path, hold=hold) for _ in range(2)]
    until(lambda: any(driver.process.poll() is not None for driver in drivers))
    hold.go_on()
    ends = sorted(driver.end() for driver in drivers)
    assert [code for code, _ in ends] == [0, 1], ends
    (line,) = ends[1][1].splitlines()
    assert line.startswith("gansweep: error: sweep 'twice' is in use by process ")
    assert line.endswith("; wait for its end, or stop it")
    require_whole(drivers[0].swept, 2, 2)
