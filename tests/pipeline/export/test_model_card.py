"""The code of the model card runs unchanged in the export's folder, with and without tags."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.mlflow_reader.sweep import Sweep
from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import write_manifest
from pipeline.bundle.onnx_export import write_portable
from pipeline.export.model_card import model_card
from tests.support.pipeline.exports import COMBINATIONS, write_bundle
from trainables.data.tags import REPORT_VOCABULARY

if TYPE_CHECKING:
    from pathlib import Path

UNTAGGED = {"generator.conditioning": "none", "discriminator.conditioning": "none"}
FACTS: dict[str, Any] = {
    "sweep": "first", "trial": "first-00003", "exported": "2026-01-02T03:04:05+00:00", "fingerprint": {"samples": 500},
    "differences": {"generator.onnx": 2e-6, "generator.pt2": 0.0},
    "speed": {"machine": "a test", "backends": {
        "torch": {"latency_ms": 1.5, "images_per_second": 900.0, "megabytes": 7.0},
        "onnx": {"latency_ms": 0.5, "images_per_second": 1100.0, "megabytes": 7.1}}},
}  # fmt: skip
TRIAL: dict[str, Any] = {
    "kimg": 200.0, "seconds": 61.4, "samples": 500, "scores": {"distance": 12.5, "tag_accuracy": 0.75, "kid": None},
    "intervals": {"distance": [11.25, 13.75]}, "class_accuracy": {"eyes": {"red": 0.5}},
}  # fmt: skip
DATA: dict[str, Any] = {
    "name": "faces", "fingerprint": "abcd", "pictures": 2200, "complete": 8, "partial": 2,
    "counts": {"hair": {"blue": 9, "pink": 1}}, "vocabulary": REPORT_VOCABULARY.to_json(),
    "combinations": [{"labels": labels, "count": count} for labels, count in COMBINATIONS],
    "judge": {"held_out": 40, "accuracy": {"both": 0.6, "hair": None},
              "per_class": {"eyes": {"red": {"accuracy": 0.9, "support": 10},
                                     "aqua": {"accuracy": None, "support": 0}}}},
}  # fmt: skip


def card(folder: Path, data: dict[str, Any] = DATA, trial: dict[str, Any] = TRIAL) -> str:
    about = json.loads((folder / "config.json").read_text())
    sweep = Sweep("first", pd.DataFrame(), data=data, settings={"max_kimg": 400, "seed": 9})
    return model_card(FACTS, trial, about, sweep)


@pytest.fixture(scope="module", params=[{}, UNTAGGED], ids=["tagged", "untagged"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    export = write_bundle(tmp_path_factory.mktemp("card") / "export", **request.param)
    write_portable(Bundle.load(export), export)
    write_manifest(export, FACTS)
    return export


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_card_names_scores_and_fingerprint(bundle_folder: Path) -> None:
    text = card(bundle_folder)
    for line in (
        "| distance | 12.5000 | 11.2500 to 13.7500 |",
        "| tag_accuracy | 0.7500 | not measured |",
        "| samples | 500 |",
        "| red | 50% | 90% of 10 |",
        "| aqua | not measured | none held out |",
        "| torch (`weights.safetensors`) | 7.0 | 1.50 | 900 | - |",
        "| onnx (`generator.onnx`) | 7.1 | 0.50 | 1100 | 2e-06 |",
        "| blue | 9 |",
    ):
        assert line in text.splitlines()
    assert "200 thousand images seen in training, of 2,200 different ones; the budget was 400 thousand (61 s)" in text
    assert "Measured at 200 kimg on 500 drawn images." in text
    assert "| kid |" not in text
    assert "near-copies of training images; this was not measured." in text


def test_the_budget_is_that_of_the_exported_run(bundle_folder: Path) -> None:
    assert "the budget was 800 thousand (" in card(bundle_folder, trial={**TRIAL, "budget": 800})


def test_the_origin_of_a_fine_tuned_generator_is_named(bundle_folder: Path, tmp_path: Path) -> None:
    assert "Training started from" not in card(bundle_folder)
    about = json.loads((bundle_folder / "config.json").read_text())
    for run, named in (("old-00003", " of run `old-00003`, after 60 thousand images,"), (None, "")):
        origin = {"sweep": "old", "run": run, "kimg": 60, "weights": 64 * "a"}
        (tmp_path / "config.json").write_text(json.dumps({**about, "init_from": origin}), encoding="utf-8")
        line = f"Training started from the exported weights{named} with SHA-256 `{16 * 'a'}`."
        assert line in card(tmp_path).splitlines()


@pytest.mark.parametrize(
    ("others", "close", "said"),
    [
        ([], [], ""),
        (["first-00001"], [], "; every other confirmed configuration is separable from it"),
        (["first-00001", "first-00002"], ["first-00002"], "; not separable from it: first-00002"),
    ],
)
def test_other_confirmed_configurations_are_named(
    bundle_folder: Path, others: list[str], close: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"n": 3, "by": "distance", "mean": 12.0, "interval": [11.0, 13.0]}
    monkeypatch.setitem(FACTS, "run", "first-00003-c01")
    monkeypatch.setitem(FACTS, "confirmation", {**found, "not_separable": close, "compared_with": others})
    assert f"mean distance 12, 95% interval 11 to 13{said}. These weights are" in card(bundle_folder)


def test_panels_that_were_left_out_are_named(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Left out" not in card(bundle_folder)
    monkeypatch.setitem(FACTS, "panels_left_out", ["hair", "grid"])
    assert "every pair of tags. Left out, as too large for one image: hair, grid.\n" in card(bundle_folder)


def test_memorized_images_are_reported_if_measured(bundle_folder: Path) -> None:
    trial = {**TRIAL, "scores": {**TRIAL["scores"], "memorised": 0.034}}
    assert "near-copies of training images (score `memorised`: 3.4%)." in card(bundle_folder, trial=trial)


@pytest.mark.parametrize("scores", [{"distance": 1.0}, {"distance": 1.0, "tag_accuracy": None}])
def test_the_card_of_a_generator_without_tags(tmp_path: Path, scores: dict[str, Any]) -> None:
    """In a sweep that holds both kinds, its tag accuracy is there and empty."""
    text = card(write_bundle(tmp_path / "b", **UNTAGGED), trial={**TRIAL, "scores": scores})
    assert "The generator takes no tags, so there is no tag accuracy." in text
    assert "tags.json" not in text


def test_its_python_runs_and_draws_what_the_export_draws(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(folder, tmp_path / "export"))
    ran: list[dict[str, Any]] = []
    for code in blocks(card(folder), "python"):
        ran.append({})
        exec(code, ran[-1])
    gansweep, plain, program = ran
    bundle = Bundle.load(folder)
    labels = np.array([[8, 9]] * 16)  # the data's commonest: blue hair red eyes
    if bundle.config.conditional:
        assert np.array_equal(gansweep["pixels"], bundle.draw(labels, seed=0))
    assert gansweep["pixels"].shape == (16, 16, 16, 3)
    noise = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    assert np.abs(plain["pixels"].astype(int) - bundle.images(noise, labels)).max() <= 1
    assert np.array_equal(np.asarray(Image.open("image.png")), plain["pixels"][0])
    assert program["images"].shape == (16, 3, 16, 16)


def test_without_gansweep_means_without_it(folder: Path) -> None:
    _, plain, program = blocks(card(folder), "python")
    assert re.findall(r"^(?:import|from) (\w+)", plain, re.MULTILINE)[-3:] == ["numpy", "onnxruntime", "PIL"]
    assert re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE) == ["torch"]


def test_its_command_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.cli.main import main

    here = shutil.copytree(folder, tmp_path / "export")
    monkeypatch.chdir(here)
    (command,) = blocks(card(folder), "sh")
    assert main(shlex.split(command)[1:]) == 0
    assert (here / "grid.png").is_file()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, to parse the JavaScript")
def test_its_javascript_parses(folder: Path, tmp_path: Path) -> None:
    (code,) = blocks(card(folder), "js")
    (tmp_path / "use.mjs").write_text(code)
    done = subprocess.run(["node", "--check", "use.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
