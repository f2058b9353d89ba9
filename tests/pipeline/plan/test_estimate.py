"""``gansweep plan``: its answer, its file, and the comparison with the sweep that follows."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import torch

import pipeline.plan.benchmark as measuring
import pipeline.plan.estimate as command
from analysis import schema
from analysis.mlflow_reader.sweep import load
from analysis.plan_accuracy import changed_options
from analysis.ranking.ranking import rank
from analysis.reports.sections import method
from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.plan.benchmark import Benchmark, measure_all
from pipeline.plan.text import format_plan
from pipeline.search.random_sampling import draw_configurations
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.saved_plan import log_plan
from tests.support.pipeline.command_line import command_words
from tests.support.pipeline.sweep import FIXED, sweep, tiny_settings
from tests.support.sweeps import make_sweep
from trainables.errors import UserError
from trainables.trial.context import Evaluation

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.settings import SweepSettings
    from trainables.trial.context import TrialContext

MEASURED = Benchmark(update=0.1, early=2.0, final=5.0, start=1.0, peak=1000)
"""Of every configuration."""


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Nothing is measured; gives what would have been."""
    asked: list[dict[str, Any]] = []

    def instead(settings: SweepSettings, configurations: Any, processes: int, device: str) -> list[Benchmark]:
        asked.append({"configurations": len(configurations), "processes": processes, "device": device})
        return [MEASURED] * len(configurations)

    def memory(request: dict[str, Any]) -> dict[str, int]:
        return {"peak": 300 + 10 * request["params"]["discriminator.width"], "total": 10**9}

    monkeypatch.setattr(command, "measure_all", instead)
    monkeypatch.setattr(command, "measure", memory)
    monkeypatch.setattr(command, "draw_configurations", lambda space, seed: draw_configurations(space, seed, 6))
    return asked


def words(settings: SweepSettings) -> list[str]:
    return ["plan", *command_words(settings)[1:]]


