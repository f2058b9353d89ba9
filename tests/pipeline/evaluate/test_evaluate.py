"""``gansweep score``: what it prints, what it warns of, and every mistake on one line."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from pipeline.cli.main import main
from pipeline.evaluate.evaluate import score_folders
from pipeline.evaluate.options import ScoreOptions
from tests.support.stub_tag_classifier import place_tag_classifier
from trainables.data.synthetic import write_folder
from trainables.errors import UserError
from trainables.scoring.extractors.registry import open_extractor
from trainables.scoring.metrics.frechet import FeatureStatistics, frechet_distance
from trainables.scoring.tag_classifier import classifier

if TYPE_CHECKING:
    from pathlib import Path

    from trainables.scoring.tag_classifier.classifier import TagClassifier

SIZE, FACES = 16, 24


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Drawn faces as the real ones, others as the drawn ones, and folders in which something is wrong."""
    root = tmp_path_factory.mktemp("score")
    for seed, name in enumerate(("real", "fake")):
        write_folder(root / name, FACES, seed=seed, size=SIZE)
    shutil.copytree(root / "fake", root / "untagged", ignore=shutil.ignore_patterns("*.csv"))
    for name in ("few", "empty", "rubbish"):
        (root / name).mkdir()
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / "few" / f"{number}.png")
    for number in range(FACES):
        (root / "rubbish" / f"{number}.png").write_text("no image")
    foreign = shutil.copytree(root / "fake", root / "foreign")
    fur = {"groups": [{"name": "fur", "classes": ["black", "white"]}]}
    (foreign / "vocabulary.json").write_text(json.dumps(fur))
    strangers = shutil.copytree(root / "untagged", root / "strangers")
    (strangers / "tags.csv").write_text("".join(f"x{number},red hair red eyes\n" for number in range(30)))
    return {path.name: path for path in root.iterdir()} | {"tmp": root}


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory without a home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANSWEEP_HOME", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def home(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose cache holds a tag classifier of the real folder."""
    home = tmp_path_factory.mktemp("home")
    place_tag_classifier(home, folders["real"], SIZE)
    return home


def score(folders: dict[str, Path], fake: str = "fake", real: str = "real", **options: Any) -> dict[str, Any]:
    return score_folders(ScoreOptions(folders[real], folders[fake], **options).request())


CASES = [
    ("--real {real}", 2, "--fake"),
    ("--real {tmp}/nowhere --fake {fake}", 1, "does not exist"),
    ("--real {real} --fake {fake}/tags.csv", 1, "is not a folder"),
    ("--real {empty} --fake {fake}", 1, "has no images; looked for"),
    ("--real {real} --fake {empty}", 1, "has no images; looked for"),
    ("--real {real} --fake {rubbish}", 1, "has no readable image: 0.png is not an image"),
    ("--real {real} --fake {few}", 1, "has 4 images; at least 16 are needed"),
    ("--real {real} --fake {fake} --extractor inceptoin", 2, "did you mean 'inception'"),
    ("--real {real} --fake {fake} --extractor {tmp}/nowhere.onnx", 1, "nowhere.onnx"),
    ("--real {real} --fake {fake} --extractor {tmp}/net.pt", 2, "torch.onnx.export("),
    ("--real {real} --fake {fake} --weights {tmp}/nowhere.pth", 1, "nowhere.pth does not exist"),
    ("--real {real} --fake {fake} --resize tf1", 2, "unknown resize 'tf1'"),
    ("--real {real} --fake {fake} --precision float16", 2, "unknown precision 'float16'; allowed: float32, bf16"),
    ("--real {real} --fake {fake} --cascade {tmp}/nowhere.xml", 1, "nowhere.xml does not exist"),
    ("--real {real} --fake {fake} --cascade {fake}/tags.csv", 1, "is no cascade file"),
    ("--real {real} --fake {fake} --samples 3", 2, "--samples is 3; allowed: 16 or more"),
    ("--real {real} --fake {fake} --samples 99", 2, "has 24 images"),
    ("--real {real} --fake {fake} --seed -1", 2, "--seed is -1"),
    ("--real {real} --fake {fake} --image-size 3", 2, "--image-size is 3; allowed: 4 to 4096 pixels"),
    ("--real {real} --fake {fake} --image-size 4097", 2, "--image-size is 4097; allowed: 4 to 4096 pixels"),
    ("--real {real} --fake {untagged} --tags", 1, "has no labels: "),
    ("--real {untagged} --fake {fake} --tags", 1, "has no labels: "),
    ("--real {real} --fake {strangers} --tags", 1, "has no usable tag for any of its images"),
    ("--real {real} --fake {foreign} --tags", 1, "differs from the real folder's"),
    ("--real {real} --fake {fake} --confusions {tmp}/c.png", 2, "--confusions {tmp}/c.png"),
    ("--real {real} --fake {fake} --tags --confusions {tmp}/c.jpg", 2, ".png"),
]


