"""Images from an export: reproducible, of the asked tags, in files with telling names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pipeline.bundle.bundle import Bundle
from pipeline.cli.main import main
from pipeline.generate import generate
from pipeline.generate.generate import generate_images
from pipeline.generate.image_output import Style
from tests.support.pipeline.command_line import run_cli
from tests.support.pipeline.exports import write_bundle
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def drawn(bundle: Bundle, request: str | Path, folder: Path, count: int, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Images by file name."""
    generate_images(bundle, request, count=count, seed=seed, output=folder)
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir()) if path.suffix != ".csv"}


def test_equal_seeds_draw_equal_images_and_others_do_not(bundle: Bundle, tmp_path: Path) -> None:
    text = "blue hair red eyes"
    one, again, other = (drawn(bundle, text, tmp_path / name, 4, seed) for name, seed in (("a", 7), ("b", 7), ("c", 8)))
    assert list(one) == [f"{place:05d}-blue-hair-red-eyes.png" for place in range(4)]
    for name, image in one.items():
        assert image.shape == (16, 16, 3)
        assert np.array_equal(image, again[name])
        assert not np.array_equal(image, other[name])


def test_fewer_images_are_the_first_of_more(bundle: Bundle, tmp_path: Path) -> None:
    few, many = (drawn(bundle, "blue hair", tmp_path / str(count), count, 1) for count in (3, 80))
    assert set(few) <= set(many)
    for name, image in few.items():
        assert np.abs(image.astype(int) - many[name]).max() <= 1