def told(settings: SweepSettings, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*words(settings), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_plan_adds_up(
    home_with_classifier: Path,
    faces: Path,
    stopwatch: list[Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings = tiny_settings(
        home_with_classifier, faces, "adds-up", scheduler="none", eval_kimg=1, trials=6,
        fix=("generator.width=4", "generator.noise_dim=8", "training.batch_size=50"),
        choices=("discriminator.width=4,12",), range=("updates.generator_steps=1:1",), set=("discriminator.width=4",),
    )  # fmt: skip
    found = told(settings, capsys)
    assert found["kimg"] == {"median": 12.0, "low": 12.0, "high": 12.0}
    assert found["trials"]["median"] == 6.0
    # 20 updates of 0.1 s for a kimg, an early score of 2 and a last one of 5, 1 s to build it, and 0.4 between two.
    trial = 0.4 + 1 + 2 + 2 + 2 + 5
    assert found["recipe_hours"] == pytest.approx(trial / 3600)
    assert found["hours"]["median"] == pytest.approx(3 * trial / 3600, rel=0.1)  # two slots; seconds vary by a tenth
    assert found["hours"]["low"] < found["hours"]["median"] < found["hours"]["high"]
    assert found["memory_per_trial"] == {"recipe": 1000, "largest": 1000 + 10 * (12 - 4)}
    assert stopwatch[0]["device"] == "cpu"
    assert 1 <= stopwatch[0]["processes"] <= 2
    assert found == json.loads((Home.find(home_with_classifier).sweep("adds-up") / schema.PLAN_FILE).read_text())
    # The tag classifier of new images: 90 s beside the first trials, which wait from their first score, after 5.4 s.
    monkeypatch.setattr(command, "tag_classifier_file", lambda *images: tmp_path / "not-cached")
    monkeypatch.setattr(command, "training_seconds", lambda *images: 90.0)
    monkeypatch.setattr(command, "usable_cores", lambda: 4)
    later = told(settings, capsys)
    assert (found["tag_classifier_seconds"], later["tag_classifier_seconds"]) == (0.0, 90.0)
    assert later["hours"]["median"] - found["hours"]["median"] == pytest.approx((90 - 5.4) / 3600)
    assert "including the tag classifier of new images, 1m30s beside the first trials" in format_plan(later)


@pytest.mark.usefixtures("stopwatch")
def test_a_plan_without_a_name_leaves_nothing_but_the_cache(
    home_with_classifier: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path for path in home_with_classifier.rglob("*") if "cache" not in path.parts}
    given = words(tiny_settings(home_with_classifier, faces, "nameless"))
    place = given.index("--name")
    assert main([*given[:place], *given[place + 2 :]]) == 0
    out = capsys.readouterr().out
    assert out.startswith("plan of plan, over acgan, on 2 slots")
    assert "12 without stopping" in out
    assert {path for path in home_with_classifier.rglob("*") if "cache" not in path.parts} == before


@pytest.mark.usefixtures("stopwatch", "local_ray")
@pytest.mark.slow
def test_a_sweep_is_compared_with_its_plan(
    home_with_classifier: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(home_with_classifier, faces, "planned", trials=2, scheduler="none")
    before = told(settings, capsys)
    assert "actual" not in before
    assert "planned" not in sweep(settings).printed  # of the same options: nothing to say
    after = told(settings, capsys)
    assert {name: after[name] for name in before} == before  # what was kept, not a new one
    assert (after["actual"]["trials"], after["actual"]["kimg"]) == (2.0, 4.0)
    assert after["error"]["kimg"] == 0.0
    assert after["error"]["hours"] == pytest.approx(before["hours"]["median"] / after["actual"]["hours"] - 1)
    found = load("planned", home=home_with_classifier)
    assert found.plan == before
    assert dict(dict(method(rank(found)))["What it took"])["kimg"] == "4; planned 4 (4 to 4), +0%"
    assert main(words(settings)) == 0
    assert "so far: kimg 4; planned 4" in capsys.readouterr().out


@pytest.mark.usefixtures("stopwatch")
def test_a_plan_of_other_options_is_not_compared_and_a_message_names_them(
    home_with_classifier: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(home_with_classifier, faces, "other", trials=1, scheduler="none")
    told(tiny_settings(home_with_classifier, faces, "other", trials=3, seed=1), capsys)
    tracker, printed = mock.Mock(), list[str]()
    log_plan(tracker, Home.find(home_with_classifier).sweep("other"), settings, printed.append)
    (line,) = printed
    assert "plan.json was made with another --trials, --scheduler, --seed; the sweep is not compared" in line
    tracker.client.log_dict.assert_not_called()


@pytest.mark.usefixtures("stopwatch")
def test_a_plan_of_a_grid_keeps_the_trials_that_were_asked_for(
    home_with_classifier: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = {"sampler": "grid", "choices": ("optimizer.beta1=0.0,0.5",), "total_kimg": 100, "concurrent": None}
    free = tiny_settings(home_with_classifier, faces, "grid").resolve_space()
    others = tuple(f"{d.name}={free.recipe[d.name]}" for d in free.dimensions if d.name != "optimizer.beta1")
    settings = tiny_settings(home_with_classifier, faces, "grid", **fixed, fix=(*FIXED, *others))
    found = told(settings, capsys)
    assert found["trials"]["median"] == 2.0
    assert (found["settings"]["trials"], found["settings"]["total_kimg"]) == (6, 100)
    assert changed_options(found, settings.public()) == []


@pytest.mark.usefixtures("stopwatch")
def test_a_sweep_that_was_extended_is_not_compared(
    home_with_classifier: Path, faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tiny_settings(home_with_classifier, faces, "extended", trials=2)
    plan = told(settings, capsys)
    larger = make_sweep([{"kimg": 2.0}] * 3, settings=dataclasses.replace(settings, trials=3).public())
    monkeypatch.setattr(command, "load", lambda *given, **options: larger)
    after = command.add_actual(plan, settings, Home.find(home_with_classifier))
    assert after == {**plan, "not_compared": ["--trials"]}
    assert format_plan(after).endswith("not compared with the sweep, which has another --trials")


def test_a_plan_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    for content in ("{", "[]", "{}", '{"settings": 3}'):
        (tmp_path / schema.PLAN_FILE).write_text(content)
        with pytest.raises(UserError, match=r"cannot read .*plan.json: .*; delete it"):
            command.load_plan(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--address", "10.0.0.1:6379"], "give --concurrent"),
        (["--sampler", "cmaes"], "--sampler cmaes takes one objective"),
        (["--trials", "0"], "--trials is 0"),
        (["--name", "a/b"], "1 to 64 letters"),
    ],
)
def test_mistakes_are_one_line(
    faces: Path, tmp_path: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "acgan", "--data", str(faces), "--home", str(tmp_path), *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("stopwatch")
def test_a_plan_knows_the_precision_that_is_chosen(
    home_with_classifier: Path, faces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for amx, other, precision in ((False, True, "float32"), (True, False, "bf16")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda amx=amx: {"amx_bf16": amx})
        settings = tiny_settings(home_with_classifier, faces, f"auto-{precision}", precision="auto", scheduler="none")
        assert main([*words(settings), "--json"]) == 0
        told = capsys.readouterr()
        assert f"--precision auto: {precision}" in told.err
        assert json.loads(told.out)["placed"]["precision"] == precision
        folder, printed = Home.find(home_with_classifier).sweep(settings.name), list[str]()
        log_plan(mock.Mock(), folder, resolve_sweep(settings).settings, printed.append)
        assert printed == []
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda amx=other: {"amx_bf16": amx})
        log_plan(mock.Mock(), folder, resolve_sweep(settings).settings, printed.append)  # on another processor
        assert "another --precision" in printed[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "options"),
    [
        ("acgan", {"precision": "bf16", "fix": FIXED}),
        ("cyclegan", {}),
        ("stargan", {"attributes": "eyes", "samples": 96, "rung_samples": 88}),
    ],
)
def test_a_plan_from_end_to_end(
    faces: Path,
    many_faces: Path,
    tmp_path: Path,
    space: str,
    options: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = ("generator.width=4", "generator.blocks=1", "discriminator.width=16", "training.batch_size=16")
    data = many_faces if space == "stargan" else faces
    if space == "cyclegan":
        data = tmp_path / "domains"
        for place, image in enumerate(sorted(faces.rglob("*.png"))[:40]):
            (data / "AB"[place % 2]).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, data / "AB"[place % 2])
    settings = tiny_settings(tmp_path, data, "whole", space=space, **{"fix": small, **options})
    found = told(settings, capsys)
    assert found["trials"]["median"] == 6.0
    assert 6 * 1 <= found["kimg"]["low"] <= found["kimg"]["high"] <= 6 * 2
    assert 0 < found["hours"]["low"] <= found["hours"]["high"] < 1
    assert 10**8 < found["memory_per_trial"]["recipe"] <= found["memory_per_trial"]["largest"] < 10**10
    assert found["settings"]["precision"] == settings.precision


def test_measuring_ends_after_a_minute_with_two_configurations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, full = [0.0], list[bool]()

    def measure_one(context: TrialContext, params: dict[str, Any], full_one: bool) -> Benchmark:
        full.append(full_one)
        now[0] += params["seconds"]
        return MEASURED

    monkeypatch.setattr(measuring, "load_scorer", lambda sweep: (None, None))
    monkeypatch.setattr(measuring, "_measure", lambda context, params, full: measure_one(context, params, full))
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    request = {"settings": tiny_settings(tmp_path, tmp_path).to_json(), "device": "cpu", "share": 1.0}
    for seconds, count in ((100.0, 2), (25.0, 3), (15.0, 4)):
        full.clear()
        found = measuring.measure_here({**request, "params": [{"seconds": seconds}] * 4})
        assert len(found) == count
        assert full == [True] + [False] * (count - 1)


def test_what_is_measured_trains_in_the_precision_of_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contexts: list[TrialContext] = []
    monkeypatch.setattr(measuring, "load_scorer", lambda sweep: (None, None))
    monkeypatch.setattr(measuring, "_measure", lambda context, params, full: contexts.append(context))
    for precision in ("float32", "bf16"):
        settings = tiny_settings(tmp_path, tmp_path, precision=precision)
        measuring.measure_here({"settings": settings.to_json(), "device": "cpu", "share": 1.0, "params": [{}]})
    assert [context.precision for context in contexts] == ["float32", "bf16"]


@pytest.mark.slow
def test_measuring_takes_real_seconds_and_memory(home_with_classifier: Path, faces: Path) -> None:
    settings = tiny_settings(home_with_classifier, faces, "real")
    recipe = dict(settings.resolve_space().recipe)
    wide = {**recipe, "generator.width": 32, "discriminator.width": 32}
    first, second = measure_all(settings, [recipe, wide], 2, "cpu")
    assert first.update > 0
    assert second.update > 0
    assert first.early > 0
    assert first.final > 0
    assert second.final == 0.0
    assert 10**8 < first.peak <= second.peak < 10**10


@pytest.mark.slow
def test_a_configuration_that_cannot_be_trained_is_one_line(home_with_classifier: Path, faces: Path) -> None:
    settings = tiny_settings(home_with_classifier, faces, "broken")
    with pytest.raises(UserError, match=r"cannot measure a trial: .*generator.width"):
        measure_all(settings, [{**settings.resolve_space().recipe, "generator.width": -1}], 1, "cpu")


def test_configurations_see_images_by_their_cost_per_image() -> None:
    recipe = {"system": "acgan", "training.batch_size": 50, "updates.discriminator_steps": 2}
    other = {**recipe, "training.batch_size": 10, "updates.discriminator_steps": 1}
    # 1e8 and 2e9 operations for each of 100 and 10 images an update.
    measured = {at: dataclasses.replace(MEASURED, update=update) for at, update in enumerate((0.3, 0.06))}
    sample = command._Sample([recipe, other], [1e10, 2e10], measured, 1, "cpu", {})
    assert sample.image_shares("kimg") == [1.0, 1.0]
    assert sample.image_shares("flops") == pytest.approx([1.0, 0.05])
    # 3 and 6 ms for each image: training takes both the same time.
    shares = sample.image_shares("seconds")
    assert shares == pytest.approx([1.0, 0.5])
    ends = (Evaluation(1, 16), Evaluation(3, 16))
    taken = [sample.model().seconds(params, count, ends, share)
             for params, count, share in zip([recipe, other], sample.counts, shares, strict=True)]  # fmt: skip
    assert taken[0] == pytest.approx(taken[1])
    assert taken[0][0] == pytest.approx(1.0 + 3.0 + 2.0)  # start, 1,000 images of 3 ms, evaluation
