"""The card of an export that translates: its code runs as it stands, and what it says is about translation."""

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

from analysis.runs import Sweep
from pipeline.bundle import Bundle
from pipeline.manifest import write_manifest
from pipeline.model_card import model_card
from pipeline.portable import write_portable
from tests.pipeline.test_model_card import DATA, FACTS, TRIAL
from tests.support.translators import COMBINATIONS, SIZE, VOCABULARY, write_translator
from trainables.data.images import load_image

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[2]
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
    Image.fromarray(pixels).save(export / "picture.jpg")
    return export


def card(folder: Path, facts: Mapping[str, Any] = TRANSLATES) -> str:
    combinations = [{"labels": labels, "count": count} for labels, count in COMBINATIONS]
    data = {**DATA, "vocabulary": VOCABULARY.to_json(), "combinations": combinations, "judge": JUDGE}
    about = json.loads((folder / "config.json").read_text())
    sweep = Sweep("first", pd.DataFrame(), data=data, settings={"max_kimg": 400, "seed": 9})
    return model_card(facts, {**TRIAL, "class_accuracy": {"domain": {"one": 0.5}}}, about, sweep)


def test_it_speaks_of_translation(folder: Path) -> None:
    text = card(folder)
    for said in (
        "Translates pictures of 16 x 16 pixels to other classes of domain. System `cyclegan`",
        "![Training pictures and what becomes of them](samples.png)",
        "on 500 translated pictures",
        "| domain | translated pictures judged as asked | judge right on held-out real ones |",
        "| one | 50% | 90% of 10 |",
        'gansweep translate . pictures/ --to "black hair domain" -o translated',
        "`golden.safetensors` holds made-up pictures, tags",
        "The licence of the training pictures bounds",
    ):
        assert said in text
    for other in ("noise", "near-copies", "| eyes | translated", "gansweep generate", "panels"):
        assert other not in text.partition("## Configuration")[0]


def test_without_a_sheet_it_shows_none(folder: Path) -> None:
    text = card(folder, {**TRANSLATES, "sheet": False})
    assert "samples.png" not in text
    assert "The sheets of its training were gone" in text


def test_its_python_runs_and_translates_what_the_export_translates(folder: Path) -> None:
    codes = re.findall(r"^```python\n(.*?)^```", card(folder), re.MULTILINE | re.DOTALL)
    assert len(codes) == 4  # the last one asks a server, see test_served_translator.py
    shown = "; import json; print(json.dumps(translated.tolist()))"
    told = [codes[0].rstrip() + "\n" + shown[2:], codes[1], codes[2] + "print(tuple(pictures.shape))"]
    outputs = []
    for code in told:
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.append({str(REPOSITORY)!r})\n{code}"],
            capture_output=True, text=True, cwd=folder, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    square = load_image(folder / "picture.jpg", SIZE)
    expected = Bundle.load(folder).translate(square[None], np.array([[0, 0]])).astype(int)
    assert np.abs(np.array(json.loads(outputs[0])) - expected).max() <= 1
    assert np.abs(np.asarray(Image.open(folder / "translated.png")) - expected[0]).max() <= 1
    assert outputs[2] == "(16, 3, 16, 16)\n"
