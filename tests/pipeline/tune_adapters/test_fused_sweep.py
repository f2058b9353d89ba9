"""Sweeps of fused trials have the scores, runs and ends of the same sweep without fusing."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pipeline.cli.main import main
from pipeline.schedulers.population_based import PopulationRule
from pipeline.tune_adapters import time_limit
from pipeline.tune_adapters.callback import SweepCallback
from pipeline.tune_adapters.time_limit import TimeLimitStopper
from search_spaces.registry import find_space
from tests.support.pipeline.command_line import TRIALS_OF_TUNE, Hold, command_words, is_called, start_cli, until
from tests.support.pipeline.sweep import FIXED, Swept, sweep, tiny_settings
from trainables.fused.fused_loop import PER_TRIAL_PARAMS

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.settings import SweepSettings

EQUAL = tuple(
    f"{dimension.name}={dimension.default}"
    for dimension in find_space("acgan").dimensions
    if dimension.name not in {*PER_TRIAL_PARAMS, *(text.split("=")[0] for text in FIXED)}
)
"""Fixes all dimensions whose values must be equal in one program."""


def settings_of(home: Path, data: Path, name: str, **changes: Any) -> SweepSettings:
    """Random suggestions are the same in every sweep, in whatever order trials end."""
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
    """Equal up to rounding in a hundred updates of float32; differences between trials are far larger."""
    first, second = histories(mine), histories(other)
    assert list(first) == list(second) == ["0", "1", "2", "3"]
    for number, distances in first.items():
        assert distances == pytest.approx(second[number], rel=1e-2), number
    assert [run.data.params for run in mine.runs()] == [run.data.params for run in other.runs()]
    assert {run.data.tags["gansweep.status"] for run in mine.runs()} == {"complete"}


@pytest.fixture(scope="module")
def apart(home_with_classifier: Path, faces: Path, local_ray: None) -> Swept:
    return sweep(settings_of(home_with_classifier, faces, "apart", fuse="off"))


@pytest.mark.slow
def test_fused_trials_score_as_single_ones(home_with_classifier: Path, faces: Path, apart: Swept) -> None:
    together = sweep(settings_of(home_with_classifier, faces, "together", fuse="2"))
    require_equal(together, apart)
    for swept, fused in ((together, "2"), (apart, "1")):
        assert {run.data.tags["gansweep.fused"] for run in swept.runs()} == {fused}
        (parent,) = swept.runs("sweep")
        assert 0 < parent.data.metrics["slot_use"] <= 1
    assert all(trial.values for trial in together.trials())


def workers_called(title: str | tuple[str, ...]) -> list[psutil.Process]:
    """Workers of this process's Ray."""
    return [one for one in psutil.Process().children(recursive=True) if is_called(one, title)]


@pytest.mark.slow
@pytest.mark.parametrize("process", ["Host", "Proxy"])
def test_a_killed_process_loses_no_trial_and_repeats_no_result(
    home_with_classifier: Path, faces: Path, apart: Swept, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the driver's first result: no trial can end before the driver continues."""
    titles = {"Host": ("ray::Host",), "Proxy": TRIALS_OF_TUNE}[process]
    killed: list[int] = []
    report = SweepCallback.on_trial_result

    def kill_then_report(self: SweepCallback, **info: Any) -> None:
        if not killed:
            victim, *_ = workers_called(titles)
            victim.kill()
            killed.append(victim.pid)
        report(self, **info)

    monkeypatch.setattr(SweepCallback, "on_trial_result", kill_then_report)
    until(lambda: not workers_called(titles))  # those of the sweep before
    swept = sweep(settings_of(home_with_classifier, faces, f"killed-{process.lower()}", fuse="4"))
    assert killed
    assert swept.status == "complete"
    require_equal(swept, apart)


@pytest.mark.real_processes
@pytest.mark.slow
def test_ctrl_c_ends_the_hosts_and_the_sweep_continues_with_another_fuse(
    home_with_classifier: Path, faces: Path, apart: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AfterAResult(TimeLimitStopper):
        """Reaches its limit when a trial reports a result."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            self.seconds = 0.0
            return False

    settings = settings_of(home_with_classifier, faces, "pressed", fuse="4")
    swept = Swept(settings, "", "")
    hold = Hold(tmp_path)
    process = start_cli(command_words(settings), tmp_path, hold=hold)
    hold.wait(process)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    hold.release()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    until(lambda: not [one for one in workers if is_called(one, "")])
    resume = ["resume", "pressed", "--home", str(home_with_classifier)]
    before = sum(map(len, histories(swept).values()))
    with monkeypatch.context() as patch:
        patch.setattr(time_limit, "TimeLimitStopper", AfterAResult)
        assert main([*resume, "--fuse", "2"]) == 130
    assert sum(map(len, histories(swept).values())) > before
    assert main([*resume, "--fuse", "off"]) == 0
    require_equal(swept, apart)


@pytest.mark.slow
def test_a_crash_fails_only_its_own_trial(home_with_classifier: Path, faces: Path, local_ray: None) -> None:
    settings = settings_of(home_with_classifier, faces, "crashing", fuse="4", max_kimg=1)
    (Swept(settings, "", "").folder / "crashing-00001" / "config.json").mkdir(parents=True)
    first, crashed, *others = sweep(settings).runs()
    assert {run.data.tags["gansweep.status"] for run in (first, *others)} == {"complete"}
    assert crashed.data.tags["gansweep.status"] == "failed"
    reason = crashed.data.tags["gansweep.reason"]
    assert reason.startswith("crashed: trainables.errors.UserError: cannot write config.json")


RATES = ("2e-4", "3e-4", "4e-4", "5e-4", "6e-4", "7e-4", "8e-4", "1.0")
"""The last one drives every pixel to black or white: no other trial is as far from the real images."""


@pytest.mark.slow
def test_fused_trials_copy_networks_of_others(
    home_with_classifier: Path, faces: Path, local_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = PopulationRule.report

    def report_last_as_worst(self: PopulationRule, key: str, kimg: int, result: dict[str, Any]) -> bool:
        """The last trial is the worst at each of its rungs, whatever such short training comes to."""
        worst = {"distance": 1e9} if key.endswith("00007") else {}
        return report(self, key, kimg, {**result, **worst})

    monkeypatch.setattr(PopulationRule, "report", report_last_as_worst)
    free = [
        f"{dimension.name}={dimension.default}"
        for dimension in find_space("acgan").dimensions
        if dimension.name in PER_TRIAL_PARAMS and dimension.name != "optimizer.generator_lr"
    ]
    settings = settings_of(
        home_with_classifier,
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
    assert runs[7].data.metrics["mutations"] >= 1
    orders = json.loads((swept.folder / "fused-population-00007" / "config.json").read_text())["mutations"]
    best = {f"fused-population-{number:05d}" for number in range(7)}
    assert {order["source"] for order in orders} <= best
