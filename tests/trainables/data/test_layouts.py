"""Every layout of drawn faces, without an option: all images are complete, with the true count of each class."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.trainables.data.layout_samples import LAYOUTS, Face, both, make_faces
from trainables.data.dataset import load_folder
from trainables.data.inspect import inspect_folder
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable


DOCUMENTED = (Path(__file__).parents[3] / "docs/how-to/data-layouts.md").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def drawn() -> list[Face]:
    return make_faces(48)


def counted(report) -> dict[str, dict[str, int]]:
    return {group: {word: n for word, n in counts.items() if n} for group, counts in report["classes"].items()}


@pytest.mark.parametrize("name", LAYOUTS)
def test_all_images_are_complete_with_the_true_counts(name, tmp_path, drawn) -> None:
    path, counts = LAYOUTS[name](tmp_path / "data", drawn)
    report = inspect_folder(path, 16)
    assert report["refusal"] is None
    assert counted(report) == counts
    assert (report["pictures"], report["complete"], report["partial"]) == (len(drawn), len(drawn), 0)
    allowed = {"posts without image"} if name == "danbooru" else set()
    assert set(report["defects"]) == allowed
    assert report["layout"] != "none"
    assert f"\n| {report['layout']}" in DOCUMENTED
    images = load_folder(path, 16, cache=tmp_path / "cache")
    assert images.complete == len(drawn)
    assert images.fingerprint == report["fingerprint"] == load_folder(path, 16, cache=tmp_path / "cache").fingerprint


def test_names_that_recur_in_each_split_are_matched_within_it(tmp_path, drawn) -> None:
    for split, part in (("train", drawn[:24]), ("test", drawn[24:])):
        (tmp_path / split).mkdir()
        for number, face in enumerate(part):
            (tmp_path / split / f"{number}.png").write_bytes(face.png)
        rows = [f"{number}.png,{face.hair}" for number, face in enumerate(part)]
        (tmp_path / split / "labels.csv").write_text("\n".join(["image,hair", *rows]))
    report = inspect_folder(tmp_path, 16)
    assert (report["complete"], report["defects"]) == (48, {})
    assert counted(report) == {"hair": both(drawn)["hair"]}


def write_splits(folder: Path, drawn: list[Face], name: str = "labels.csv", column: str = "image") -> None:
    for split, part in (("train", drawn[:32]), ("valid", drawn[32:])):
        (folder / split).mkdir()
        for face in part:
            (folder / split / f"{face.stem}.png").write_bytes(face.png)
        rows = [f"{face.stem}.png,{face.hair}" for face in part]
        (folder / split / name).write_text("\n".join([f"{column},hair", *rows]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.txt", "Faces - v1\n====\nExported on March 1\n"),
        ("sample_submission.csv", "image,hair\n0040.png,red\n0041.png,red\n"),
        ("classes.csv", "id,name\n100,red\n101,blue\n"),
        ("empty.csv", ""),
    ],
)
def test_texts_at_the_top_do_not_hide_the_tables_of_splits(name, text, tmp_path, drawn) -> None:
    write_splits(tmp_path, drawn)
    (tmp_path / name).write_text(text)
    report = inspect_folder(tmp_path, 16)
    assert (report["layout"], report["complete"]) == ("CSV with a header", 48)
    assert counted(report) == {"hair": both(drawn)["hair"]}
    assert [one.partition(" ")[0] for one in report["defects"]["ignored file"]["names"]] == [name]


@pytest.mark.parametrize("name", ["labels.csv", "metadata.csv", "paths", "foreign paths"])
def test_a_row_of_one_split_labels_no_image_of_another(name, tmp_path, drawn) -> None:
    """The image of a row of train/ is gone, and test/ has another one of its name without a label."""
    table = name if name.endswith("csv") else "labels.csv"
    above = "/home/me/faces/" if name == "foreign paths" else ""
    write_splits(tmp_path, drawn, table, "file_name" if table == "metadata.csv" else "image")
    if table != name:
        (tmp_path / "valid/labels.csv").unlink()
        rows = (tmp_path / "train/labels.csv").read_text().splitlines()
        (tmp_path / "train/labels.csv").unlink()
        (tmp_path / "labels.csv").write_text("\n".join([rows[0], *(f"{above}train/{row}" for row in rows[1:])]))
    (tmp_path / "test").mkdir()
    (tmp_path / "train/0004.png").rename(tmp_path / "test/0004.png")
    report = inspect_folder(tmp_path, 16)
    assert report["complete"] == (47 if table == name else 31)
    assert report["defects"]["tags without image"]["names"] == [f"{above}train/0004".lstrip("/")]
    assert "0004" in report["defects"]["image without tags"]["names"]


def test_a_table_in_a_split_does_not_replace_class_folders(tmp_path, drawn) -> None:
    for split, part in (("train", drawn[:24]), ("test", drawn[24:])):
        for number, face in enumerate(part):
            path = tmp_path / split / ("cat", "dog")[number % 2] / f"{face.stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(face.png)
        rows = [f"{face.stem}.png,{('web', 'phone')[number % 3 > 0]}" for number, face in enumerate(part)]
        (tmp_path / split / "sources.csv").write_text("\n".join(["filename,source", *rows]))
    report = inspect_folder(tmp_path, 16)
    assert (report["layout"], counted(report)) == ("class folders", {"class": {"cat": 24, "dog": 24}})
    assert report["defects"]["ignored file"]["count"] == 2


def test_numbered_parts_of_splits_are_no_classes_beside_a_table(tmp_path, drawn) -> None:
    write_splits(tmp_path, drawn)
    for image in list(tmp_path.rglob("*.png")):
        part = image.parent / f"0000{int(image.stem) % 2}"
        part.mkdir(exist_ok=True)
        image.rename(part / image.name)
    assert counted(inspect_folder(tmp_path, 16)) == {"hair": both(drawn)["hair"]}


@pytest.mark.parametrize("others", ["nothing", "labels", "class folders"])
def test_a_submission_is_read_as_labels_only_where_nothing_else_labels_the_images(others, tmp_path, drawn) -> None:
    for number, face in enumerate(drawn):
        path = tmp_path / (("cat", "dog")[number % 2] if others == "class folders" else "") / f"{face.stem}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(face.png)
    rows = [f"{face.stem}.png,{('old', 'new')[number % 3 > 0]}" for number, face in enumerate(drawn)]
    (tmp_path / "submissions.csv").write_text("\n".join(["image,age", *rows]))
    if others == "labels":
        rows = [f"{face.stem}.png,{face.hair}" for face in drawn]
        (tmp_path / "labels.csv").write_text("\n".join(["image,hair", *rows]))
    report = inspect_folder(tmp_path, 16)
    assert (report["complete"], report["refusal"]) == (48, None)
    assert counted(report) == {
        "nothing": {"age": {"old": 16, "new": 32}}, "labels": {"hair": both(drawn)["hair"]},
        "class folders": {"class": {"cat": 24, "dog": 24}},
    }[others]  # fmt: skip
    assert ("ignored file" in report["defects"]) == (others != "nothing")


def test_placeholders_of_a_competition_are_no_labels(tmp_path, drawn) -> None:
    """Without labels are the images of its test set, for which the sample names one class."""
    path, _ = LAYOUTS["csv_with_pandas_index"](tmp_path / "data", drawn)
    header, *rows = (path / "labels.csv").read_text().splitlines()
    (path / "labels.csv").write_text("\n".join([header, *rows[:40]]))
    guesses = [f"{number},{face.stem},red,blue" for number, face in enumerate(drawn[40:])]
    (path / "Sample_Submission.csv").write_text("\n".join([header, *guesses]))
    report = inspect_folder(path, 16)
    assert (report["complete"], report["partial"]) == (40, 8)
    assert counted(report) == both(drawn[:40], "hair_color", "eye_color")
    assert report["defects"]["ignored file"]["names"] == [
        "Sample_Submission.csv (predictions of a competition, not labels)"
    ]


def looked_at(path: Path) -> dict[str, Any] | None:
    """A report, or nothing where the data are refused on one line."""
    said, report = "", None
    try:
        report = inspect_folder(path, 16)
    except UserError as error:
        said = str(error)
    assert "\n" not in (report["refusal"] or "" if report else said)
    return report


def label_files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix not in {".png", ".jpg"}]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "cut short": lambda content: content[:-1],
    "empty": lambda content: b"",
    "null": lambda content: b"null",
    "a list of numbers": lambda content: b"[1, 2, [3, null]]",
    "an object of numbers": lambda content: (
        b'{"labels": 3, "images": [1], "annotations": [2], "categories": [3], "7": 8}'
    ),
    "binary": lambda content: bytes(range(256)) * 9,
    "one line of commas": lambda content: b",,,,\n",
    "deep": lambda content: b"[" * 100_000,
    "a huge number": lambda content: b'{"labels": [["0001.png", 1' + b"0" * 6000 + b"]]}",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", LAYOUTS)
def test_damaged_labels_are_a_line_or_counted(name, damage, tmp_path, drawn) -> None:
    path, _counts = LAYOUTS[name](tmp_path / "data", drawn[:24])
    files = label_files(tmp_path / "data")
    for file in files[:1] if len(files) < 5 else files:
        file.write_bytes(DAMAGE[damage](file.read_bytes()))
    before = sorted(tmp_path.rglob("*"))
    report = looked_at(path)
    if files and report and not report["refusal"]:
        found = {group: sum(words.values()) for group, words in report["classes"].items()}
        assert report["defects"] or found == dict.fromkeys(found, 24)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", LAYOUTS)
def test_images_without_labels_and_undecodable_ones_are_counted(name, tmp_path, drawn) -> None:
    broken = dataclasses.replace(drawn[11], png=drawn[11].png[:60])
    path, _ = LAYOUTS[name](tmp_path / "data", [*drawn[:11], broken, *drawn[12:]])
    report = looked_at(path)
    assert report is not None
    assert (report["pictures"], report["complete"]) == (47, 47)
    assert sum(report["defects"][kind]["count"] for kind in ("truncated", "corrupt") if kind in report["defects"]) == 1
    if path.is_dir() and not any(word in name for word in ("folders", "shards", "webdataset")):
        (path / "extra.png").write_bytes(drawn[0].png)
        report = looked_at(path)
        assert report is not None
        assert (report["pictures"], report["complete"], report["partial"]) == (48, 47, 1)
        assert report["defects"]["image without tags"]["names"] == ["extra"]


@pytest.mark.parametrize(
    "name", [name for name in LAYOUTS if not name.startswith(("class", "parquet", "webd", "folders"))]
)
def test_labels_without_images_count_as_bad(name, tmp_path, drawn) -> None:
    if name.startswith(("sidecar", "stylegan_zip")):
        pytest.skip("labels cannot be there without their images, or both are in an archive")
    path, _ = LAYOUTS[name](tmp_path / "data", drawn)
    for image in sorted(path.rglob("*.png"))[:10]:
        image.unlink()
    report = looked_at(path)
    assert report is not None
    assert report["complete"] == 38
    if name in {"celeba", "csv_of_signs", "danbooru"}:  # of a larger collection
        assert report["refusal"] is None
    else:
        assert report["defects"]["tags without image"]["count"] == 10
        assert "10 of 48 files are bad" in report["refusal"]


def real_faces(shared: Path, count: int) -> list[Face]:
    """Tagged photographs' stand-ins: real drawings, every hundredth so that all colours occur."""
    rows = [line.split(",") for line in (shared / "anime-faces/tags.csv").read_text().splitlines()[:: 9000 // count]]
    faces = []
    for number, (name, text) in enumerate(rows[:count], 1):
        hair, _, eyes, _ = text.split()
        png = io.BytesIO()
        Image.open(shared / f"anime-faces/faces/{name}.jpg").resize((24, 24)).save(png, "PNG")
        faces.append(Face(f"{number:04d}", hair, eyes, png.getvalue()))
    return faces


@pytest.mark.parametrize("name", ["class_folders", "sidecar_txt", "parquet_shards", "stylegan_zip_of_classes", "coco"])
def test_real_faces(name, tmp_path, shared_data) -> None:
    faces = real_faces(shared_data, 200)
    path, counts = LAYOUTS[name](tmp_path / "data", faces)
    report = inspect_folder(path, 16)
    assert (report["complete"], report["partial"], report["refusal"], report["defects"]) == (200, 0, None, {})
    assert counted(report) == counts
