from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from trainables.data import duplicates
from trainables.data.inspect import FITS, format_inspection, inspect_folder
from trainables.errors import UserError


def write(folder, name: str, seed: int, size: tuple[int, int] = (32, 32)) -> None:
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(folder / f"{name}.png")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "data"
    place.mkdir()
    for name, seed in (("1", 1), ("2", 2), ("3", 1), ("4", 4), ("5", 5)):
        write(place, name, seed)
    write(place, "6", 6, (40, 32))
    (place / "7.png").write_bytes(b"")
    rows = [
        "1,blue hair red eyes",
        "2,blue hair red eyes",
        "3,red hair red eyes",
        "4,pink hair red eyes",
        "5,blue hair",
    ]
    (place / "tags.csv").write_text("\n".join([*rows, "7,blue hair red eyes", "99,blue hair red eyes"]))
    return place


def test_the_report_counts_by_hand(folder) -> None:
    report = json.loads(json.dumps(inspect_folder(folder, 32)))
    assert (report["pictures"], report["complete"], report["partial"]) == (6, 4, 2)
    assert {name: count for name, count in report["classes"]["hair"].items() if count} == {
        "red": 1,
        "pink": 1,
        "blue": 3,
    }
    assert {name: count for name, count in report["classes"]["eyes"].items() if count} == {"red": 4}
    assert list(report["pairs"].items()) == [
        ("blue hair red eyes", 2),
        ("pink hair red eyes", 1),
        ("red hair red eyes", 1),
    ]
    assert report["sizes"] == {"32x32": 5, "40x32": 1}
    assert (report["fit"], report["not_square"]) == ("crop", 1)
    assert report["duplicates"] == {"identical": 1, "groups": 1, "pictures": 2, "conflicting": 1}
    assert report["defects"] == {
        "empty": {"count": 1, "names": ["7.png (0 bytes)"]},
        "tags without image": {"count": 1, "names": ["99"]},
        "image without tags": {"count": 1, "names": ["6"]},
        "missing eyes": {"count": 1, "names": ["5"]},
    }
    assert "2 of 8 files are bad (25.0%" in report["refusal"]
    assert report["tag_files"] == ["tags.csv"]


def test_the_text_says_it_all(folder) -> None:
    text = format_inspection(inspect_folder(folder, 32))
    for part in (
        "6 images, 4 with complete tags, 2 without",
        " at 32 px\n",
        "hair: blue 3, red 1, pink 1",
        "pairs: 3 different; most: blue hair red eyes 2",
        "sizes: 32x32 5, 40x32 1; 1 not square: cut to their centre square (--fit crop)\n",
        "1 groups of near-duplicates with 2 images, 1 groups with different tags",
        "defects: 4",
        "empty 1: 7.png (0 bytes)",
        "would refuse",
    ):
        assert part in text


def test_the_fit_is_said_and_part_of_the_fingerprint(folder, tmp_path) -> None:
    reports = {fit: inspect_folder(folder, 32, tmp_path / "cache", fit=fit) for fit in FITS}
    assert reports["crop"] == inspect_folder(folder, 32, tmp_path / "cache")
    assert len({report["fingerprint"] for report in reports.values()}) == len(FITS) == 3
    assert "1 not square: padded with white (--fit pad)" in format_inspection(reports["pad"])


def test_channels_are_said_and_part_of_the_fingerprint(folder) -> None:
    Image.new("L", (32, 32)).save(folder / "6.png")
    reports = {channels: inspect_folder(folder, 32, channels=channels) for channels in (1, 3)}
    assert {channels: report["converted"] for channels, report in reports.items()} == {1: 5, 3: 1}
    assert reports[1]["fingerprint"] != reports[3]["fingerprint"]
    assert "channels: 1, grey (--channels 1); 5 images of the other kind are converted" in format_inspection(reports[1])
    assert "channels: 3, RGB (--channels 3); 1 images of the other kind" in format_inspection(reports[3])


def test_duplicates_are_kept_with_the_cache(folder, tmp_path, monkeypatch) -> None:
    first = inspect_folder(folder, 32, tmp_path / "cache")
    assert first == inspect_folder(folder, 32)
    monkeypatch.setattr(duplicates, "near_duplicate_groups", None)
    assert inspect_folder(folder, 32, tmp_path / "cache") == first
    (kept,) = (tmp_path / "cache").glob("duplicates-*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    monkeypatch.undo()
    assert inspect_folder(folder, 32, tmp_path / "cache") == first


def test_long_lists_are_cut_but_counted(folder) -> None:
    with (folder / "tags.csv").open("a") as file:
        file.writelines(f"\nx{number},blue hair red eyes" for number in range(30))
    report = inspect_folder(folder, 32)
    assert report["defects"]["tags without image"]["count"] == 31
    assert len(report["defects"]["tags without image"]["names"]) == 31  # the report names all; its text is cut
    assert "x18, ..." in format_inspection(report)


def test_a_folder_without_tags_is_described(folder) -> None:
    (folder / "tags.csv").unlink()
    report = inspect_folder(folder, 32)
    assert (report["complete"], report["partial"]) == (0, 6)
    assert "has no labels: expected" in report["refusal"]
    assert "tag files: none" in format_inspection(report)


def test_a_sound_folder_of_other_groups_has_no_refusal_and_no_pairs(tmp_path) -> None:
    groups = [{"name": "hat", "classes": ["no", "straw"]}]
    (tmp_path / "vocabulary.json").write_text(json.dumps({"groups": groups}))
    write(tmp_path, "1", 1)
    (tmp_path / "tags.csv").write_text("1,straw hat\n")
    report = inspect_folder(tmp_path, 32)
    assert report["classes"] == {"hat": {"no": 0, "straw": 1}}
    assert report["refusal"] is None
    assert "pairs" not in report
    assert "defects: none" in format_inspection(report)


def test_only_an_impossible_folder_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        inspect_folder(tmp_path / "none")
    with pytest.raises(UserError, match="no images"):
        inspect_folder(tmp_path)


def test_when_every_image_is_bad_the_report_says_so(tmp_path) -> None:
    (tmp_path / "1.png").write_bytes(b"x")
    (tmp_path / "tags.csv").write_text("1,blue hair red eyes\n")
    report = inspect_folder(tmp_path, 32)
    assert report["pictures"] == 0
    assert report["defects"]["not an image"]["count"] == 1
    assert format_inspection(report)
