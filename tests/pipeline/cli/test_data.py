"""`gansweep data inspect`: what it prints and writes, and that its exit code is what a run would answer."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from pipeline.cli.main import main
from pipeline.sweep import run, scoring_task
from trainables.data.dataset import load_folder
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLASSES = {"cat": 7, "dog": 5, "owl": 6}


@pytest.fixture(scope="module")
def home_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refused") / "home"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANSWEEP_HOME", str(tmp_path / "home"))
    for place, (name, count) in enumerate(CLASSES.items()):
        for number in range(count):
            path = tmp_path / "animals" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (place * 90, number * 30, 99)).save(path)
    return tmp_path / "animals"


def test_the_json_has_layout_groups_and_counts(folder, capsys) -> None:
    assert main(["data", "inspect", str(folder), "--image-size", "16", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["layout"], report["complete"], report["partial"]) == ("class folders", 18, 0)
    assert report["classes"] == {"class": CLASSES}
    assert report["groups"] == {"class": {"classes": ["cat", "dog", "owl"], "coverage": 1.0}}
    assert (report["defects"], report["refusal"], report["left_out"]) == ({}, None, {})


def test_exit_1_with_the_line_of_a_run(folder, capsys) -> None:
    for path in folder.rglob("*.png"):
        path.rename(folder / f"{path.parent.name}-{path.name}")
    assert main(["data", "inspect", str(folder), "--image-size", "16", "--json"]) == 1
    refusal = json.loads(capsys.readouterr().out)["refusal"]
    with pytest.raises(UserError) as caught:
        load_folder(folder, 16)
    assert str(caught.value) == f"{refusal}; `gansweep data inspect` shows what is there"
    assert main(["data", "inspect", str(folder), "--image-size", "16"]) == 1
    assert refusal in capsys.readouterr().out


def _bad_rows(folder: Path) -> None:
    """Two of twenty rows of labels without an image, instead of class folders."""
    rows = []
    for path in sorted(folder.rglob("*.png")):
        path.rename(folder / f"{path.parent.name}-{path.name}")
        rows.append(f"{path.parent.name}-{path.name},{path.parent.name}")
    (folder / "labels.csv").write_text("\n".join(["image,animal", *rows, "gone1,cat", "gone2,dog"]))


def _foreign_rows(folder: Path) -> None:
    _bad_rows(folder)
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("-", "/other-"))


REFUSED: dict[str, tuple[Callable[[Path], object], list[str], int, str]] = {
    "no such folder": (shutil.rmtree, [], 1, "does not exist"),
    "no images": (lambda folder: [path.unlink() for path in folder.rglob("*.png")], [], 1, "has no images"),
    "one class": (
        lambda folder: [shutil.rmtree(folder / name) for name in ("dog", "owl")], [], 1, "cat/ is the only folder",
    ),
    "one class with images": (
        lambda folder: (
            [shutil.copytree(folder / "dog", folder / f"cat/{number}") for number in range(3)],
            (folder / "vocabulary.json").write_text('{"groups": [{"name": "class", "classes": ["cat", "hen"]}]}'),
        ),
        [], 1, "all 22 images with every tag are cat class",
    ),
    "too few": (lambda folder: shutil.rmtree(folder / "cat"), [], 1, "11 images with every tag are too few"),
    "bad files": (_bad_rows, [], 1, "2 of 20 files are bad (10.0%, allowed are 5.0%): gone1 (tags without image)"),
    "a smaller share": (_bad_rows, ["--max-bad-share", "0.09"], 1, "2 of 20 files are bad (10.0%, allowed are 9.0%)"),
    "no share": (lambda folder: None, ["--max-bad-share", "2"], 2, "--max-bad-share is 2.0; allowed: 0 to 1"),
    "foreign ids": (_foreign_rows, [], 1, "none of the 20 ids"),
    "missing weights": (lambda folder: None, ["--weights", "gone.pth"], 1, "gone.pth"),
    "weights of another": (lambda folder: None, ["--extractor", "inception", "--weights", "gone.pt"], 1, "gone.pt"),
    "no extractor": (lambda folder: None, ["--extractor", "inceptoin"], 2, "unknown extractor 'inceptoin'"),
    "no network": (lambda folder: None, ["--extractor", "gone.onnx"], 1, "gone.onnx"),
    "no attribute": (lambda folder: None, ["--attributes", "Smiling"], 2, "Smiling"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_inspect_and_run_refuse_with_the_same_line(name, folder, home_of_all, capsys, monkeypatch) -> None:
    damage, options, code, why = REFUSED[name]
    damage(folder)
    monkeypatch.setenv("GANSWEEP_HOME", str(home_of_all))
    monkeypatch.setattr(run, "local_ray", None)
    monkeypatch.setattr(scoring_task.ScoringTask, "start", None)
    assert main(["data", "inspect", str(folder), "--image-size", "16", "--json", *options]) == code
    printed = capsys.readouterr()
    line = json.loads(printed.out)["refusal"] if printed.out else printed.err.strip().partition("error: ")[2]
    assert why in line
    assert "\n" not in line
    assert main(["run", "acgan", "--data", str(folder), "--name", "n", "--image-size", "16", *options]) == code
    said = capsys.readouterr().err.strip().splitlines()[-1].partition("error: ")[2]
    assert said.removesuffix("; `gansweep data inspect` shows what is there") == line


def test_inspect_accepts_the_share_of_bad_files_that_a_run_would(folder, capsys) -> None:
    _bad_rows(folder)
    assert main(["data", "inspect", str(folder), "--image-size", "16", "--json", "--max-bad-share", "0.1"]) == 0
    assert json.loads(capsys.readouterr().out)["refusal"] is None


def test_a_sheet_has_a_row_for_each_class(folder, tmp_path, capsys) -> None:
    assert main(["data", "inspect", str(folder), "--image-size", "16", "--sheet", str(tmp_path / "s.png")]) == 0
    sheet = Image.open(tmp_path / "s.png")
    rows = {sheet.getpixel((sheet.width - 8 * 64 + 10, row * 64 + 32))[0] for row in range(sheet.height // 64)}
    assert (sheet.height // 64, rows) == (3, {0, 90, 180})
    for bad in (tmp_path / "s.txt", tmp_path / "nowhere" / "s.png"):
        assert main(["data", "inspect", str(folder), "--image-size", "16", "--sheet", str(bad)]) == 2
        assert f"--sheet {bad}" in capsys.readouterr().err


def test_a_written_vocabulary_decides_and_may_be_edited(folder, capsys) -> None:
    words = ["data", "inspect", str(folder), "--image-size", "16", "--json"]
    assert main([*words, "--write-vocabulary"]) == 0
    file = folder / "vocabulary.json"
    before = json.loads(capsys.readouterr().out)["fingerprint"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == before
    file.write_text(json.dumps({"groups": [{"name": "class", "classes": ["owl", "cat"]}]}))
    assert main(words) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["classes"], report["complete"], report["partial"]) == ({"class": {"owl": 6, "cat": 7}}, 13, 5)
    assert report["defects"]["unknown class"]["count"] == 5
    assert "13 images with every tag are too few" in report["refusal"]
    assert main([*words, "--write-vocabulary"]) == 1
    assert "vocabulary.json exists" in capsys.readouterr().err