@pytest.mark.parametrize("name", ["o", "o.png"])
def test_progress_counts_the_images_drawn(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(generate, "AT_ONCE", 2)
    shown: list[tuple[int, int]] = []
    generate_images(
        bundle, "blue hair", count=5, seed=1, output=tmp_path / name, progress=lambda *share: shown.append(share)
    )
    assert shown == [(2, 5), (4, 5), (5, 5)]


def test_a_missing_tag_is_reported_and_drawn_at_random(bundle: Bundle, tmp_path: Path) -> None:
    made = generate_images(bundle, "pink hair", count=3, seed=0, output=tmp_path / "o")
    assert made.summary().startswith(f"drew 3 images to {tmp_path / 'o'}\n")
    one = generate_images(bundle, "pink hair red eyes", count=1, seed=0, output=tmp_path / "one.png")
    assert one.summary() == f"drew 1 image to {tmp_path / 'one.png'}"
    assert made.tags == ("pink hair red eyes",) * 3
    assert made.missing == ("eyes",)
    assert made.summary().endswith("no eyes asked for: drawn from the data's distribution")


def test_tags_in_any_order_and_case_are_the_same_request(bundle: Bundle, tmp_path: Path) -> None:
    one = drawn(bundle, "blue hair red eyes", tmp_path / "a", 2, 0)
    other = drawn(bundle, "Red Eyes,  BLUE hair", tmp_path / "b", 2, 0)
    assert list(one) == list(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_prompts_file_gives_a_row_per_line(bundle: Bundle, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("1,blue hair red eyes\n2,green eyes blue hair\n")
    made = generate_images(bundle, prompts, count=2, seed=0, output=tmp_path / "o")
    assert made.tags == ("blue hair red eyes",) * 2 + ("blue hair green eyes",) * 2
    assert [path.name for path in sorted((tmp_path / "o").glob("*.png"))] == [
        "00000-blue-hair-red-eyes.png", "00001-blue-hair-red-eyes.png",
        "00002-blue-hair-green-eyes.png", "00003-blue-hair-green-eyes.png",
    ]  # fmt: skip


def test_a_grid_holds_every_image(bundle: Bundle, tmp_path: Path) -> None:
    generate_images(bundle, "blue hair red eyes", count=5, seed=0, output=tmp_path / "sub" / "grid.PNG")
    sheet = Image.open(tmp_path / "sub" / "grid.PNG")
    # 16 px enlarged 6 times; 5 images in rows of 3 are 2 rows.
    assert sheet.width >= 3 * 96
    assert 2 * 96 <= sheet.height < 3 * 96


@pytest.mark.parametrize(
    ("request_", "count", "seed", "said"),
    [
        ("turquoise hair", 1, 0, "unknown hair 'turquoise'; allowed: orange, white, aqua"),
        ("blue hiar", 1, 0, "cannot read tags 'blue hiar'"),
        ("blue hair red hair", 1, 0, "name hair twice"),
        ("", 1, 0, "cannot read tags"),
        ("blue hair", 0, 0, "1 to 100000"),
        ("blue hair", 100_001, 0, "1 to 100000"),
        ("blue hair", 1, -1, "0 to 2147483647"),
        ("blue hair", 1, 2**31, "0 to 2147483647"),
    ],
)
def test_wrong_requests_are_refused(
    bundle: Bundle, tmp_path: Path, request_: str, count: int, seed: int, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        generate_images(bundle, request_, count=count, seed=seed, output=tmp_path / "o.png")
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_largest_seed_works(bundle: Bundle, tmp_path: Path) -> None:
    assert len(drawn(bundle, "blue hair", tmp_path / "o", 1, 2**31 - 1)) == 1


def test_too_many_images_in_all_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    prompts = tmp_path / "p.csv"
    prompts.write_text("1,blue hair\n2,red hair\n")
    with pytest.raises(UsageError, match="2 prompts of 50001 images; at most 100000"):
        generate_images(bundle, prompts, count=50_001, seed=0, output=tmp_path / "o")


@pytest.mark.parametrize("text", ["", "1,blue hair\n1,red hair\n", "1,bleu hair\n"])
def test_a_prompts_file_with_a_fault_is_named(bundle: Bundle, tmp_path: Path, text: str) -> None:
    prompts = tmp_path / "p.csv"
    prompts.write_text(text)
    with pytest.raises(UsageError, match=r"p\.csv:\d"):
        generate_images(bundle, prompts, count=1, seed=0, output=tmp_path / "o")


def test_an_output_that_cannot_be_written_is_named(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file" / "grid.png", tmp_path / "file" / "folder"):
        with pytest.raises(UserError, match=r"cannot write .*file"):
            generate_images(bundle, "blue hair", count=1, seed=0, output=output)
    with pytest.raises(UserError, match=r"file exists and is not empty; give another -o"):
        generate_images(bundle, "blue hair", count=1, seed=0, output=tmp_path / "file")


def test_tags_and_prompts_exclude_each_other(bundle_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(bundle_folder)]) == 2
    assert main(["generate", str(bundle_folder), "blue hair", "--prompts", "p.csv"]) == 2
    none, both = capsys.readouterr().err.splitlines()
    assert none.startswith("gansweep: error: no tags; give them")
    assert both.startswith("gansweep: error: give only one of tags")


def test_json_lists_the_tags_of_every_image(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", str(bundle_folder), "pink hair", "-n", "2", "-o", str(tmp_path / "g.png"), "--json"]
    assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tags"] == ["pink hair red eyes"] * 2
    assert (said["pictures"], said["drawn_from_data"]) == (2, ["eyes"])


@pytest.mark.real_processes
def test_the_export_folder_alone_is_enough_anywhere(bundle: Bundle, tmp_path: Path) -> None:
    from tests.support.pipeline.exports import write_bundle

    write_bundle(tmp_path / "moved" / "export")
    words = ["generate", "export", "blue hair red eyes", "-n", "2", "--seed", "7", "-o", "pictures"]
    done = run_cli(words, tmp_path / "moved", HOME=str(tmp_path), GANSWEEP_HOME=str(tmp_path / "none"))
    assert done.returncode == 0
    assert all(line.startswith("images of export") for line in done.stderr.splitlines()), done.stderr  # if it is slow
    assert sorted(path.name for path in (tmp_path / "moved").iterdir()) == ["export", "pictures"]
    here = drawn(bundle, "blue hair red eyes", tmp_path / "here", 2, 7)
    for name, image in here.items():
        there = np.asarray(Image.open(tmp_path / "moved" / "pictures" / name))
        assert np.abs(image.astype(int) - there).max() <= 1


@pytest.mark.parametrize(
    ("name", "rows", "columns"), [("noise", 2, 8), ("hair", 4, 12), ("eyes", 4, 11), ("grid", 12, 11)]
)
def test_a_panel_from_the_command_line(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, rows: int, columns: int
) -> None:
    output = tmp_path / "panel.png"
    assert main(["generate", str(bundle_folder), "--panel", name, "-o", str(output), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"output": str(output), "panel": name, "pictures": rows * columns}
    with Image.open(output) as sheet:  # 16 px enlarged six times, and a gap
        assert sheet.height == rows * 98
        assert columns * 98 < sheet.width < (columns + 4) * 98


def test_an_unknown_panel_is_one_line(bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(bundle_folder), "--panel", "hiar", "-o", str(tmp_path / "p.png")]) == 2
    said = capsys.readouterr().err
    assert "unknown panel 'hiar'; allowed: noise, hair, eyes, grid; did you mean 'hair'?" in said
    assert not list(tmp_path.iterdir())


def test_tags_and_a_panel_exclude_each_other(bundle_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(bundle_folder), "blue hair", "--panel", "noise"]) == 2
    assert "only one of tags" in capsys.readouterr().err


def test_combinations_a_generator_does_not_know_stay_white_in_its_panels(tmp_path: Path) -> None:
    from pipeline.generate.generate import draw_panel
    from tests.support.pipeline.exports import write_bundle

    pairs = {"tags.encoding": "pairs", "generator.conditioning": "code", "discriminator.conditioning": "combo"}
    bundle = Bundle.load(write_bundle(tmp_path / "export", **pairs))
    draw_panel(bundle, "grid", 0, tmp_path / "grid.png")
    sheet = np.asarray(Image.open(tmp_path / "grid.png"))[:, -11 * 98 :]
    tiles = sheet.reshape(12, 98, 11, 98, 3)[:, :96, :, :96]
    drawn = {(hair, eyes) for hair in range(12) for eyes in range(11) if (tiles[hair, :, eyes] != 255).any()}
    assert drawn == {(8, 9), (8, 7), (7, 9)}


@pytest.fixture(scope="module")
def untagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    conditioning = {"generator.conditioning": "none", "discriminator.conditioning": "none"}
    return write_bundle(tmp_path_factory.mktemp("untagged") / "b", **conditioning)


def test_an_unconditional_generator_refuses_tags(untagged: Path, tmp_path: Path) -> None:
    made = generate_images(Bundle.load(untagged), None, count=3, seed=0, output=tmp_path / "o")
    assert made.missing == ()
    assert [path.name for path in sorted((tmp_path / "o").iterdir())] == ["00000.png", "00001.png", "00002.png"]


def test_tags_for_an_unconditional_generator_are_refused_not_ignored(
    untagged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(untagged), "blue hair", "-o", str(tmp_path / "o.png")]) == 2
    assert "'blue hair' mean nothing to this acgan generator, which takes none" in capsys.readouterr().err
    assert not (tmp_path / "o.png").exists()


def test_a_conditional_generator_wants_tags(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", str(bundle_folder), "-o", str(tmp_path / "o.png")]) == 2
    assert "no tags; give them" in capsys.readouterr().err


def test_a_seed_near_the_end_still_serves_many_prompts(bundle: Bundle, tmp_path: Path) -> None:
    prompts = tmp_path / "p.csv"
    prompts.write_text("1,blue hair\n2,pink hair\n")
    made = generate_images(bundle, prompts, count=1, seed=2**31 - 1, output=tmp_path / "o")
    assert len(made.tags) == 2


def test_truncation_draws_other_images_of_the_same_noise(bundle: Bundle, tmp_path: Path) -> None:
    images = {}
    for name, limit in (("plain", None), ("wide", 10.0), ("narrow", 0.1)):
        style = Style(truncation=limit)
        generate_images(bundle, "blue hair red eyes", count=4, seed=0, output=tmp_path / name, style=style)
        images[name] = np.stack([np.asarray(Image.open(f)) for f in sorted((tmp_path / name).glob("*.png"))])
    assert np.abs(images["plain"].astype(int) - images["wide"]).max() <= 1
    assert not np.array_equal(images["plain"], images["narrow"])
    assert images["narrow"].std(axis=0).mean() < 0.5 * images["plain"].std(axis=0).mean()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--truncation", "0"], "truncation is 0; allowed: above 0 to 10"),
        (["--upscale", "0"], "--upscale is 0; allowed: 1 to 16"),
        (["--upscale", "17"], "--upscale is 17; allowed: 1 to 16"),
        (["--format", "webp"], "o.png and --format webp; let them agree"),
        (["-n", "0"], "-n is 0; allowed: 1 to 100000"),
        (["--seed", "-1"], "--seed is -1; allowed: 0 to 2147483647"),
        (["--panel", "noise"], "give only one of tags"),
        (["-n", "90000"], "the sample grid would have 29400 x 29400 pixels, and 16383 a side are allowed; take fewer"),
    ],
)
def test_invalid_options_are_one_line_and_write_nothing(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["generate", str(bundle_folder), "blue hair", "-o", str(tmp_path / "o.png"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
