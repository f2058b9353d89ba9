"""Sweeps whose trials share processes: each trial's scores, runs and end are those of the same sweep without."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pipeline.cli import main
from search_spaces.registry import find_space
from tests.pipeline.conftest import FIXED, Swept, command_words, start_cli, sweep, tiny_settings
from trainables.fused import FREE

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.settings import SweepSettings

EQUAL = tuple(
    f"{dimension.name}={dimension.default}"
    for dimension in find_space("acgan").dimensions
    if dimension.name not in {*FREE, *(text.split("=")[0] for text in FIXED)}
)
"""All that would keep two trials from being one program."""


def settings_of(home: Path, data: Path, name: str, **changes: Any) -> SweepSettings:
    """Random proposals are the same in every sweep, whoever is first."""
    given = {"trials": 4, "sampler": "random", "scheduler": "none", "fix": (*FIXED, *EQUAL)}
    return tiny_settings(home, data, name, **{**given, **changes})


def histories(swept: Swept) -> dict[str, dict[int, float]]:
    """Distances by number of the trial and step; every step is there once."""
    found = {}
    for run in swept.runs():
        history = swept.client.get_metric_history(run.info.run_id, "distance")
        found[run.data.tags["gansweep.number"]] = {point.step: point.value for point in history}
        assert len(history) == len({point.step for point in history})
    return found


def require_equal(mine: Swept, other: Swept) -> None:
    """Up to what rounding comes to in a hundred updates of float32; differences of trials are far larger."""
    first, second = histories(mine), histories(other)
    assert list(first) == list(second) == ["0", "1", "2", "3"]
    for number, distances in first.items():
        assert distances == pytest.approx(second[number], rel=1e-2), number
    assert [run.data.params for run in mine.runs()] == [run.data.params for run in other.runs()]
    assert {run.data.tags["gansweep.status"] for run in mine.runs()} == {"complete"}


@pytest.fixture(scope="module")
def apart(judged_home: Path, faces: Path, local_ray: None) -> Swept:
    return sweep(settings_of(judged_home, faces, "apart", fuse="off"))


@pytest.mark.slow
def test_each_trial_has_the_scores_it_has_alone(judged_home: Path, faces: Path, apart: Swept) -> None:
    together = sweep(settings_of(judged_home, faces, "together", fuse="2"))
    require_equal(together, apart)
    for swept, fused in ((together, "2"), (apart, "1")):
        assert {run.data.tags["gansweep.fused"] for run in swept.runs()} == {fused}
        (parent,) = swept.runs("sweep")
        assert 0 < parent.data.metrics["slot_use"] <= 1
    assert all(trial.values for trial in together.trials())


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_fused_otherwise(judged_home: Path, faces: Path, apart: Swept) -> None:
    settings = settings_of(judged_home, faces, "turned", fuse="4")
    first = sweep(dataclasses.replace(settings, time_limit="3s"))
    assert first.status == "interrupted"
    again = sweep(dataclasses.replace(settings, fuse="off"))
    assert again.status == "complete"
    require_equal(again, apart)


def kill_once_trained(folder: Path, process: str, killed: list[int]) -> None:
    """End a worker of this process's Ray as soon as a trial of the sweep has a result."""
    end = time.monotonic() + 120
    while time.monotonic() < end and not list(folder.rglob("results.jsonl")):
        time.sleep(0.1)
    own = psutil.Process(os.getpid()).children(recursive=True)
    for one in own:
        if one.is_running() and " ".join(one.cmdline()).startswith(f"ray::{process}"):
            one.kill()
            killed.append(one.pid)
            return


@pytest.mark.slow
@pytest.mark.parametrize("process", ["Host", "ResourceTrainable"])  # as Tune calls the proxies
def test_a_process_that_is_killed_costs_no_trial_and_doubles_nothing(
    judged_home: Path, faces: Path, apart: Swept, process: str
) -> None:
    settings = settings_of(judged_home, faces, f"killed-{process.lower()}", fuse="4")
    killed: list[int] = []
    folder = Swept(settings, "", "").folder
    killer = threading.Thread(target=kill_once_trained, args=(folder, process, killed))
    killer.start()
    swept = sweep(settings)
    killer.join()
    assert killed
    assert swept.status == "complete"
    require_equal(swept, apart)


@pytest.mark.slow
def test_ctrl_c_ends_the_hosts_and_the_same_command_goes_on(
    judged_home: Path, faces: Path, apart: Swept, tmp_path: Path
) -> None:
    settings = settings_of(judged_home, faces, "pressed", fuse="4")
    swept = Swept(settings, "", "")
    process = start_cli(command_words(settings), tmp_path)
    end = time.monotonic() + 120
    while time.monotonic() < end and not list(swept.folder.rglob("results.jsonl")):
        time.sleep(0.1)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    psutil.wait_procs(workers, timeout=30)
    assert not [one for one in workers if one.is_running()]
    assert main(["resume", "pressed", "--home", str(judged_home), "--fuse", "2"]) == 0
    require_equal(swept, apart)


@pytest.mark.slow
def test_a_trial_that_crashes_fails_alone_and_with_its_own_words(
    judged_home: Path, faces: Path, local_ray: None
) -> None:
    settings = settings_of(judged_home, faces, "crashing", fuse="4", max_kimg=1)
    (Swept(settings, "", "").folder / "crashing-00001" / "config.json").mkdir(parents=True)
    first, crashed, *others = sweep(settings).runs()
    assert {run.data.tags["gansweep.status"] for run in (first, *others)} == {"complete"}
    assert crashed.data.tags["gansweep.status"] == "failed"
    reason = crashed.data.tags["gansweep.reason"]
    assert reason.startswith("crashed: trainables.errors.UserError: cannot write config.json")


RATES = ("2e-4", "3e-4", "4e-4", "5e-4", "6e-4", "7e-4", "8e-4", "1.0")
"""The last one drives every pixel to black or white: no other trial is as far from the real pictures."""


@pytest.mark.slow
def test_fused_trials_take_over_networks_of_others(judged_home: Path, faces: Path, local_ray: None) -> None:
    free = [
        f"{dimension.name}={dimension.default}"
        for dimension in find_space("acgan").dimensions
        if dimension.name in FREE and dimension.name != "optimizer.generator_lr"
    ]
    settings = settings_of(
        judged_home,
        faces,
        "fused-population",
        fuse="4",
        concurrent=1,  # four at a time: when the last one comes to its second rung, four others have ended
        trials=8,
        scheduler="pbt",
        max_kimg=3,
        eval_kimg=1,
        sampler="grid",
        seed=4,  # of the grid the last point is the last rate
        fix=(*FIXED, *EQUAL, *free),
        choices=(f"optimizer.generator_lr={','.join(RATES)}",),
    )
    swept = sweep(settings)
    runs = swept.runs()
    assert {run.data.tags["gansweep.status"] for run in runs} == {"complete"}
    assert [run.data.params["optimizer.generator_lr"] for run in runs].index("1.0") == 7
    found = histories(swept)
    assert all(list(distances) == [1, 2, 3] for distances in found.values())
    # Ordered at its first rung to go on from another's networks, it can unless all of those are two kimg ahead, and
    # then it is the worst at its second rung, too.
    assert found["7"][1] > max(distances[1] for number, distances in found.items() if number != "7")
    assert runs[7].data.metrics["mutations"] >= 1
    orders = json.loads((swept.folder / "fused-population-00007" / "config.json").read_text())["mutations"]
    best = {f"fused-population-{number:05d}" for number in range(7)}
    assert {order["source"] for order in orders} <= best
