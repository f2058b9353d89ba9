"""An export is verified before it is used: every fault is caused, and answered on one line."""

from __future__ import annotations

import json
import re
import resource
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipeline.bundle.bundle import Bundle
from pipeline.bundle.manifest import file_hash, verify_manifest
from tests.support.pipeline.exports import write_bundle
from trainables.data.tags import REPORT_VOCABULARY
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
FILES = ("config.json", "tags.json", "weights.safetensors")


@pytest.fixture
def folder(bundle_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(bundle_folder, tmp_path / "export")


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        Bundle.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def sign(folder: Path) -> None:
    """Make the manifest agree with what lies in the folder, as a forger would."""
    edit(
        folder / "manifest.json",
        lambda m: m["files"].update({name: file_hash(folder / name) for name in FILES}),
    )


def test_a_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert file_hash(tmp_path / "empty") == EMPTY_SHA256


def test_the_manifest_names_every_file(folder: Path) -> None:
    assert sorted(verify_manifest(folder)["files"]) == sorted(FILES)


def test_it_loads_what_was_written(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert bundle.vocabulary == REPORT_VOCABULARY
    assert bundle.config.generator.noise_dim == 8
    assert bundle.counts.tolist() == [6, 3, 1]
    pixels = bundle.draw(np.array([[8, 9], [7, 9]]), seed=0)
    assert (pixels.shape, pixels.dtype) == ((2, 16, 16, 3), np.uint8)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_noticed(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert f"{name} was changed after the export" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name} is missing; export it again" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_the_manifest_does_not_vouch_for_is_not_used(folder: Path, name: str) -> None:
    edit(folder / "manifest.json", lambda m: m["files"].pop(name))
    assert f"does not list {name}" in refusal(folder)


def test_a_folder_without_an_export_is_refused(tmp_path: Path) -> None:
    assert "is no export: it has no manifest.json" in refusal(tmp_path)
    assert "is no export" in refusal(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["[]", "{", '"text"', "{}", '{"format": 1}', '{"format": 1, "files": []}'])
def test_an_invalid_manifest_is_refused(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    assert str(folder) in refusal(folder)


def test_another_format_is_refused(folder: Path) -> None:
    edit(folder / "manifest.json", lambda m: m.update(format=3))
    assert "has format 3; this version reads 1 and 2: export it again" in refusal(folder)


def test_the_former_format_is_still_read(folder: Path) -> None:
    edit(folder / "manifest.json", lambda m: m.update(format=1))
    assert Bundle.load(folder).draw(np.array([[8, 9]]), seed=0).shape == (1, 16, 16, 3)
    with pytest.raises(UserError, match=r"has no generator\.onnx; export it again, or use another backend"):
        Bundle.load(folder, "onnx")
    with pytest.raises(UserError, match=r"has no golden\.safetensors to check it by"):
        Bundle.load(folder).golden_error()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret"])
def test_a_path_out_of_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "secret").touch()
    edit(folder / "manifest.json", lambda m: m["files"].update({name: EMPTY_SHA256}))
    assert f"{name!r} lies outside the folder" in refusal(folder)


@pytest.mark.parametrize("name", ["\0", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused(folder: Path, name: str) -> None:
    edit(folder / "manifest.json", lambda m: m["files"].update({name: EMPTY_SHA256}))
    assert f"cannot read {name!r}" in refusal(folder)


@pytest.mark.parametrize("name", ["manifest.json", "config.json", "tags.json"])
def test_json_deeper_than_python_reads_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_text("[" * 200_000)
    if name != "manifest.json":
        sign(folder)
    assert f"cannot read {folder / name}" in refusal(folder)


def test_a_huge_configuration_is_refused_before_it_allocates(folder: Path) -> None:
    huge = {"generator.width": 1024, "generator.noise_dim": 4096, "image_size": 256}
    edit(folder / "config.json", lambda c: c["params"].update(huge))
    sign(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert re.search(r"is \[16\] in weights.safetensors and \[65536\] by the configuration", refusal(folder))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    (folder / "weights.safetensors").rename(outside)
    (folder / "weights.safetensors").symlink_to(outside)
    assert "lies outside the folder" in refusal(folder)


@pytest.mark.parametrize("size", [0, 4, 100, 2000])
def test_truncated_weights_with_a_corrected_hash_are_refused(folder: Path, size: int) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    sign(folder)
    assert f"export {folder} cannot be used: " in refusal(folder)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("config.json", lambda c: c["params"].update({"generator.wdith": 4}), "unknown parameter 'generator.wdith'"),
        ("config.json", lambda c: c["params"].update({"generator.width": 8}), "cannot be used"),
        ("config.json", lambda c: c["params"].update({"generator.width": 10**9}), "allowed: 1 to 1024"),
        ("config.json", lambda c: c["params"].update({"system": "other"}), "allowed: acgan"),
        ("config.json", lambda c: c.pop("params"), "cannot be used"),
        ("config.json", lambda c: c.update(params=[]), "cannot be used"),
        ("tags.json", lambda t: t.pop("combinations"), "cannot be used"),
        ("tags.json", lambda t: t.update(combinations=[{"labels": ["x"], "count": 1}]), "cannot be used"),
        ("tags.json", lambda t: t["combinations"][0].update(count=10**13), "no tag combinations that could be drawn"),
        ("tags.json", lambda t: t["combinations"][0].update(count=10**30), "cannot be used"),
        ("tags.json", lambda t: t["vocabulary"].update(groups=[]), "tag vocabulary"),
        ("tags.json", lambda t: t["vocabulary"]["groups"].pop(), "vocabulary"),
    ],
)
def test_contents_that_do_not_fit_are_refused_with_a_correct_hash(
    folder: Path, file: str, change: Any, said: str
) -> None:
    edit(folder / file, change)
    sign(folder)
    assert said in refusal(folder)


def test_empty_combinations_are_refused(folder: Path) -> None:
    for combinations in ([], [{"labels": [99, 0], "count": 1}], [{"labels": [0, 0], "count": 0}]):
        edit(folder / "tags.json", lambda t, c=combinations: t.update(combinations=c))
        sign(folder)
        assert "cannot be used" in refusal(folder)


def test_a_image_depends_on_seed_place_and_labels_alone(folder: Path) -> None:
    bundle = Bundle.load(folder)
    labels = np.array([[8, 9]] * 70)
    pixels = bundle.draw(labels, seed=3)
    assert np.array_equal(bundle.draw(labels, seed=3), pixels)
    assert not np.array_equal(bundle.draw(labels, seed=4), pixels)
    # Arithmetic may differ in the last bit with the size of a batch, an image by one level then.
    first = bundle.draw(labels[:5], seed=3).astype(int)
    assert np.abs(first - pixels[:5]).max() <= 1
    assert len({image.tobytes() for image in pixels}) == 70


@pytest.mark.parametrize("size", [16, 20, 32])
def test_every_image_size_loads(tmp_path: Path, size: int) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "b", image_size=size))
    assert bundle.draw(np.array([[0, 0]]), seed=0).shape == (1, size, size, 3)


def test_missing_tags_are_drawn_from_combinations_of_the_data(folder: Path) -> None:
    bundle = Bundle.load(folder)
    assert bundle.complete((8, 9), 3, seed=0).tolist() == [[8, 9]] * 3
    # Blue hair occurs with red eyes 6 times and with green eyes 3 times: two thirds of 3000, 26 standard error.
    rows = bundle.complete((8, -1), 3000, seed=1)
    assert set(rows[:, 0].tolist()) == {8}
    assert (rows[:, 1] == 9).sum() == pytest.approx(2000, abs=130)
    assert set(rows[:, 1].tolist()) == {7, 9}
    assert bundle.complete((7, -1), 5, seed=1).tolist() == [[7, 9]] * 5


def test_without_tags_combinations_of_the_data_are_drawn(folder: Path) -> None:
    rows = Bundle.load(folder).complete((-1, -1), 3000, seed=2).tolist()
    counts = {tuple(row): rows.count(row) for row in ([8, 9], [8, 7], [7, 9])}
    assert sum(counts.values()) == 3000
    assert counts[8, 9] == pytest.approx(1800, abs=135)
    assert counts[8, 7] == pytest.approx(900, abs=126)
    assert counts[7, 9] == pytest.approx(300, abs=83)


def test_a_tag_absent_from_the_data_is_completed(folder: Path) -> None:
    rows = Bundle.load(folder).complete((0, -1), 200, seed=3)
    assert set(rows[:, 0].tolist()) == {0}
    assert set(rows[:, 1].tolist()) == {7, 9}


def test_labels_for_fewer_images_are_the_first_of_those_for_more(folder: Path) -> None:
    bundle = Bundle.load(folder)
    many = bundle.complete((8, -1), 50, seed=5)
    assert np.array_equal(bundle.complete((8, -1), 20, seed=5), many[:20])
    assert not np.array_equal(bundle.complete((8, -1), 50, seed=6), many)


PAIRS = {
    "tags.encoding": "pairs", "generator.conditioning": "code", "discriminator.conditioning": "combo",
}  # fmt: skip


def test_a_pair_that_did_not_occur_is_refused_and_known_ones_are_named(tmp_path: Path) -> None:
    bundle = Bundle.load(write_bundle(tmp_path / "b", **PAIRS))
    assert bundle.pairs == ((8, 9), (8, 7), (7, 9))
    assert bundle.draw(np.array([[8, 9], [7, 9]]), seed=0).shape == (2, 16, 16, 3)
    with pytest.raises(UsageError) as refusal:
        bundle.draw(np.array([[8, 9], [8, 0]]), seed=0)
    said = str(refusal.value)
    assert said.startswith("'blue hair gray eyes' did not occur in the training data")
    assert said.endswith("with that hair it knows 'blue hair red eyes', 'blue hair green eyes'")
    assert "\n" not in said
    with pytest.raises(UsageError, match=r"'red hair red eyes' did not occur .* it knows none$"):
        bundle.draw(np.array([[5, 9]]), seed=0)


def test_a_generator_of_single_tags_draws_any_pair(folder: Path) -> None:
    assert Bundle.load(folder).draw(np.array([[5, 9], [8, 0]]), seed=0).shape == (2, 16, 16, 3)


def test_noise_numbers_let_images_share_their_noise(folder: Path) -> None:
    bundle, labels = Bundle.load(folder), np.array([[8, 9], [8, 9], [8, 9]])
    first, second, third = bundle.draw(labels, 0, np.array([4, 4, 5])).astype(int)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)
    plain = bundle.draw(np.array([[8, 9]] * 6), 0).astype(int)
    assert np.abs(plain[4] - first).max() <= 1
    assert np.abs(plain[5] - third).max() <= 1


def test_an_unconditional_generator_loads_and_draws(tmp_path: Path) -> None:
    untagged = {"generator.conditioning": "none", "discriminator.conditioning": "none"}
    bundle = Bundle.load(write_bundle(tmp_path / "b", **untagged))
    one, other = bundle.draw(np.array([[8, 9]]), seed=0), bundle.draw(np.array([[0, 0]]), seed=0)
    assert np.array_equal(one, other)


def test_a_sigmoid_generator_uses_the_whole_range(tmp_path: Path) -> None:
    """Untrained weights draw a middle grey: in [0, 1] read as [-1, 1] it would be lighter by half the range."""
    pixels = {}
    for last in ("sigmoid", "tanh"):
        bundle = Bundle.load(write_bundle(tmp_path / last, **{"generator.final_activation": last}))
        pixels[last] = bundle.draw(np.array([[8, 9]] * 4), seed=0).mean()
    assert pixels["tanh"] == pytest.approx(127.5, abs=5)
    assert pixels["sigmoid"] == pytest.approx(127.5, abs=5)
