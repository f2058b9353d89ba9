"""Data that no run can use: one line that names the true cause, in the data's own words."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainables.data.dataset import load_folder, read_folder
from trainables.data.inspect import inspect_folder
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def png(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


PNGS = [png(number) for number in range(6)]
LOOSE = {f"{number}.png": content for number, content in enumerate(PNGS)}
HALVES = {f"{'ab'[number % 2]}/{number}.png": content for number, content in enumerate(PNGS)}


def write(folder: Path, files: Mapping[str, bytes | str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def parquet(columns: dict[str, list[object]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def tarred(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return stream.getvalue()


def dataset_json(labels: object) -> dict[str, bytes | str]:
    return {**LOOSE, "dataset.json": json.dumps({"labels": labels})}


def csv(text: str) -> dict[str, bytes | str]:
    return {**LOOSE, "labels.csv": text}


FORM = '{"groups": [{"name": "form", "classes": ["x", "y"]}]}'
NO_LABELS: dict[str, tuple[Mapping[str, bytes | str], str]] = {
    "nothing but images": (LOOSE, "expected two or more class folders (cat/1.png, dog/2.png), a table with a header"),
    "one class folder": ({f"cat/{name}": one for name, one in LOOSE.items()}, "cat/ is the only folder of images"),
    "splits": ({f"{('Train', 'test')[n % 2]}/{n}.png": one for n, one in enumerate(PNGS)},
               "Train, test are splits, not classes"),
    "splits beside others": ({f"{('train', 'val', 'extra')[n % 3]}/{n}.png": one for n, one in enumerate(PNGS)},
                             "train, val are splits, not classes"),
    "a sample submission": ({**LOOSE, "sample_submission.csv": "image,label\n0,a\n1,b\n"},
                            "sample_submission.csv: predictions of a competition, not labels"),
    "few in class folders": ({**HALVES, **{f"x{n}": c for n, c in LOOSE.items()}, "y.png": PNGS[0]},
                             "6 of 13 images are in class folders (a, b)"),
    "broken metadata": ({**LOOSE, "metadata.jsonl": "{not\n"}, "metadata.jsonl has no row that can be read"),
    "empty metadata": ({**LOOSE, "metadata.jsonl": ""}, "metadata.jsonl has no rows"),
    "one class in metadata": ({**LOOSE, "metadata.jsonl": json.dumps({"file_name": "0.png", "label": "a"})},
                              "metadata.jsonl (Hugging Face metadata) has no labels that divide the images into "
                              "classes (label: one class only: a)"),
    "words in dataset.json": (dataset_json([[name, "cat"] for name in LOOSE]),
                              'first dataset.json entry 0: expected ["name.png", class])'),
    "negative classes": (dataset_json([[name, -1] for name in LOOSE]), "6 label out of range, first 0.png: -1"),
    "empty dataset.json": (dataset_json([]), "has no labels that divide the images into classes (it has no label)"),
    "broken dataset.json": ({**LOOSE, "dataset.json": "{"}, "dataset.json: no JSON"),
    "header alone": (csv("image,label\n"), "labels.csv is no table of labels: 'image,label' is its only row"),
    "empty table": (csv(""), "labels.csv is no table of labels: it is empty"),
    "ids alone": (csv("image\n0\n1\n"), "it has no column beside 'image'"),
    "another separator": (csv("image|label\n0|a\n1|b\n"), "cells are separated by commas, semicolons or tabs"),
    "no header": (csv("0.png,a\n1.png,b\n"), "its first row '0.png,a' names no column of image ids, as"),
    "one class in a table": (csv("image,label\n0,a\n1,a\n"), "labels.csv (CSV with a header) has no labels that"),
    "broken annotations": ({**LOOSE, "annotations/a.json": '{"images": ['}, "annotations/a.json: no JSON"),
    "broken captions": ({**LOOSE, "meta.json": '{"0.png'}, "meta.json: no JSON, and no JSON in any of its lines"),
    "no captions": ({**LOOSE, **{f"{n}.txt": "" for n in range(6)}}, "its captions are empty"),
    "binary captions": ({**LOOSE, **{f"{n}.txt": b"\xff\xfa" for n in range(6)}}, "6 unreadable captions, first 0.txt"),
    "foreign vocabulary": ({**HALVES, "vocabulary.json": FORM},
                           "a/, b/ (class folders) has no label in the words of the vocabulary (form)"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_LABELS)
def test_the_line_says_why_there_are_no_labels(name: str, tmp_path: Path) -> None:
    files, why = NO_LABELS[name]
    write(tmp_path / "data", files)
    refusal = inspect_folder(tmp_path / "data", 8)["refusal"]
    assert refusal.startswith(f"data folder {tmp_path / 'data'} has no labels: ")
    assert why in refusal
    for word in ("\n", "hair", "eyes", "data inspect"):
        assert word not in refusal
    with pytest.raises(UserError) as caught:
        load_folder(tmp_path / "data", 8)
    assert str(caught.value) == f"{refusal}; `gansweep data inspect` shows what is there"


PICTURES = {"image": list(PNGS)}
UNREADABLE: dict[str, tuple[str, Mapping[str, bytes | str], str]] = {
    "parquet without labels": ("", {"a.parquet": parquet(PICTURES)}, "a.parquet has images and no column of labels"),
    "parquet without images": ("", {"a.parquet": parquet({"label": [1, 2]})}, "a.parquet has no column of images"),
    "half a parquet": ("", {"a.parquet": parquet(PICTURES)[:200]}, "no sound parquet file"),
    "half a zip": ("a.zip", {"a.zip": zipped(HALVES)[:400]}, "it is cut short or damaged, the list of members"),
    "no zip": ("a.zip", {"a.zip": "text"}, "not a zip file; expected a zip archive"),
    "members outside": ("a.zip", {"a.zip": zipped({f"../{n}": c for n, c in LOOSE.items()})},
                        "it holds ../0.png (leads out of the archive)"),
    "a missing shard": ("x-{000..003}.tar", {f"x-{n:03d}.tar": tarred(LOOSE) for n in (0, 1, 3)},
                        "1 of 4 shards is missing: x-002.tar"),
    "no shard": ("x-{000..003}.tar", {"y.tar": tarred(LOOSE)}, "no file fits this pattern"),
    "a packed tar": ("x.tar.gz", {"x.tar.gz": b"\x1f\x8b"}, "x.tar.gz is none of: .zip, .tar, .parquet; unpack it"),
    "a table": ("labels.csv", csv("image,label\n"), "give the folder that holds it"),
    "other files": ("", {"a.docx": "x", "b.mp4": "x"}, "it holds a.docx, b.mp4"),
    "broken vocabulary": ("", {**HALVES, "vocabulary.json": FORM.replace(', "y"', "")},
                          "vocabulary.json: group 'form' has classes ['x']; two or more"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_the_line_says_what_cannot_be_read(name: str, tmp_path: Path) -> None:
    below, files, why = UNREADABLE[name]
    write(tmp_path / "data", files)
    with pytest.raises(UserError) as caught:
        read_folder(tmp_path / "data" / below if below else tmp_path / "data", 8)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "label"),
    [
        (csv("image,label\n" + "".join(f"x{n},{'ab'[n % 2]}\n" for n in range(6))), "x0"),
        (dataset_json([[f"q/x{n}.png", n % 2] for n in range(6)]), "q/x0"),
    ],
)
def test_ids_of_other_images_are_shown_beside_those_of_these(
    files: Mapping[str, bytes | str], label: str, tmp_path: Path
) -> None:
    write(tmp_path / "data", files)
    refusal = read_folder(tmp_path / "data", 8).refusal(0.05) or ""
    assert "none of the 6 ids of" in refusal
    assert f"an id is for instance {label!r}, an image '0'" in refusal


def test_a_class_folder_without_images_is_named(tmp_path: Path) -> None:
    write(tmp_path / "data", {**HALVES, "c/notes.txt": "x"})
    (tmp_path / "data/d").mkdir()
    defects = inspect_folder(tmp_path / "data", 8)["defects"]
    assert defects["class folder without images"]["names"] == ["c/", "d/"]
    write(tmp_path / "split", {f"{part}/{name}": one for part in ("train", "test") for name, one in HALVES.items()})
    (tmp_path / "split/train/c").mkdir()
    assert inspect_folder(tmp_path / "split", 8)["defects"]["class folder without images"]["names"] == ["train/c/"]
