"""Images between two ends: both ends are the plain images, what lies between follows the closed forms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pipeline.bundle.bundle import Bundle
from pipeline.cli.main import main
from pipeline.generate.interpolate import draw_between, slerp
from tests.support.pipeline.exports import write_bundle
from trainables.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

START = "blue hair red eyes"


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return Bundle.load(bundle_folder)


def frames(bundle: Bundle, folder: Path, towards: list[str], count: int, seed: int = 0) -> NDArray[np.int64]:
    draw_between(bundle, START, towards, count=count, seed=seed, output=folder)
    assert not (folder / "tags.csv").exists()
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]).astype(int)


def test_a_quarter_circle_by_hand() -> None:
    path = slerp(np.array([3.0, 0], np.float32), np.array([0, 3.0], np.float32), 4)
    half, root = 1.5, 1.5 * 3**0.5
    assert path == pytest.approx(np.array([[3, 0], [root, half], [half, root], [0, 3]]), abs=1e-6)
    assert np.linalg.norm(path, axis=1) == pytest.approx(3)


def test_collinear_vectors_are_interpolated_linearly() -> None:
    one = np.array([1.0, 2.0], np.float32)
    assert slerp(one, 3 * one, 3) == pytest.approx(np.outer([1, 2, 3], one))
    assert np.isfinite(slerp(one, -one, 5)).all()
    assert slerp(one, one, 2) == pytest.approx(np.stack([one, one]))


def test_noise_keeps_its_length_on_the_way() -> None:
    """In many dimensions two noises are nearly at right angles: a straight line would shrink to 0.71 half-way."""
    random = np.random.default_rng(0)
    first, last = random.standard_normal((2, 4096)).astype(np.float32)
    assert np.linalg.norm(slerp(first, last, 5), axis=1) == pytest.approx(64, rel=0.03)


def test_a_strip_between_seeds_begins_and_ends_with_their_images(bundle: Bundle, tmp_path: Path) -> None:
    strip = frames(bundle, tmp_path / "o", ["5"], 4, seed=2)
    labels = np.array([[8, 9]])
    assert np.abs(strip[0] - bundle.draw(labels, seed=2)[0]).max() <= 1
    assert np.abs(strip[3] - bundle.draw(labels, seed=5)[0]).max() <= 1
    assert len({image.tobytes() for image in strip}) == 4


def test_a_strip_between_tags_begins_and_ends_with_their_images(bundle: Bundle, tmp_path: Path) -> None:
    strip = frames(bundle, tmp_path / "o", ["Green eyes, pink hair"], 3)
    assert np.abs(strip[0] - bundle.draw(np.array([[8, 9]]), seed=0)[0]).max() <= 1
    assert np.abs(strip[2] - bundle.draw(np.array([[7, 7]]), seed=0)[0]).max() <= 1


def test_tags_that_the_end_leaves_out_stay(bundle: Bundle, tmp_path: Path) -> None:
    strip = frames(bundle, tmp_path / "o", ["pink hair"], 2)
    assert np.abs(strip[1] - bundle.draw(np.array([[7, 9]]), seed=0)[0]).max() <= 1


def test_both_make_a_square_with_the_plain_images_in_its_corners(bundle: Bundle, tmp_path: Path) -> None:
    square = frames(bundle, tmp_path / "o", ["pink hair green eyes", "5"], 3).reshape(3, 3, 16, 16, 3)
    for row, labels in ((0, [8, 9]), (2, [7, 7])):
        for column, seed in ((0, 0), (2, 5)):
            assert np.abs(square[row, column] - bundle.draw(np.array([labels]), seed=seed)[0]).max() <= 1


def test_few_images_are_in_memory_at_a_time(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frames(bundle, tmp_path / "whole", ["pink hair green eyes", "5"], 3)
    monkeypatch.setattr("pipeline.generate.interpolate.AT_ONCE", 4)
    asked, blend = [], Bundle.blend

    def counted(bundle: Bundle, noise: NDArray[np.float32], *given: NDArray[np.float32]) -> NDArray[np.uint8]:
        asked.append(len(noise))
        return blend(bundle, noise, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Bundle, "blend", counted)
    assert np.abs(frames(bundle, tmp_path / "parts", ["pink hair green eyes", "5"], 3) - whole).max() <= 1
    assert asked == [4, 4, 1]


def test_from_the_command_line_as_one_sheet(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", str(bundle_folder), START, "-n", "3", "-o", str(tmp_path / "s.png"), "--json"]
    assert main([*words, "--interpolate", "5", "pink hair"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "output": str(tmp_path / "s.png"), "pictures": 9, "seeds": [0, 5],
        "tags": ["blue hair red eyes", "pink hair red eyes"],
    }  # fmt: skip
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.height == 3 * 98
        assert sheet.width > 3 * 98  # names left of the rows
    assert main([*words[:-1], "--interpolate", "5"]) == 0
    assert capsys.readouterr().out == f"drew 3 images to {tmp_path / 's.png'}: seed 0 to seed 5\n"
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.size == (3 * 98, 98)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--interpolate", "0"], "--interpolate 0 is the --seed itself; nothing lies between"),
        (["--interpolate", "2147483648"], "--seed is 2147483648; allowed: 0 to 2147483647"),
        (["--interpolate", "-3"], "--seed is -3; allowed"),
        (["--interpolate", "red eyes"], "are the tags at the start; nothing lies between"),
        (["--interpolate", "turquoise hair"], "unknown hair 'turquoise'; allowed: orange"),
        (["--interpolate", " --5"], "cannot read tags ' --5'"),
        (["--interpolate", "5" * 5000], "5555"),
        (["--interpolate", "1", "2"], "give another seed, other tags, or one of each"),
        (["--interpolate", "pink hair", "-n", "1"], "-n is 1; from one end to the other there are 2"),
        (["--interpolate", "3", "pink hair", "-n", "400"], "a square of 160000 images; at most 100000"),
        (["--interpolate", "3", "--upscale", "16", "-n", "64"], "the sample grid would have 16512 x 258 pixels"),
    ],
)
def test_invalid_ends_are_one_line_and_write_nothing(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["generate", str(bundle_folder), START, "-o", str(tmp_path / "o.png"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_panels_and_prompts_are_not_interpolated(bundle_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(bundle_folder), "--panel", "noise", "--interpolate", "5"]) == 2
    message = capsys.readouterr().err
    assert all(option in message for option in ("--interpolate", "--seed", "--prompts", "--panel"))


def test_a_generator_without_tags_interpolates_seeds_only(tmp_path: Path) -> None:
    untagged = {"generator.conditioning": "none", "discriminator.conditioning": "none"}
    bundle = Bundle.load(write_bundle(tmp_path / "b", **untagged))
    made = draw_between(bundle, None, ["4"], count=2, seed=0, output=tmp_path / "s.png")
    assert made.to_json() == {"output": str(tmp_path / "s.png"), "pictures": 2, "seeds": (0, 4)}
    with pytest.raises(UsageError, match="takes no tags; give another seed"):
        draw_between(bundle, None, ["pink hair"], count=2, seed=0, output=tmp_path / "s.png")


def test_a_generator_of_known_pairs_interpolates_those(tmp_path: Path) -> None:
    pairs = {"tags.encoding": "pairs", "generator.conditioning": "code", "discriminator.conditioning": "combo"}
    bundle = Bundle.load(write_bundle(tmp_path / "b", **pairs))
    assert len(frames(bundle, tmp_path / "o", ["pink hair red eyes"], 3)) == 3
    with pytest.raises(UsageError, match="'pink hair green eyes' did not occur in the training data"):
        draw_between(bundle, START, ["pink hair green eyes"], count=3, seed=0, output=tmp_path / "s.png")
