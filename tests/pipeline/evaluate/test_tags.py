"""Asked tags of a folder: matched to its files, in the real folder's words; the tag classifier's images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.evaluate import tags
from pipeline.evaluate.tags import classify_tags, open_tag_classifier, read_asked, read_real
from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN, TagGroup, Vocabulary
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

FUR = Vocabulary((TagGroup("fur", ("black", "white")),))


def paint(folder: Path, names: tuple[str, ...], tags: str, size: int = 20) -> list[Path]:
    """Images as dark or as bright as their names say, and a tag file."""
    folder.mkdir(exist_ok=True)
    files = [folder / name for name in names]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        shade = 230 if "white" in file.name else 20
        Image.new("RGB", (size, size), (shade, shade, shade)).save(file)
    (folder / "tags.txt").write_text(tags)
    return files


class Shade:
    """A tag classifier of black and white that is sure; what it needs of ``TagClassifier`` here."""

    vocabulary = FUR

    def logits(self, images: torch.Tensor) -> list[torch.Tensor]:
        bright = (images.mean((1, 2, 3)) > 0).long()
        return [torch.nn.functional.one_hot(bright, 2).double().log()]


def test_the_vocabulary_is_that_of_the_real_folder_by_default(tmp_path: Path) -> None:
    files = paint(tmp_path / "fake", ("0-white.png", "1.png"), "0-white,white fur\n1,black fur\n")
    assert read_asked(tmp_path / "fake", files, FUR).labels.tolist() == [[1], [0]]
    (tmp_path / "fake" / "vocabulary.json").write_text(json.dumps(FUR.to_json()))
    assert read_asked(tmp_path / "fake", files, FUR).labels.tolist() == [[1], [0]]
    with pytest.raises(UserError, match=r"vocabulary\.json of .*fake differs from the real folder's"):
        read_asked(tmp_path / "fake", files, REPORT_VOCABULARY)


def test_labels_follow_the_files_and_an_id_belongs_to_one_of_them(tmp_path: Path) -> None:
    files = paint(
        tmp_path / "fake", ("a/0.png", "a/1.png", "b/0.png", "b/2.png"), "0,black fur\n1,white fur\n3,white fur\n"
    )
    asked = read_asked(tmp_path / "fake", [files[1], files[3], files[2], files[0]], FUR)
    assert asked.labels.tolist() == [[1], [UNKNOWN], [UNKNOWN], [UNKNOWN]]
    assert {(one.kind, one.name) for one in asked.defects} >= {
        ("image without tags", "b/2.png"),
        ("tags without image", "3"),
        ("ambiguous id", "0"),
    }


def test_every_image_is_judged_beside_its_own_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("0-white.png", "1.png", "2-white.jpg", "3.png", "4.png")
    files = paint(tmp_path / "fake", names, "")
    asked = np.array([[1], [0], [0], [UNKNOWN], [0]])
    for at_once in (1, 2, 1000):
        monkeypatch.setattr(tags, "_AT_ONCE", at_once)
        report = classify_tags(Shade(), tmp_path / "fake", files, asked, 16)  # type: ignore[arg-type]
        assert report.groups[0].confusion.tolist() == [[2, 1], [0, 1]]
        assert report.groups[0].calibration == pytest.approx(1 / 4)  # sure of all four, right on three


@pytest.mark.parametrize(("asked", "side"), [(8, 16), (24, 24), (300, 64)])
def test_real_images_are_judged_at_the_size_of_the_drawn(asked: int, side: int, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    paint(folder, ("0-white.png", "1.png"), "0-white,red hair red eyes\n1,blue hair red eyes\n", size=90)
    assert read_real(folder, asked, None).size == side


def test_a_real_folder_without_usable_tags_is_refused(tmp_path: Path) -> None:
    paint(tmp_path / "real", ("0.png",), "0,red hair\n")
    with pytest.raises(UserError, match=r"--tags: .* no image with complete tags"):
        read_real(tmp_path / "real", 20, None)


def test_without_a_cache_the_tag_classifier_is_trained_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "real", ("0-white.png", "1.png"), "0-white,red hair red eyes\n1,blue hair red eyes\n")
    images = read_real(tmp_path / "real", 20, None)
    monkeypatch.setattr(tags, "train_tag_classifier", lambda *given, **options: ("trained", len(given[0])))
    monkeypatch.setattr(tags, "cached_tag_classifier", lambda cache, *given, **options: ("kept", cache))
    assert open_tag_classifier(images, None, "cpu", lambda share, text: None) == ("trained", 2)
    assert open_tag_classifier(images, tmp_path, "cpu", lambda share, text: None) == ("kept", tmp_path)


def test_folders_a_and_b_are_asked_tags_where_names_repeat(tmp_path: Path) -> None:
    real, fake = (tmp_path / name for name in ("real", "fake"))
    for folder in (real, fake):
        files = paint(folder, ("A/0.png", "B/0.png", "B/1.png"), "")
        (folder / "tags.txt").unlink()
    images = read_real(real, 20, None)
    assert images.vocabulary.names == ("domain",)
    assert read_asked(fake, [files[1], files[0], files[2]], images.vocabulary).labels.tolist() == [[1], [0], [1]]


def test_attribute_lists_are_not_scored(tmp_path: Path) -> None:
    paint(tmp_path / "real", ("1.png", "2.png"), "Male Young\n1.png 1 -1\n2.png -1 -1\n")
    with pytest.raises(UserError, match=r"--tags: .*real has a list of attributes, which are not scored"):
        read_real(tmp_path / "real", 20, None)
