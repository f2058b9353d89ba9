"""A sweep is resumed by its name, and extended."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from pipeline.cli.main import main
from pipeline.cluster import placement
from pipeline.cluster.placement import resolve_placement
from pipeline.cluster.ray_runtime import Node
from pipeline.home import Home
from pipeline.repeats.confirm import load_for_repeats
from pipeline.settings import RESUME_OVERRIDES, SweepSettings
from pipeline.sweep import resume
from pipeline.sweep.resume import extend_settings, resume_settings
from pipeline.sweep.saved_settings import SETTINGS_FILE, require_same_sweep
from tests.support.pipeline.sweep import sweep, tiny_settings
from tests.support.sweeps import make_sweep
from tests.support.tiny import painted_images, random_labels
from trainables.errors import UsageError, UserError
from trainables.fused.fused_loop import PER_TRIAL_PARAMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.pipeline.sweep import Swept


GIB = 2**30


def histories(home: Path, name: str) -> dict[str, list[int]]:
    """Steps of the distance by key, as MLflow has them."""
    client = MlflowClient(Home.find(home).tracking)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id], "tags.`gansweep.kind` = 'trial'")
    keys = [run.data.tags["gansweep.key"] for run in runs]
    assert len(keys) == len(set(keys))
    return {
        run.data.tags["gansweep.key"]: [point.step for point in client.get_metric_history(run.info.run_id, "distance")]
        for run in runs
    }


@pytest.mark.slow
def test_a_sweep_is_extended_by_trials_and_by_budget(
    home_with_classifier: Path, faces: Path, local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    name, where = "grow", ["--home", str(home_with_classifier)]
    settings = tiny_settings(home_with_classifier, faces, name, trials=4, max_kimg=2, eval_kimg=None, rung_samples=16)
    assert sweep(settings).status == "complete"
    before = histories(home_with_classifier, name)
    complete = [key for key, steps in before.items() if steps[-1:] == [2]]
    assert complete

    assert main(["extend", name, "--trials", "1", "--max-kimg", "4", *where]) == 0
    after = histories(home_with_classifier, name)
    assert set(after) > set(before)
    assert len(after) >= 5
    # The rungs of the first budget stay, its end has become one, and nothing is logged twice.
    longer = [key for key in before if after[key] != before[key]]
    assert len(longer) == -(-len(complete) // 3)
    assert all(after[key] == [*before[key], 4] for key in longer)
    assert all(steps == sorted(set(steps)) for steps in after.values())
    capsys.readouterr()
    assert main(["rank", name, *where, "--json"]) == 0
    ranking = json.loads(capsys.readouterr().out)
    assert {trial["kimg"] for trial in ranking["trials"] if trial["key"] in longer} == {4}
    # The grown sweep is known by its new settings, and there is nothing left to do; a deleted run is restored.
    client = MlflowClient(Home.find(home_with_classifier).tracking)
    experiment = client.get_experiment_by_name(name).experiment_id
    (parent,) = client.search_runs([experiment], "tags.`gansweep.kind` = 'sweep'")
    client.delete_run(parent.info.run_id)
    assert main(["resume", name, *where]) == 0
    (restored,) = client.search_runs([experiment], "tags.`gansweep.kind` = 'sweep'")
    assert (restored.info.run_id, restored.info.status) == (parent.info.run_id, "FINISHED")
    assert restored.data.tags["gansweep.status"] == "complete"
    assert histories(home_with_classifier, name) == after
    with pytest.raises(UserError, match="--trials"):
        sweep(settings)


def test_settings_are_restored_with_overrides(swept: Swept) -> None:
    home = swept.home.root
    settings = resume_settings("tiny", home, time_limit="5m")
    assert (settings.time_limit, settings.home) == ("5m", home)
    assert settings.fuse == "off"  # what auto came to
    assert resume_settings("tiny", home, concurrent=1).concurrent == 1
    assert resume_settings("tiny", home, fuse="4").fuse == "4"
    assert load_for_repeats("tiny", home, seeds=1, time_limit="5m")[0].time_limit == "5m"
    for name in ("space", "trials", "max_kimg", "fix", "choices", "seed", "data"):
        assert getattr(settings, name) == getattr(swept.settings, name)


def test_an_unknown_sweep_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Home(tmp_path).sweep("tiny") / SETTINGS_FILE
    settings.parent.mkdir(parents=True)
    settings.write_text("{}", encoding="utf-8")
    for command in (["resume"], ["extend", "--trials", "1"], ["confirm"], ["ablate"]):
        assert main([*command, "tinny", "--home", str(tmp_path)]) == 2  # as of rank and the others
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"gansweep: error: no sweep 'tinny' in home {tmp_path} (did you mean 'tiny'?); ")
        assert line.endswith("; known: tiny")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--trials is 0; give 1 or more trials to add, or a larger --max-kimg"),
        ({"trials": -1}, "--trials is -1"),
        ({"max_kimg": 2}, "--max-kimg is 2; the trials of 'tiny' have 2 already"),
    ],
)
def test_an_extension_adds_something(swept: Swept, options: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        extend_settings("tiny", swept.home.root, **options)


@pytest.mark.parametrize(
    ("ended", "total", "finished"),
    [(4, None, True), (2, None, False), (2, 20, True), (2, 29, True), (2, 30, False), (2, 1000, False)],
)
@pytest.mark.parametrize("given", [None, 1000])
def test_only_a_finished_sweep_is_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: int, total: int | None, finished: bool, given: int | None
) -> None:
    """Of four trials of 10 kimg; fewer are all where the total that it ran with has no room for another."""
    settings = SweepSettings("acgan", tmp_path, "hand", trials=4, max_kimg=10, total_kimg=total)
    saved = {"settings": settings.to_json(), "started_with": settings.to_json()}
    path = Home.find(tmp_path).sweep("hand") / "sweep.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(saved))
    there = make_sweep([{"kimg": 10.0}] * ended, settings=settings.public())
    monkeypatch.setattr(resume, "load", lambda *found, **options: there)
    if finished:
        assert extend_settings("hand", tmp_path, trials=1, total_kimg=given).trials == 5
        return
    with pytest.raises(UserError, match=f"has {4 - ended} trials that have not ended; `gansweep resume hand` first"):
        extend_settings("hand", tmp_path, trials=1, total_kimg=given)
    assert json.loads(path.read_text())["settings"]["trials"] == 4


@pytest.mark.parametrize(
    ("asked", "given", "placed"),
    [
        ({"concurrent": None, "gpus_per_trial": "auto", "fuse": "auto"}, {}, (None, "auto", "auto")),
        ({"concurrent": None, "gpus_per_trial": "auto", "fuse": "4"}, {}, (None, "auto", "4")),
        ({"concurrent": 3, "gpus_per_trial": "auto", "fuse": "4"}, {}, (3, "auto", "4")),
        ({"concurrent": 3, "gpus_per_trial": "0", "fuse": "4"}, {"concurrent": 5, "fuse": "8"}, (5, "0", "8")),
        (None, {}, (2, "0.25", "off")),  # saved by an earlier version
    ],
)
def test_an_extended_sweep_is_placed_as_a_new_one_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any] | None, given: dict[str, Any], placed: Any
) -> None:
    """Its first two trials left most of the machine idle; going on with it, extended, does not bring that back."""
    settings = SweepSettings("acgan", tmp_path, "hand", trials=2, concurrent=2, gpus_per_trial="0.25", fuse="off")
    saved = {"settings": settings.to_json(), "started_with": settings.to_json()} | ({"asked": asked} if asked else {})
    saved["settings"] = {name: value for name, value in saved["settings"].items() if name not in RESUME_OVERRIDES}
    path = Home.find(tmp_path).sweep("hand") / "sweep.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(saved))
    there = make_sweep([{"kimg": 10.0}] * 2, settings=settings.public())
    monkeypatch.setattr(resume, "load", lambda *found, **options: there)

    def found(settings: SweepSettings) -> tuple[int | None, str, str]:
        return settings.concurrent, settings.gpus_per_trial, settings.fuse

    assert found(resume_settings("hand", tmp_path)) == (2, "0.25", "off")
    assert found(extend_settings("hand", tmp_path, trials=60, **given)) == placed
    assert found(resume_settings("hand", tmp_path, **given)) == placed


def two_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[SweepSettings], tuple[int | None, str, str]]:
    """Slots, share and fusing that settings come to on 16 cores and two GPUs of 80 GiB, for trials of 2.5 GiB."""
    monkeypatch.setattr(placement, "measure", lambda request: {"peak": 1.4 * GIB, "total": 80 * GIB})
    images, nodes = painted_images(random_labels(8)), [Node("a", 16, 2, 64.0 * GIB)]

    def come_to(settings: SweepSettings) -> tuple[int | None, str, str]:
        space = settings.resolve_space()
        alike = [one for one in space.dimensions if one.name in PER_TRIAL_PARAMS]
        space = dataclasses.replace(space, dimensions=tuple(alike))
        resources, _ = resolve_placement(settings.resource_request(), nodes, space, images)
        settled = settings.with_resources(resources)
        path = Home.find(settings.home).sweep(settings.name) / "sweep.json"
        require_same_sweep(path, settled, space, images, settings)
        return settled.concurrent, settled.gpus_per_trial, settled.fuse

    return come_to


@pytest.mark.parametrize(
    ("first", "came_to", "given", "then"),
    [
        ({}, (16, "0.125", "off"), {"fuse": "8"}, (2, "1", "8")),  # nothing is fused unless asked for
        ({"fuse": "off"}, (16, "0.125", "off"), {"fuse": "auto"}, (2, "1", "8")),
        ({"fuse": "auto"}, (2, "1", "8"), {"fuse": "off"}, (16, "0.125", "off")),
        ({"fuse": "auto"}, (2, "1", "8"), {"fuse": "auto"}, (2, "1", "8")),
        ({"fuse": "auto"}, (2, "1", "8"), {"fuse": "off", "concurrent": 5}, (5, "0.125", "off")),
        ({"fuse": "4", "gpus_per_trial": "0.5"}, (4, "0.5", "4"), {"fuse": "off"}, (4, "0.5", "off")),
        ({"fuse": "off", "concurrent": 3}, (3, "0.125", "off"), {"fuse": "8"}, (3, "1", "8")),
    ],
)
def test_a_sweep_resumed_with_another_fuse_is_placed_anew(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: dict[str, Any],
    came_to: tuple[int, str, str],
    given: dict[str, Any],
    then: tuple[int, str, str],
) -> None:
    """(1.4 + 0.6) * 1.25 = 2.5 GiB and the images: 31 would fit, and eight cores are there for each GPU."""
    come_to = two_gpus(monkeypatch)
    settings = SweepSettings("acgan", tmp_path, "hand", trials=100, image_size=16, home=tmp_path, **first)
    assert come_to(settings) == came_to
    assert come_to(resume_settings("hand", tmp_path)) == came_to
    assert come_to(resume_settings("hand", tmp_path, **given)) == then
    assert come_to(dataclasses.replace(settings, **given)) == then


def test_a_share_of_another_fuse_that_memory_forbids_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_to = two_gpus(monkeypatch)
    come_to(SweepSettings("acgan", tmp_path, "hand", trials=100, image_size=16, home=tmp_path))
    with pytest.raises(UserError, match=r"--fuse 33 trials do not fit on a GPU of 80\.0 GiB: .*; 31 do"):
        come_to(resume_settings("hand", tmp_path, fuse="33"))


def test_a_password_that_was_not_stored_is_asked_for(swept: Swept, tmp_path: Path) -> None:
    saved = json.loads((swept.folder / "sweep.json").read_text())
    saved["started_with"]["study"] = "postgresql://***@db/optuna"
    folder = tmp_path / "trials" / "tiny"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(saved))
    with pytest.raises(UsageError, match=r"--study was postgresql://\*\*\*@db/optuna; its password is not stored"):
        resume_settings("tiny", tmp_path)
    url = "postgresql://me:secret@db/optuna"
    assert resume_settings("tiny", tmp_path, study=url).study == url


@pytest.mark.parametrize(
    "text", ["", "no json", "[1]", '{"settings": {}}', '{"settings": 1, "started_with": {}}', "[" * 200_000]
)
def test_settings_that_cannot_be_read_are_one_line(tmp_path: Path, text: str) -> None:
    folder = tmp_path / "trials" / "s"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=r"cannot read settings .*sweep\.json"):
        resume_settings("s", tmp_path)
