"""The model card of a translator: its code runs unchanged, and its text describes translation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
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
from tests.pipeline.export.test_model_card import DATA, FACTS, TRIAL
from tests.support.pipeline.translators import COMBINATIONS, SIZE, VOCABULARY, write_translator
from trainables.data.images import load_image

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[3]
TRANSLATES: dict[str, Any] = {**FACTS, "translates": True, "targets": ["domain"], "sheet": True}
JUDGE = {
    "held_out": 40,
    "accuracy": {"both": 0.6},
    "per_class": {name: {"one": {"accuracy": 0.9, "support": 10}} for name in ("domain", "eyes")},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    export = write_translator(tmp_path_factory.mktemp("card") / "export")
    write_portable(Bundle.load(export), export)
    write_manifest(export, TRANSLATES)
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(export / "image.jpg")
    return export


def card(folder: Path, facts: Mapping[str, Any] = TRANSLATES) -> str:
    combinations = [{"labels": labels, "count": count} for labels, count in COMBINATIONS]
    data = {**DATA, "vocabulary": VOCABULARY.to_json(), "combinations": combinations, "judge": JUDGE}
    about = json.loads((folder / "config.json").read_text())
    sweep = Sweep("first", pd.DataFrame(), data=data, settings={"max_kimg": 400, "seed": 9})
    return model_card(facts, {**TRIAL, "class_accuracy": {"domain": {"one": 0.5}}}, about, sweep)


def test_the_card_describes_translation(folder: Path) -> None:
    text = card(folder)
    for said in (
        "Translates images of 16 x 16 pixels to other classes of domain. System `cyclegan`",
        "![Training images and their translations](samples.png)",
        "on 500 translated images",
        "| domain | translated images classified as asked | tag classifier right on held-out real ones |",
        "| one | 50% | 90% of 10 |",
        'gansweep translate . images/ --to "black hair domain" -o translated',
        "`golden.safetensors` holds synthetic images, tags",
        "The licence of the training images",
    ):
        assert said in text
    for other in ("noise", "near-copies", "| eyes | translated", "gansweep generate", "panels"):
        assert other not in text.partition("## Configuration")[0]


def test_without_a_sample_grid_the_card_shows_none(folder: Path) -> None:
    text = card(folder, {**TRANSLATES, "sheet": False})
    assert "samples.png" not in text
    assert "no longer stored" in text


def test_its_python_runs_and_translates_what_the_export_translates(folder: Path) -> None:
    codes = re.findall(r"^```python\n(.*?)^```", card(folder), re.MULTILINE | re.DOTALL)
    assert len(codes) == 4  # the last one asks a server, see test_served_translator.py
    shown = "; import json; print(json.dumps(translated.tolist()))"
    told = [codes[0].rstrip() + "\n" + shown[2:], codes[1], codes[2] + "print(tuple(images.shape))"]
    outputs = []
    for code in told:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.append({str(REPOSITORY)!r})\n{code}"],
            capture_output=True, text=True, cwd=folder, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    square = load_image(folder / "image.jpg", SIZE)
    expected = Bundle.load(folder).translate(square[None], np.array([[0, 0]])).astype(int)
    assert np.abs(np.array(json.loads(outputs[0])) - expected).max() <= 1
    assert np.abs(np.asarray(Image.open(folder / "translated.png")) - expected[0]).max() <= 1
    assert outputs[2] == "(16, 3, 16, 16)\n"
