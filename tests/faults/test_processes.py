"""Killed processes: drivers, workers, both; and two drivers of one sweep."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import optuna
import pytest

from pipeline.search.samplers import make_sampler
from pipeline.sweep.images import load_images
from pipeline.sweep.prepare import narrow_space
from pipeline.sweep.resolve import resolve_sweep
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


def test_a_search_from_an_earlier_sweep_goes_on_as_if_its_driver_had_lived(
    home_with_classifier: Path, faces: Path, undisturbed: dict[str, float], tmp_path: Path
) -> None:
    """One trial at a time: suggestions depend on which trials have ended, and only then is their order known."""
    settings = fault_settings(
        home_with_classifier, faces, "liking", sampler="auto", like="undisturbed", max_kimg=2, concurrent=1
    )
    driver = Driver.start(settings, tmp_path)
    assert driver.wait_for_results(3)  # the second trial is running
    driver.kill()
    driver = Driver.start(settings, tmp_path, ["resume", "liking", "--home", str(home_with_classifier)])
    code, err = driver.end()
    assert code == 0, err
    said = " ".join(err.split())
    assert "--like undisturbed: " in said
    assert f" dimensions, from the best 1 of {TRIALS} complete trials" in said
    require_whole(driver.swept, kimg=2)

    resolved = resolve_sweep(settings)
    space = narrow_space(resolved, load_images(resolved.data, resolved.space, resolved.places.home.cache)).space
    whole = optuna.create_study(
        sampler=make_sampler(settings.sampler, settings.seed, space, earlier=resolved.prior),
        directions=["minimize", "maximize"],
    )
    whole.enqueue_trial(space.active_defaults())
    for recorded in driver.swept.trials():
        trial = whole.ask()
        space.sample(trial)
        assert trial.params == recorded.params, recorded.number
        whole.tell(trial, recorded.values)


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
