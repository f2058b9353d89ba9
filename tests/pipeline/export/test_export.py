"""Exporting trials of the session's sweep."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from analysis.errors import AnalysisError
from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import MANIFEST
from pipeline.cli.main import main
from pipeline.export.export import export_trial
from pipeline.home import Home
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import UsageError, UserError
from trainables.networks.generator import Generator

if TYPE_CHECKING:
    from tests.support.pipeline.sweep import Swept


@pytest.fixture(scope="module")
def exported(swept: Swept, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("exports") / "winner"
    return export_trial(swept.home, swept.settings.name, folder), folder


def lowest_distance(swept: Swept) -> str:
    """Key of the trial that did not fail with the lowest last distance, read from MLflow alone."""
    scored = [
        (run.data.metrics["distance"], run.data.tags["gansweep.key"])
        for run in swept.runs()
        if run.data.tags["gansweep.status"] in ("complete", "stopped")
    ]
    return min(scored)[1]


def test_the_best_trial_is_exported(swept: Swept, exported: tuple[str, Path]) -> None:
    key, folder = exported
    assert key == lowest_distance(swept)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "README.md", "config.json", "discriminator.safetensors", "generator.onnx", "generator.pt2",
        "golden.safetensors", "manifest.json",
        "panels/eyes.png", "panels/grid.png", "panels/hair.png", "panels/noise.png", "samples.png", "tags.json",
        "weights.safetensors",
    ]  # fmt: skip
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert sorted(listed) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST
    )
    assert {path.stat().st_mode & 0o044 for path in folder.rglob("*")} == {0o044}  # others may read all of it


def test_every_way_to_run_it_draws_its_golden_images(exported: tuple[str, Path]) -> None:
    for backend in ("torch", "onnx", "pt2"):
        assert Bundle.load(exported[1], backend).golden_error() <= 1e-4


def test_the_manifest_holds_order_and_hash_of_the_tags(exported: tuple[str, Path]) -> None:
    tags = json.loads((exported[1] / "tags.json").read_text())
    assert (tags["order"], tags["hash"]) == (["hair", "eyes"], REPORT_VOCABULARY.hash)


def test_speeds_and_differences_are_of_every_file(swept: Swept, tmp_path: Path) -> None:
    export_trial(swept.home, "tiny", tmp_path / "e", half=True)
    manifest = json.loads((tmp_path / "e" / "manifest.json").read_text())
    speeds = manifest["speed"]["backends"]
    assert set(speeds) == {"torch", "onnx", "pt2", "onnx-fp16"}
    assert all(one["latency_ms"] > 0 and one["images_per_second"] > 0 for one in speeds.values())
    for name, file in (("onnx", "generator.onnx"), ("onnx-fp16", "generator-fp16.onnx"), ("pt2", "generator.pt2")):
        assert speeds[name]["megabytes"] == pytest.approx((tmp_path / "e" / file).stat().st_size / 1e6)
    assert set(manifest["differences"]) == {"generator.onnx", "generator-fp16.onnx", "generator.pt2"}
    card = (tmp_path / "e" / "README.md").read_text()
    assert f"{manifest['differences']['generator-fp16.onnx']:.1g} |" in card
    assert manifest["speed"]["machine"] in card
    assert Bundle.load(tmp_path / "e", "onnx-fp16").golden_error() < 0.02


def test_an_export_draws_as_the_weights_of_the_trial(swept: Swept, exported: tuple[str, Path]) -> None:
    key, folder = exported
    bundle = Bundle.load(folder)
    plain = Generator(bundle.config, bundle.vocabulary.sizes)
    plain.load_state_dict(load_file(swept.folder / key / "generator.safetensors"))
    labels = np.array([[8, 9], [0, 0]])
    noise = np.stack([np.random.default_rng([5, place]).standard_normal(8) for place in range(2)])
    with torch.inference_mode():
        images = plain.eval()(torch.from_numpy(noise).float(), torch.from_numpy(labels))
    expected = ((images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(bundle.draw(labels, seed=5) - expected).max() <= 1


def test_manifest_and_card_name_sweep_and_trial(swept: Swept, exported: tuple[str, Path], tmp_path: Path) -> None:
    key, folder = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    run = next(run for run in swept.runs() if run.data.tags["gansweep.key"] == key)
    assert (manifest["sweep"], manifest["trial"]) == ("tiny", key)
    assert manifest["scores"]["distance"] == run.data.metrics["distance"]
    assert manifest["fingerprint"] == json.loads(run.data.tags["gansweep.fingerprint"])
    assert "README.md" in manifest["files"]
    card = (folder / "README.md").read_text()
    assert key in card
    assert f"{run.data.metrics['distance']:.4f}" in card
    assert "96 with every tag, 8 with" in card
    assert "distance" in manifest["intervals"]
    for name in manifest["intervals"].keys() & manifest["scores"].keys():
        low, high = manifest["intervals"][name]
        assert f"| {name} | {manifest['scores'][name]:.4f} | {low:.4f} to {high:.4f} |" in card
    assert f"training seed {run.data.params['seed']}, from the sweep's seed {swept.settings.seed}" in card
    path = swept.client.download_artifacts(run.info.run_id, "class_accuracy.json", str(tmp_path))
    table = json.loads(Path(path).read_text())
    assert table["columns"] == ["group", "class", "accuracy"]
    hair = {label: value for group, label, value in table["data"] if group == "hair"}
    assert hair
    for label, value in hair.items():
        assert f"| {label} | {value:.0%} |" in card
    assert not any(name.startswith("class_accuracy/") for name in run.data.metrics)


def test_json_describes_the_export(
    swept: Swept, exported: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, _ = exported
    run = next(run for run in swept.runs() if run.data.tags["gansweep.key"] == key)
    words = ["export", "tiny", "--home", str(swept.settings.home), "-o", str(tmp_path / "e")]
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    *stage, answer = printed.err.splitlines()
    assert stage[-1].startswith("export from tiny: ")  # and how long it took; before that, how long so far
    assert answer == f"exported {key} to {tmp_path / 'e'}: {told['rule']}"
    assert {name: told[name] for name in ("sweep", "trial", "run", "output", "registered")} == {
        "sweep": "tiny", "trial": key, "run": key, "output": str(tmp_path / "e"), "registered": None,
    }  # fmt: skip
    assert told["kimg"] == run.data.metrics["kimg"]
    assert told["scores"]["distance"] == run.data.metrics["distance"]
    low, high = told["intervals"]["distance"]
    assert low < high


def test_its_tag_combinations_are_those_of_the_complete_images(exported: tuple[str, Path], faces: Path) -> None:
    from trainables.data.dataset import load_folder

    images = load_folder(faces, 16)
    bundle = Bundle.load(exported[1])
    rows = [tuple(row) for row in images.labels[: images.complete].tolist()]
    counted = dict(zip(map(tuple, bundle.combinations.tolist()), bundle.counts.tolist(), strict=True))
    assert counted == {row: rows.count(row) for row in rows}
    assert sum(counted.values()) == 96


def test_another_trial_by_key(swept: Swept, tmp_path: Path) -> None:
    assert export_trial(swept.home, "tiny", tmp_path / "e", "tiny-00000") == "tiny-00000"
    assert json.loads((tmp_path / "e" / "manifest.json").read_text())["trial"] == "tiny-00000"


def test_an_unknown_trial_names_the_nearest(swept: Swept, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no trial 'tiny-0000'; did you mean 'tiny-0000\d'"):
        export_trial(swept.home, "tiny", tmp_path / "e", "tiny-0000")
    assert not list(tmp_path.iterdir())


def test_an_unknown_sweep_names_the_nearest(swept: Swept, tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"no sweep 'tinny'.*did you mean 'tiny'"):
        export_trial(swept.home, "tinny", tmp_path / "e")


def test_a_trial_that_never_scored_has_no_weights_to_export(swept: Swept, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no weights"):
        export_trial(swept.home, "tiny", tmp_path / "e", "tiny-00002")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_empty_is_refused(swept: Swept, tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "mine").write_text("keep")
    for output in (tmp_path / "e", tmp_path / "e" / "mine"):
        with pytest.raises(UserError, match="exists and is not empty; give another -o"):
            export_trial(swept.home, "tiny", output)
    assert (tmp_path / "e" / "mine").read_text() == "keep"
    assert [path.name for path in tmp_path.rglob("*")] == ["e", "mine"]


def test_an_empty_folder_may_be_filled(swept: Swept, tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    export_trial(swept.home, "tiny", tmp_path / "e", "tiny-00000")
    assert Bundle.load(tmp_path / "e").config.generator.width == 4


def test_the_working_folder_is_refused(swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is the working folder"):
        export_trial(swept.home, "tiny", Path())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("existed", [False, True])
def test_an_interrupted_export_leaves_nothing(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    def fails(*given: object) -> str:
        raise KeyboardInterrupt

    if existed:
        (tmp_path / "e").mkdir()
    monkeypatch.setattr("pipeline.export.export.model_card", fails)
    with pytest.raises(KeyboardInterrupt):
        export_trial(swept.home, "tiny", tmp_path / "e")
    assert [path.name for path in tmp_path.rglob("*")] == (["e"] if existed else [])


def test_weights_of_a_later_score_than_was_logged_are_not_handed_over(swept: Swept, tmp_path: Path) -> None:
    """As a running trial has them for a moment: its weights come before its result."""
    home = shutil.copytree(swept.home.root, tmp_path / "home", ignore=shutil.ignore_patterns("cache"))
    weights = home / "trials" / "tiny" / "tiny-00000" / "generator.safetensors"
    save_file(load_file(weights), weights, {"kimg": "3"})
    with pytest.raises(UserError) as refused:
        export_trial(Home.find(home), "tiny", tmp_path / "e", "tiny-00000")
    assert str(refused.value) == (
        "trial tiny-00000 has trained on since its last logged score: its weights are of 3 kimg and the score of 2; "
        "try again"
    )
    assert not (tmp_path / "e").exists()


def test_weights_without_a_logged_result_are_one_line(swept: Swept, tmp_path: Path) -> None:
    """As of a trial before its first result arrives; here the one that crashed at once, given weights."""
    home = shutil.copytree(swept.home.root, tmp_path / "home", ignore=shutil.ignore_patterns("cache"))
    weights = home / "trials" / "tiny" / "tiny-00000" / "generator.safetensors"
    shutil.copy(weights, home / "trials" / "tiny" / "tiny-00002")
    with pytest.raises(UserError, match=r"^trial tiny-00002 has weights and no logged result; try again after its"):
        export_trial(Home.find(home), "tiny", tmp_path / "e", "tiny-00002")
    assert not (tmp_path / "e").exists()


def test_damaged_weights_are_not_handed_over(swept: Swept, tmp_path: Path) -> None:
    home = shutil.copytree(swept.home.root, tmp_path / "home", ignore=shutil.ignore_patterns("cache"))
    weights = home / "trials" / "tiny" / "tiny-00000" / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be used"):
        export_trial(Home.find(home), "tiny", tmp_path / "e", "tiny-00000")
    assert not (tmp_path / "e").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root, to mount")
def test_a_home_on_read_only_media_can_be_read_and_exported_from(swept: Swept, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    if subprocess.run(["mount", "--bind", str(swept.home.root), str(media)], capture_output=True).returncode:
        pytest.skip("folders cannot be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(media)], check=True)
        name = swept.settings.name
        for words in (
            ["export", name, "-o", str(tmp_path / "winner")],
            ["report", name, "-o", str(tmp_path / "r.html")],
            ["rank", name, "--csv", str(tmp_path / "r.csv")],
            ["status", name],
            ["list"],
        ):
            assert main([*words, "--home", str(media)]) == 0
    finally:
        subprocess.run(["umount", "-l", str(media)], check=True)
    assert (tmp_path / "winner" / MANIFEST).is_file()