@pytest.mark.parametrize(("line", "code", "said"), CASES, ids=[case[2][:40] for case in CASES])
def test_a_mistake_is_answered_on_one_line(
    line: str, code: int, said: str, folders: dict[str, Path], outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cascade" in line:
        pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    words = ["score", *line.format(**folders).split()]
    try:
        ended = main(words)
    except SystemExit as exit_:
        ended = exit_.code
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert (ended, printed.out) == (code, "")
    assert [one for one in lines if "error" in one] == lines[-1:]
    assert lines[-1].startswith("gansweep: error: ")
    assert said.format(**folders) in lines[-1]
    assert not list(outside.iterdir())


def test_the_distance_is_that_of_the_images(folders: dict[str, Path], outside: Path) -> None:
    """Against features computed here, image by image."""
    found = score(folders)
    extractor = open_extractor("efficientnet")

    def statistics(name: str) -> FeatureStatistics:
        pixels = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folders[name].rglob("*.*g"))]
        assert len(pixels) == FACES
        import torch

        return FeatureStatistics.of(extractor(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)).numpy())

    expected = frechet_distance(statistics("real"), statistics("fake"))
    assert found["scores"]["fd_efficientnet"] == pytest.approx(expected, rel=1e-4)
    assert found["counts"] == {"real": FACES, "fake": FACES, "floor": 12}
    assert (found["tags"], found["judge"], found["fingerprint"]["judge"]) == (None, None, "none")
    assert not list(outside.iterdir())  # no home was asked for, none was made


def test_every_score_has_its_interval_around_it(folders: dict[str, Path], home: Path, outside: Path) -> None:
    found = json.loads(json.dumps(score(folders, home=home, tags=True, fid_infinity=True), allow_nan=False))
    names = {"fd_efficientnet", "kid", "mmd", "precision", "recall", "density", "coverage", "memorised", "diversity"}
    assert names | {"fd_efficientnet_infinity", "tag_accuracy_macro_hair"} <= set(found["scores"])
    assert set(found["intervals"]) == {name for name, value in found["scores"].items() if value is not None}
    for name, (low, high) in found["intervals"].items():
        assert low <= found["scores"][name] <= high, name
    assert found["fingerprint"] | {"data": "", "fake": "", "judge": "", "weights": ""} == {
        "extractor": "efficientnet",
        "score": "fd_efficientnet",
        "weights": "",
        "resize": "bilinear antialiased to 64 px",
        "precision": "float32",
        "samples": FACES,
        "reference": FACES,
        "data": "",
        "fake": "",
        "judge": "",
        "cascade": "none",
        "image_size": None,
        "seed": 0,
    }


