"""Small inputs that went wrong after public reports, each drawn anew: the kind of the fault, not the instance."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.trainables.data.layout_samples import table
from trainables.data.dataset import load_folder, read_folder
from trainables.data.defects import Defect
from trainables.data.folder import scan_folder
from trainables.data.inspect import inspect_folder
from trainables.data.selection import Selection
from trainables.data.tags import REPORT_VOCABULARY, TagGroup, Vocabulary
from trainables.errors import UserError
from trainables.visuals.panels import make_panel, panel_names

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 24
COLOURS = {"red": (200, 30, 30), "green": (30, 160, 40), "blonde": (230, 210, 90), "blue": (40, 60, 200)}
HAIR = [("red", "green", "blonde", "blue")[place % 4] for place in range(COUNT)]
EYES = [("red", "red", "blue")[place % 3] for place in range(COUNT)]
STEMS = [f"{place:04d}" for place in range(1, COUNT + 1)]
OWN = Vocabulary((TagGroup("hair", ("blue", "red", "green", "blonde")), TagGroup("eyes", ("red", "blue"))))


def tile(place: int) -> Image.Image:
    pixels = np.random.default_rng(place).integers(0, 20, (12, 12, 3)) + np.array(COLOURS[HAIR[place]]) * 9 // 10
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "data"
    place.mkdir()
    for number, stem in enumerate(STEMS):
        tile(number).save(place / f"{stem}.png")
    return place


def complete(folder: Path, selection: Selection | None = None) -> dict[str, dict[str, str]]:
    """Classes of each completely labelled image by group, after checking that the report says as many."""
    images = read_folder(folder, 16, selection=selection or Selection()).images
    groups = images.vocabulary.groups
    rows = zip(images.ids[: images.complete], images.labels.tolist(), strict=False)
    return {
        name: {group.name: group.classes[label] for group, label in zip(groups, labels, strict=True)}
        for name, labels in rows
    }


TRUTH = {stem: {"hair": hair, "eyes": eyes} for stem, hair, eyes in zip(STEMS, HAIR, EYES, strict=True)}


@pytest.mark.parametrize("name", ["{0}", "hair_{0}", "{0} hair", "Hair {0}"])
@pytest.mark.parametrize("order", [1, -1])
def test_the_header_of_a_one_hot_table_decides_not_its_order(folder, name, order) -> None:
    colours = list(COLOURS)[::order]
    rows = [[stem, *(int(word == hair) for word in colours)] for stem, hair in zip(STEMS, HAIR, strict=True)]
    (folder / "labels.csv").write_text(table([["id", *(name.format(word) for word in colours)], *rows]))
    group = "class" if name == "{0}" else "hair"
    assert {stem: said[group] for stem, said in complete(folder).items()} == dict(zip(STEMS, HAIR, strict=True))
    (folder / "vocabulary.json").write_text(Vocabulary(OWN.groups[:1]).to_text())
    assert {stem: said["hair"] for stem, said in complete(folder).items()} == dict(zip(STEMS, HAIR, strict=True))


def test_a_header_that_matches_nothing_is_refused_with_what_was_expected(folder) -> None:
    rows = [[stem, int(hair == "red"), int(hair != "red")] for stem, hair in zip(STEMS, HAIR, strict=True)]
    (folder / "labels.csv").write_text(table([["id", "rouge", "autre"], *rows]))
    (folder / "vocabulary.json").write_text(Vocabulary(OWN.groups[:1]).to_text())
    with pytest.raises(
        UserError, match=r"labels\.csv: the header names 'rouge', 'autre'; expected .* hair, .*'blue hair'"
    ):
        load_folder(folder, 16)


def test_a_column_that_may_be_of_two_groups_is_refused(folder) -> None:
    rows = [[stem, int(hair == "red"), int(hair != "red")] for stem, hair in zip(STEMS, HAIR, strict=True)]
    (folder / "labels.csv").write_text(table([["id", "red", "blonde"], *rows]))
    (folder / "vocabulary.json").write_text(OWN.to_text())
    with pytest.raises(UserError, match="column 'red' is a class of hair and of eyes; name it 'red hair'"):
        load_folder(folder, 16)


@pytest.mark.parametrize("form", ["{0}.png", "{0}.jpg", "./{0}", "data/{0}.png", "data\\{0}", "faces/train/{0}.PNG"])
def test_ids_with_suffix_and_folders(folder, form) -> None:
    rows = [f"{form.format(stem)},{hair} hair {eyes} eyes" for stem, hair, eyes in zip(STEMS, HAIR, EYES, strict=True)]
    (folder / "tags.csv").write_text("\n".join(rows))
    assert complete(folder) == TRUTH


def test_ids_as_paths_where_file_names_recur(tmp_path) -> None:
    rows = []
    for place in range(COUNT):
        path = tmp_path / HAIR[place] / f"{place // 4:04d}.png"
        path.parent.mkdir(exist_ok=True)
        tile(place).save(path)
        rows.append(f"{path.relative_to(tmp_path).as_posix()},{HAIR[place]} hair {EYES[place]} eyes")
    (tmp_path / "tags.csv").write_text("\n".join(rows))
    assert complete(tmp_path) == {
        f"{hair}/{place // 4:04d}": {"hair": hair, "eyes": EYES[place]} for place, hair in enumerate(HAIR)
    }


def test_captions_beside_images_are_no_tag_files(folder) -> None:
    for stem, hair, eyes in zip(STEMS, HAIR, EYES, strict=True):
        (folder / f"{stem}.txt").write_text(f"{hair} hair, {eyes} eyes")
    assert complete(folder) == TRUTH
    assert inspect_folder(folder, 16)["defects"] == {}
    (folder / f"{STEMS[3]}.png").unlink()  # its caption reads like a row of tags of an image called "blue hair"
    assert complete(folder) == {stem: said for stem, said in TRUTH.items() if stem != STEMS[3]}
    assert [defect.name for defect in read_folder(folder, 16).images.defects] == [f"{STEMS[3]}.txt"]


@pytest.mark.parametrize("mark", [";", "\t", ","])
@pytest.mark.parametrize("index", [None, "", "Unnamed: 0"])
def test_separators_and_indices_of_spreadsheets(folder, mark, index) -> None:
    rows = [["id", "hair", "eyes"], *(list(row) for row in zip(STEMS, HAIR, EYES, strict=True))]
    if index is not None:
        rows = [[index if place == 0 else str(place - 1), *row] for place, row in enumerate(rows)]
    (folder / "tags.csv").write_text(table(rows, mark, "\r\n"))
    assert complete(folder) == TRUTH


def test_a_readme_in_another_encoding_is_named_and_ignored(folder) -> None:
    (folder / "readme.txt").write_bytes("Données du musée".encode("cp1252"))
    rows = [f"{stem},{hair} hair {eyes} eyes" for stem, hair, eyes in zip(STEMS, HAIR, EYES, strict=True)]
    (folder / "tags.csv").write_text("\n".join(rows))
    assert complete(folder) == TRUTH
    (defect,) = load_folder(folder, 16).defects
    assert (defect.kind, defect.name) == ("ignored file", "readme.txt")
    assert "UTF-8" in defect.detail
    (folder / "tags.csv").unlink()
    with pytest.raises(UserError, match=r"has no labels: cannot read .*readme\.txt: not UTF-8"):
        load_folder(folder, 16)


def test_an_unspecified_attribute_costs_only_its_own_cell(folder) -> None:
    smiles = [(-1, 0, 1)[place % 3] for place in range(COUNT)]
    rows = [
        f"{stem}.png {2 * (hair == 'blue') - 1} {2 * (eyes == 'red') - 1} {smile}"
        for stem, hair, eyes, smile in zip(STEMS, HAIR, EYES, smiles, strict=True)
    ]
    (folder / "list_attr.txt").write_text("\n".join([str(COUNT), "Blue_Hair Red_Eyes Smiling", *rows]))
    two = {
        stem: {"blue_hair": ("no", "yes")[hair == "blue"], "red_eyes": ("no", "yes")[eyes == "red"]}
        for stem, hair, eyes in zip(STEMS, HAIR, EYES, strict=True)
    }
    asked = Selection(attributes="Blue_Hair,Red_Eyes")
    assert complete(folder, asked) == two
    assert read_folder(folder, 16, selection=asked).images.defects == ()
    for selection in (Selection(attributes="Blue_Hair,Red_Eyes,Smiling"), Selection()):
        report = inspect_folder(folder, 16, selection=selection)
        assert (report["complete"], report["partial"]) == (COUNT - smiles.count(0), smiles.count(0))
        assert report["defects"]["missing smiling"]["count"] == smiles.count(0)
        assert report["classes"]["red_eyes"] == dict(Counter(two[stem]["red_eyes"] for stem in STEMS))


def test_every_suffix_and_long_texts_in_images(tmp_path) -> None:
    suffixes = (".jpg", ".JPG", ".jpeg", ".jfif", ".png", ".PNG", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif",
                ".ppm", ".pgm")  # fmt: skip
    for place, suffix in enumerate(suffixes):
        image = tile(place).convert("L") if suffix == ".pgm" else tile(place)
        image.save(tmp_path / f"{place}{suffix}", "JPEG" if suffix == ".jfif" else None)
    about = PngImagePlugin.PngInfo()
    about.add_itxt("parameters", "blue hair, " * 200_000, zip=True)
    tile(20).save(tmp_path / "20.png", pnginfo=about)
    frames = [tile(21), tile(22)]
    frames[0].save(tmp_path / "21.gif", save_all=True, append_images=frames[1:])
    names = [*range(len(suffixes)), 20, 21]
    (tmp_path / "tags.csv").write_text("\n".join(f"{place},{HAIR[place]} hair {EYES[place]} eyes" for place in names))
    images = load_folder(tmp_path, 12)
    assert (images.complete, images.defects) == (len(names), ())
    first = np.asarray(Image.open(tmp_path / "21.gif").convert("RGB"))
    assert (images.pixels[images.ids.index("21")] == first).all()


def test_groups_called_noise_and_grid_have_panels(folder) -> None:
    rows = [["id", "noise", "grid"], *(list(row) for row in zip(STEMS, HAIR, EYES, strict=True))]
    (folder / "tags.csv").write_text(table(rows))
    images = load_folder(folder, 16)
    assert panel_names(images.vocabulary) == ("noise", "tag=noise", "tag=grid", "grid")
    labels = images.labels[: images.complete]
    assert make_panel("tag=noise", images.vocabulary, labels).columns == 4
    assert make_panel("tag=grid", images.vocabulary, labels).columns == 2
    assert make_panel("noise", images.vocabulary, labels).columns == 8
    assert make_panel("grid", images.vocabulary, labels).labels.shape == (8, 2)


def test_rows_that_fit_two_images_are_lost_and_counted_and_no_image_is(tmp_path) -> None:
    for place in range(COUNT):
        path = tmp_path / str(2019 + place % 2) / f"{place // 2:04d}.png"
        path.parent.mkdir(exist_ok=True)
        tile(place).save(path)
    (tmp_path / "tags.csv").write_text("\n".join(f"{n:04d},red hair red eyes" for n in range(COUNT // 2)))
    found = scan_folder(tmp_path)
    assert set(found.images) == {f"{year}/{n:04d}" for year in (2019, 2020) for n in range(COUNT // 2)}
    assert Defect("ambiguous id", "0003", "fits 2019/0003.png and 2020/0003.png") in found.lost
    with pytest.raises(UserError, match=r"12 of 36 files are bad \(33\.3%.*0000 \(ambiguous id\)"):
        load_folder(tmp_path, 16)


def test_quoted_line_breaks_are_no_rows(folder) -> None:
    notes = ["two\nlines" if place % 3 == 2 else "one" for place in range(COUNT)]
    rows = [["id", "hair", "eyes", "note"], *(list(row) for row in zip(STEMS, HAIR, EYES, notes, strict=True))]
    (folder / "tags.csv").write_text(table(rows, end="\r\n"))
    assert complete(folder) == TRUTH
    report = inspect_folder(folder, 16)
    assert (report["defects"], report["left_out"]) == ({}, {"note": "text of several lines"})


def test_a_stray_quotation_mark_swallows_no_rows(folder) -> None:
    rows = [f"{stem},{hair},{eyes}" for stem, hair, eyes in zip(STEMS, HAIR, EYES, strict=True)]
    rows[3] = rows[3].replace(",", ',"', 1)
    (folder / "tags.csv").write_text("\n".join(["id,hair,eyes", *rows]))
    assert complete(folder) == {stem: said for stem, said in TRUTH.items() if stem != STEMS[3]}


def test_the_reports_keep_their_vocabulary_whatever_colours_occur(folder) -> None:
    (folder / "tags.csv").write_text("\n".join(f"{stem},red hair blue eyes" for stem in STEMS))
    assert load_folder(folder, 16).vocabulary == REPORT_VOCABULARY
