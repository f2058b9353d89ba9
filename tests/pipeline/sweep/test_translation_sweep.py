"""A tiny sweep that translates, from the command's settings to translated images."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from analysis.mlflow_reader.sweep import load
from pipeline.bundle.bundle import Bundle
from pipeline.cli.main import main
from pipeline.export.export import export_trial
from pipeline.sweep.resume import resume_settings
from pipeline.sweep.run import run_sweep
from tests.support.faces import SIZE
from tests.support.pipeline.sweep import Swept, sweep, tiny_settings
from tests.support.stub_tag_classifier import place_tag_classifier
from trainables.data.selection import Selection
from trainables.errors import UserError
from trainables.systems.build import build_generator

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
CHOSEN = Selection(attributes="eyes")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, many_faces: Path, local_ray: None) -> Swept:
    """One trial of a stargan that changes the eyes."""
    home = tmp_path_factory.mktemp("translating")
    place_tag_classifier(home, many_faces, SIZE, CHOSEN)
    fixed = ("generator.width=4", "generator.blocks=3", "discriminator.width=16", "training.batch_size=32")
    enough = {"samples": 96, "rung_samples": 88}  # eight of each colour
    return sweep(
        tiny_settings(home, many_faces, "eyes", space="stargan", trials=1, attributes="eyes", fix=fixed, **enough)
    )


@pytest.fixture(scope="module")
def exported(swept: Swept, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "winner"
    export_trial(swept.home, "eyes", folder)
    return folder


def test_the_task_and_its_scores_are_logged(swept: Swept) -> None:
    (run,) = swept.runs()
    assert run.data.tags["gansweep.status"] == "complete"
    logged = run.data.metrics
    assert {"distance", "tag_accuracy_eyes", "preserved", "cycle_l1", "identity_l1", "source_feature_distance"} <= (
        logged.keys()
    )
    assert "tag_accuracy_hair" not in logged
    assert logged["tag_accuracy"] == logged["tag_accuracy_eyes"]
    low, high = json.loads(run.data.tags["gansweep.intervals"])["preserved"]
    assert low <= logged["preserved"] <= high
    found = load("eyes", home=swept.home.root)
    assert found.data["targets"] == ["eyes"]
    assert json.loads(run.data.tags["gansweep.fingerprint"])["seed_policy"] == "sources and tags fixed per sweep"


def test_the_selection_is_restored_and_another_is_refused(swept: Swept) -> None:
    again = resume_settings("eyes", swept.home.root)
    assert again.selection() == CHOSEN
    with pytest.raises(UserError, match=r"sweep 'eyes' exists with another --attributes \(eyes, now hair\)"):
        run_sweep(dataclasses.replace(swept.settings, attributes="hair"), Console(file=io.StringIO()))


def test_the_export_translates_as_the_trials_own_weights(swept: Swept, exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "README.md", "config.json", "discriminator.safetensors", "generator.onnx", "generator.pt2",
        "golden.safetensors", "manifest.json",
        "samples.png", "tags.json", "weights.safetensors",
    ]  # fmt: skip
    manifest = json.loads((exported / "manifest.json").read_text())
    assert (manifest["translates"], manifest["targets"]) == (True, ["eyes"])
    bundle = Bundle.load(exported, "onnx")
    assert bundle.golden_error() <= 1e-4
    generator = build_generator(bundle.config, bundle.vocabulary.sizes, [1])
    generator.load_state_dict(load_file(swept.folder / "eyes-00000" / "generator.safetensors"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    labels = np.array([[0, 9], [0, 3], [5, 3]])
    with torch.inference_mode():
        given = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        images = generator.eval()(given, torch.from_numpy(labels))
    expected = ((images.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(bundle.translate(pixels, labels) - expected).max() <= 1


def test_the_sheet_is_the_trials_last(swept: Swept, exported: Path) -> None:
    samples = sorted((swept.folder / "eyes-00000" / "samples").iterdir())
    assert len(samples) > 1
    assert (exported / "samples.png").read_bytes() == samples[-1].read_bytes()


def test_real_faces_through_the_command(exported: Path, faces: Path, tmp_path: Path) -> None:
    words = ["translate", str(exported), str(faces), "--to", "red", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    written = sorted((tmp_path / "out").rglob("*.png"))
    assert len(written) == 104
    assert {Image.open(path).size for path in written} == {(SIZE, SIZE)}


def test_it_is_registered_promoted_and_served(
    swept: Swept, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "eyes", "--home", str(swept.home.root), "--register", "m", "--promote", "-o"]
    assert main([*words, str(tmp_path / "e")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "registered eyes-00000 as m version 1, alias champion"
    assert main([*words, str(tmp_path / "again")]) == 1
    assert "m keeps its champion: distance " in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    tags = swept.client.get_model_version("m", "1").tags
    scores, logged = json.loads(tags["gansweep.scores"]), swept.runs()[0].data.metrics
    intervals = json.loads(swept.runs()[0].data.tags["gansweep.intervals"])
    for name in ("distance", "tag_accuracy"):
        assert scores[name]["value"] == logged[name]
        assert scores[name]["interval"] == intervals[name]
    files = sorted(path for path in faces.rglob("*") if path.suffix in (".png", ".jpg"))[:3]
    assert main(["translate", str(tmp_path / "e"), *map(str, files), "--to", "red", "-o", str(tmp_path / "out")]) == 0
    location = swept.client.get_model_version_by_alias("m", "champion").source
    served = mlflow.pyfunc.load_model(location)
    asked = pd.DataFrame({"picture": [file.read_bytes() for file in files], "to": ["red"] * len(files)})
    for png, file in zip(served.predict(asked)["png"], files, strict=True):
        written = np.asarray(Image.open(tmp_path / "out" / f"{file.stem}.png")).astype(int)
        assert np.abs(np.asarray(Image.open(io.BytesIO(png))) - written).max() <= 1