def test_unequal_counts_and_sizes_and_bad_files_are_reported(
    folders: dict[str, Path], outside: Path, tmp_path: Path
) -> None:
    mixed = shutil.copytree(folders["untagged"], tmp_path / "mixed")
    (mixed / "broken.png").write_text("no image")
    (mixed / "notes.pdf").write_text("notes")
    for number in range(30):
        Image.new("RGB", (40 + number, 20), (number, 9, 9)).save(mixed / f"wide{number}.png")
    found = score({**folders, "mixed": mixed}, "mixed")
    assert found["counts"] == {"real": FACES, "fake": FACES + 30, "floor": 12}
    assert found["defects"]["fake"] == {
        "ignored file": {"count": 1, "names": ["notes.pdf (no image)"]},
        "not an image": {"count": 1, "names": ["broken.png (none of JPEG, PNG, WEBP, BMP, GIF, TIFF, AVIF, PPM)"]},
    }
    assert sum(found["sizes"]["fake"].values()) == FACES + 30
    assert any(f"{FACES + 30} samples are too few" in text for text in found["warnings"])


def test_the_same_folder_twice_is_reported(folders: dict[str, Path], outside: Path) -> None:
    found = score(folders, "real")
    assert any("both folders are the same" in text for text in found["warnings"])
    assert found["scores"]["fd_efficientnet"] == pytest.approx(0, abs=1e-3)
    assert found["scores"]["memorised"] == 1.0
    copy = score({**folders, "copy": shutil.copytree(folders["real"], outside / "copy")}, "copy")
    assert any("both folders hold the same images" in text for text in copy["warnings"])


def test_other_sizes_are_warned_of(folders: dict[str, Path], outside: Path) -> None:
    write_folder(outside / "large", FACES, seed=5, size=32)
    found = score({**folders, "large": outside / "large"}, "large")
    (warning,) = (text for text in found["warnings"] if "16x16" in text)
    assert "32x32" in warning
    assert "at its own size" in warning
    assert "--image-size 16" in warning
    assert not any("16x16" in text for text in score(folders)["warnings"])


def test_both_folders_are_resized(folders: dict[str, Path], outside: Path) -> None:
    """The scores are those of copies that were resized before, by Pillow itself."""
    write_folder(outside / "large", FACES, seed=5, size=32)
    for name, folder in (("real", folders["real"]), ("large", outside / "large")):
        small = outside / f"{name}-8"
        small.mkdir()
        for path in folder.rglob("*.*g"):
            with Image.open(path) as image:
                image.convert("RGB").resize((8, 8), Image.Resampling.LANCZOS).save(small / f"{path.stem}.png")
    places = {**folders, **{path.name: path for path in outside.iterdir()}}
    found, expected = score(places, "large", image_size=8), score(places, "large-8", "real-8")
    assert found["scores"] == pytest.approx(expected["scores"], nan_ok=True)
    assert (found["sizes"], found["fingerprint"]["image_size"]) == ({"real": {"16x16": 24}, "fake": {"32x32": 24}}, 8)
    assert not any("16x16" in text for text in found["warnings"])


