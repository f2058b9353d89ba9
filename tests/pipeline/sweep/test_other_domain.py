"""Shapes in class folders, from data to a served model: nothing that people read is about the reports' faces."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import mlflow
import optuna
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image, ImageDraw

from pipeline.cli.main import main
from pipeline.home import Home
from tests.support.pipeline.sweep import FIXED, sweep, tiny_settings
from tests.support.stub_tag_classifier import place_tag_classifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.real_processes

REPORTS = re.compile(r"\b(hairs?|eyes?|faces?|facial|blonde?)\b", re.IGNORECASE)
COLOURS = {"red": (200, 0, 0), "blue": (0, 0, 200)}
FORMS: dict[str, Callable[[ImageDraw.ImageDraw, tuple[int, int, int, int], tuple[int, int, int]], None]] = {
    "disc": lambda canvas, box, colour: canvas.ellipse(box, fill=colour),
    "square": lambda canvas, box, colour: canvas.rectangle(box, fill=colour),
}


def write_shapes(folder: Path, count: int = 96) -> None:
    """Draw discs and squares in two colours: ``red_disc/0.png``, ..."""
    for number in range(count):
        colour, form = list(COLOURS)[number % 2], list(FORMS)[number // 2 % 2]
        image = Image.new("RGB", (16, 16), (240 - number, 255, 240))
        left, side = 1 + number % 5, 6 + number % 4
        FORMS[form](ImageDraw.Draw(image), (left, 2, left + side, 2 + side), COLOURS[colour])
        (folder / f"{colour}_{form}").mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{colour}_{form}" / f"{number}.png")


def read_text(page: Path) -> str:
    """The words of a file: of a page without the libraries and encoded images in it."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<style.*?</style>|<script(?![^>]*json).*?</script>", " ", text, flags=re.DOTALL)
    return re.sub(r"data:[a-z/+-]+;base64,[A-Za-z0-9+/=]+|\"bdata\":\"[^\"]*\"", " ", text)


@pytest.mark.slow
def test_shapes_go_all_the_way(tmp_path: Path, local_ray: None, capsys: pytest.CaptureFixture[str]) -> None:
    home, data, export, site = (tmp_path / name for name in ("home", "shapes", "export", "site"))
    write_shapes(data)
    place_tag_classifier(home, data, 16, right=False)
    assert main(["data", "inspect", str(data), "--image-size", "16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["layout"], found["complete"]) == ("class folders", 96)
    assert found["classes"] == {"class": dict.fromkeys(("blue disc", "blue square", "red disc", "red square"), 24)}
    swept = sweep(tiny_settings(home, data, "shapes", trials=2, max_kimg=1, fix=(*FIXED, "training.ema_decay=0.0")))
    assert swept.status == "complete"
    _require_distance_alone(Home(home), swept.printed)

    where = ["--home", str(home)]
    commands = [
        ["data", "inspect", str(data), "--image-size", "16"],
        ["status", "shapes", *where],
        ["list", *where],
        ["confirm", "shapes", "--top", "1", "--seeds", "1", "--concurrent", "2", *where],
        ["rank", "shapes", *where],
        ["claims", "shapes", *where],
        ["report", "shapes", "-o", str(tmp_path / "report.html"), *where],
        ["export", "shapes", "-o", str(export), "--register", "shapes", *where],
        ["generate", str(export), "red disc class", "-n", "2", "-o", str(tmp_path / "grid.png")],
        ["gallery", str(export), "-o", str(site)],
    ]
    printed = swept.printed
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
        answer = capsys.readouterr()
        printed += answer.out + answer.err
    for wrong in (["generate", str(export)], ["generate", str(export), "red", "-o", "x.png"],
                  ["generate", str(export), "red disc class", "--seed", "1", "--interpolate", "1", "2"]):  # fmt: skip
        assert main(wrong) == 2
        printed += capsys.readouterr().err
    assert 'for instance "blue disc class"' in printed

    texts = {"printed": printed} | {
        str(path.relative_to(tmp_path)): read_text(path)
        for path in (tmp_path / "report.html", export / "README.md", *site.glob("*.html"), *site.glob("*.js"))
    }
    assert {name: REPORTS.findall(text) for name, text in texts.items() if REPORTS.search(text)} == {}
    for name in ("printed", "report.html", "export/README.md"):
        assert "no better than chance" in texts[name]

    mlflow.set_tracking_uri(Home(home).tracking)
    model = mlflow.pyfunc.load_model("models:/shapes@candidate")
    assert len(model.predict(pd.DataFrame({"tags": ["red disc class"], "seed": [0]}))["png"]) == 1
    assert not REPORTS.search(json.dumps(model.metadata.to_dict(), default=str))


def _require_distance_alone(home: Home, printed: str) -> None:
    """The tag classifier is at chance, so tag accuracy is measured, and is no objective."""
    assert "WARNING: the tag classifier is right on" in printed
    assert "the search uses distance alone; --objectives distance,tag_accuracy uses tag accuracy, too" in printed
    study = optuna.load_study(study_name="shapes", storage=home.study)
    assert (study.metric_names, [len(trial.values) for trial in study.trials]) == (["distance"], [1, 1])
    client = MlflowClient(home.tracking)
    runs = client.search_runs([client.get_experiment_by_name("shapes").experiment_id])
    assert sum("tag_accuracy" in run.data.metrics for run in runs) == 2
