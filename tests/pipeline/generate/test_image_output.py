"""Sheets and folders of images: formats, sizes, tag files that scoring reads, nothing half written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pipeline.bundle.bundle import Bundle
from pipeline.evaluate.tags import read_asked
from pipeline.generate.generate import generate_images
from pipeline.generate.image_output import ImageOutput, Style
from tests.support.tiny import PAIR
from trainables.data.folder import scan_folder
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TWO = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
TEXTS = ("blue hair red eyes", "pink hair aqua eyes")


def written(folder: Path, style: Style, vocabulary: object = REPORT_VOCABULARY) -> dict[str, NDArray[np.uint8]]:
    ImageOutput.check(folder, style).write_folder([TWO[:1], TWO[1:]], TEXTS, vocabulary)  # type: ignore[arg-type]
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir()) if "0000" in path.name}


@pytest.mark.parametrize(("style", "suffix"), [(Style(), "png"), (Style("png"), "png"), (Style("webp"), "webp")])
def test_a_folder_holds_the_very_pixels_in_either_format(tmp_path: Path, style: Style, suffix: str) -> None:
    found = written(tmp_path / "o", style)
    assert list(found) == [f"00000-blue-hair-red-eyes.{suffix}", f"00001-pink-hair-aqua-eyes.{suffix}"]
    assert np.array_equal(np.stack(list(found.values())), TWO)
    with Image.open(tmp_path / "o" / f"00000-blue-hair-red-eyes.{suffix}") as image:
        assert image.format == suffix.upper()


def test_the_tag_file_holds_the_requested_tags_and_scoring_reads_it(tmp_path: Path) -> None:
    written(tmp_path / "o", Style())
    assert (tmp_path / "o" / "tags.csv").read_text() == (
        "00000-blue-hair-red-eyes,blue hair red eyes\n00001-pink-hair-aqua-eyes,pink hair aqua eyes\n"
    )
    found = scan_folder(tmp_path / "o")
    assert (found.defects, found.orphans) == ((), [])
    asked = read_asked(tmp_path / "o", list(found.images.values()), REPORT_VOCABULARY)
    assert asked.labels.tolist() == [[8, 9], [7, 5]]


def test_a_long_text_is_cut_in_the_names_of_files_alone(tmp_path: Path) -> None:
    text = "blue hair " * 40
    ImageOutput.check(tmp_path / "o", Style()).write_folder([TWO[:1]], [text], REPORT_VOCABULARY)
    stem = "00000-" + ("blue-hair-" * 12).rstrip("-")
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [f"{stem}.png", "tags.csv"]
    assert (tmp_path / "o" / "tags.csv").read_text() == f"{stem},{text}\n"


def test_custom_tags_are_written_with_their_vocabulary(tmp_path: Path) -> None:
    target = ImageOutput.check(tmp_path / "o", Style())
    target.write_folder([TWO], ("red hair dark eyes", "blue hair light eyes"), PAIR)
    found = scan_folder(tmp_path / "o")
    assert found.vocabulary == PAIR
    assert [row.labels for row in found.tags.values()] == [(0, 0), (2, 1)]


def test_drawn_folders_can_be_scored(bundle_folder: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(bundle_folder)
    made = generate_images(bundle, "pink hair", count=3, seed=0, output=tmp_path / "o")
    files = list(scan_folder(tmp_path / "o").images.values())
    asked = read_asked(tmp_path / "o", files, REPORT_VOCABULARY)
    assert [REPORT_VOCABULARY.describe(row) for row in asked.labels.tolist()] == list(made.tags)


def test_upscale_is_pillows_lanczos(tmp_path: Path) -> None:
    found = written(tmp_path / "o", Style(upscale=3))
    expected = Image.fromarray(TWO[0]).resize((48, 48), Image.Resampling.LANCZOS)
    assert np.array_equal(found["00000-blue-hair-red-eyes.png"], np.asarray(expected))
    ImageOutput.check(tmp_path / "s.webp", Style(upscale=3)).write_sheet(TWO, 2)
    with Image.open(tmp_path / "s.webp") as sheet:
        assert (sheet.format, sheet.size) == ("WEBP", (100, 50))
        assert np.array_equal(np.asarray(sheet)[:48, :48], np.asarray(expected))


def test_a_small_image_on_a_sheet_repeats_its_pixels(tmp_path: Path) -> None:
    ImageOutput.check(tmp_path / "s.png", Style()).write_sheet(TWO, 2)
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    assert np.array_equal(sheet[:96, :96], TWO[0].repeat(6, axis=0).repeat(6, axis=1))


@pytest.mark.parametrize("name", ["o.jpg", "o.JPEG", "o.gif", "o.tif", "z.xyz", "o.jp2"])
def test_unknown_image_formats_are_refused(tmp_path: Path, name: str) -> None:
    suffix = f".{name.split('.')[1].lower()}"
    with pytest.raises(UsageError, match=rf"-o is .*{name}: unknown image format {suffix}; .*\.png or \.webp"):
        ImageOutput.check(tmp_path / name, Style())
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["run-1.2", "faces.v2", ".hidden", "there.xyz"])
def test_folders_may_have_dots_in_their_names(tmp_path: Path, name: str) -> None:
    (tmp_path / "there.xyz").mkdir()
    assert ImageOutput.check(tmp_path / name, Style()).is_folder


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="--format is 'jpg'; allowed: png, webp"):
        Style(format="jpg")


def test_a_sheet_too_large_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    target = ImageOutput.check(tmp_path / "s.png", Style(upscale=16))
    target.require_sheet(63, 63, 16)  # 63 * 258 = 16254
    with pytest.raises(UsageError, match="the sample grid would have 16512 x 258 pixels, and 16383 a side are allowed"):
        target.require_sheet(64, 64, 16)


def test_a_folder_with_something_in_it_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="exists and is not empty; give another -o"):
        ImageOutput.check(tmp_path / "o", Style())
    assert [path.name for path in tmp_path.rglob("*")] == ["o", "mine.txt"]


def test_an_interrupted_write_leaves_no_folder(tmp_path: Path) -> None:
    def interrupted() -> object:
        yield TWO[:1]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ImageOutput.check(tmp_path / "o", Style()).write_folder(interrupted(), TEXTS, None)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