def test_samples_are_drawn_by_the_seed(folders: dict[str, Path], outside: Path) -> None:
    first, again, other = (score(folders, samples=16, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert (first["counts"], first["fingerprint"]["samples"]) == (
        {"real": FACES, "fake": 16, "floor": 12},
        16,
    )
    assert first["fingerprint"]["fake"] != other["fingerprint"]["fake"]


@pytest.mark.parametrize("names", [("real", "few"), ("few", "fake")])
def test_too_few_images_are_refused_before_any_is_measured(
    names: tuple[str, str], folders: dict[str, Path], outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **options: Any) -> None:
        raise AssertionError("images were measured")

    monkeypatch.setattr("pipeline.evaluate.evaluate.measure_images", refuse)
    with pytest.raises(UserError, match="few has 4 images; at least 16 are needed"):
        score(folders, names[1], names[0])


def test_images_that_turn_out_unreadable_leave_too_few(folders: dict[str, Path], outside: Path) -> None:
    broken = shutil.copytree(folders["untagged"], outside / "broken")
    for path in sorted(broken.rglob("*.*g"))[:10]:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"broken has 14 readable images \(10 files are left out\)"):
        score({**folders, "broken": broken}, "broken")


def test_tag_accuracies_are_shown_beside_those_on_real_images(
    folders: dict[str, Path], home: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **options: Any) -> TagClassifier:
        raise AssertionError("the cached judge was not found")

    monkeypatch.setattr(classifier, "train_tag_classifier", refuse)
    found = score(folders, home=home, tags=True, confusions=outside / "c.png")
    assert {"tag_accuracy", "tag_accuracy_hair", "tag_accuracy_eyes"} <= set(found["scores"])
    assert found["judge"]["held_out"] > 0
    hair = found["tags"]["groups"]["hair"]
    assert sum(one["asked"] for one in hair["per_class"].values()) == FACES
    assert np.trace(hair["confusion"]) / FACES == pytest.approx(found["scores"]["tag_accuracy_hair"])
    assert hair["judge_accuracy"] == found["judge"]["accuracy"]["hair"]
    with Image.open(outside / "c.png") as image:
        assert image.format == "PNG"


def test_each_image_has_its_own_tags(folders: dict[str, Path], home: Path, outside: Path) -> None:
    """Half of the images lose their row in the tag file: they ask for nothing, the others for what they asked."""
    half = shutil.copytree(folders["fake"], outside / "half")
    rows = (half / "tags.csv").read_text().splitlines()
    (half / "tags.csv").write_text("\n".join([*rows[: FACES // 2], "nobody,red hair red eyes"]))
    whole = score(folders, home=home, tags=True)
    found = score({**folders, "half": half}, "half", home=home, tags=True)
    assert found["counts"]["fake"] == FACES
    assert sum(sum(row) for row in found["tags"]["groups"]["hair"]["confusion"]) == FACES // 2
    smaller = np.array(found["tags"]["groups"]["hair"]["confusion"])
    assert (smaller <= np.array(whole["tags"]["groups"]["hair"]["confusion"])).all()
    assert found["defects"]["fake"]["image without tags"]["count"] == FACES // 2
    assert found["defects"]["fake"]["tags without image"]["names"] == ["nobody"]


def test_an_existing_home_keeps_the_real_features(folders: dict[str, Path], outside: Path) -> None:
    first = score(folders, home=outside / "new")
    assert len(list((outside / "new" / "cache").glob("features-*.npz"))) == 1
    assert score(folders, home=outside / "new") == first


def test_json_and_table_agree(
    folders: dict[str, Path], home: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", "--real", str(folders["real"]), "--fake", str(folders["fake"]), "--tags", "--home", str(home)]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main(words) == 0
    printed = capsys.readouterr()
    for name, value in found["scores"].items():
        row = next(line for line in printed.out.splitlines() if line.split()[:1] == [name])
        assert row.split()[1] == ("none" if value is None else f"{value:.4g}")
    row = next(line for line in printed.out.splitlines() if line.startswith("tag_accuracy_hair"))
    low, high = found["judge"]["intervals"]["hair"]
    assert row.endswith(f" {found['judge']['accuracy']['hair']:.4g} ({low:.4g} to {high:.4g})")
    assert all(f"warning: {text}" in printed.out for text in found["warnings"])
    assert "features of 24 images" in printed.err


def test_the_face_rate_is_shown_beside_that_of_real_images(
    shared_data: Path, folders: dict[str, Path], outside: Path
) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'gansweep[faces]')")
    noise = outside / "noise"
    noise.mkdir()
    rng = np.random.default_rng(0)
    for number in range(16):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(noise / f"{number}.png")
    write_folder(outside / "faces", FACES, seed=3, size=64)
    found = score_folders(
        ScoreOptions(outside / "faces", noise, cascade=shared_data / "lbpcascade_animeface.xml").request()
    )
    assert found["scores"]["face_rate"] == 0.0
    assert found["floor"]["face_rate"] > 0.7
    low, high = found["intervals"]["face_rate"]
    assert (low, high > 0.05) == (0.0, True)
