from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import pixel_cache
from trainables.data.dataset import TaggedImages, load_folder
from trainables.data.defects import Defect
from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN
from trainables.errors import UsageError, UserError


def colour(name: str) -> tuple[int, int, int]:
    return (sum(map(ord, name)) % 256, len(name), 99)


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), colour(path.stem)).save(path)


def kinds(images: TaggedImages) -> Counter[str]:
    return Counter(defect.kind for defect in images.defects)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Images 1, 2, 9 and 10 with every tag; 3 lacks the eyes."""
    place = tmp_path / "data"
    write(place, "10.png", "1.bmp", "faces/9.PNG", "faces/deep/2.webp", "3.gif")
    (place / "tags.csv").write_text(
        "1,blue hair red eyes\n2,red hair red eyes\n9,red hair gray eyes\n10,pink hair red eyes"
    )
    (place / "more.csv").write_text("id,hair,eyes\n3,blue,\n")
    return place


def test_complete_images_come_first_in_natural_order(folder) -> None:
    images = load_folder(folder, 4)
    assert images.ids == ("1", "2", "9", "10", "3")
    assert (images.complete, images.size, len(images)) == (4, 4, 5)
    assert images.pixels.shape == (5, 4, 4, 3)
    parsed = [
        REPORT_VOCABULARY.parse(text) for text in ("blue hair red eyes", "red hair red eyes", "red hair gray eyes")
    ]
    assert images.labels[:3].tolist() == [list(labels) for labels in parsed]
    assert images.labels[4].tolist() == [8, UNKNOWN]
    assert images.labels.dtype == np.int64
    for place, name in enumerate(images.ids[:1]):
        assert (images.pixels[place] == colour(name)).all()
    assert images.counts("hair").tolist() == [0, 0, 0, 0, 0, 2, 0, 1, 2, 0, 0, 0]
    assert images.counts("eyes").sum() == 4
    assert images.defects == (Defect("missing eyes", "3"),)


def test_pixels_follow_their_ids_past_a_bad_image(folder) -> None:
    (folder / "faces/9.PNG").write_bytes(b"not an image")
    images = load_folder(folder, 4, max_bad_share=0.2)
    assert images.ids == ("1", "2", "10", "3")
    assert images.complete == 3
    for place in (0, 2):
        assert (images.pixels[place] == colour(images.ids[place])).all()
    assert images.defects[0].kind == "not an image"
    assert images.defects[0].name == "faces/9.PNG"


def test_images_without_tags_and_tags_without_images(folder) -> None:
    write(folder, "extra.png")
    with (folder / "tags.csv").open("a") as file:
        file.write("\n77,blue hair red eyes\n")
    images = load_folder(folder, 4, max_bad_share=0.5)
    assert images.ids == ("1", "2", "9", "10", "3", "extra")
    assert images.labels[5].tolist() == [UNKNOWN, UNKNOWN]
    assert Defect("image without tags", "extra") in images.defects
    assert Defect("tags without image", "77") in images.defects


def test_bad_share_is_the_line_between_skipping_and_refusing(folder) -> None:
    (folder / "1.bmp").write_bytes(b"")
    (folder / "tags.csv").open("a").write("\n77,blue hair red eyes\n")
    assert len(load_folder(folder, 4, max_bad_share=2 / 6)) == 4  # 2 bad of 5 images and 1 row without
    with pytest.raises(
        UserError, match=r"2 of 6 files are bad \(33\.3%, allowed are 30\.0%\): 1\.bmp \(empty\), 77 "
    ) as e:
        load_folder(folder, 4, max_bad_share=0.3)
    assert "gansweep data inspect" in str(e.value)
    assert "\n" not in str(e.value)
    assert e.value.exit_code == 1


def test_only_the_first_three_bad_names_are_shown(folder) -> None:
    (folder / "tags.csv").open("a").write("".join(f"\nx{number},blue hair red eyes" for number in range(5)))
    with pytest.raises(UserError, match=r": x0 \(tags without image\), x1 .*, x2 \(tags without image\), \.\.\.;"):
        load_folder(folder, 4)


def test_the_same_stem_twice_are_two_images_and_the_whole_path_decides(folder) -> None:
    write(folder, "zzz/1.png")
    images = load_folder(folder, 4)
    assert images.ids == ("1", "2", "9", "10", "3", "zzz/1")
    assert (images.complete, images.defects[0]) == (4, Defect("image without tags", "zzz/1"))


def test_rows_that_fit_two_images_count_as_bad(folder) -> None:
    write(folder, "zzz/9.png")
    images = load_folder(folder, 4, max_bad_share=0.5)
    assert images.ids == ("1", "2", "10", "3", "faces/9", "zzz/9")
    assert images.defects[0] == Defect("ambiguous id", "9", "fits faces/9.PNG and zzz/9.png")
    with pytest.raises(UserError, match=r"1 of 7 files are bad .*: 9 \(ambiguous id\)"):
        load_folder(folder, 4)


def test_of_two_tag_files_the_more_complete_row_wins(folder) -> None:
    (folder / "a.csv").write_text("1,red hair\n2,red hair\n3,red hair red eyes\n9,red hair\n10,red hair\n")
    images = load_folder(folder, 4)
    assert images.complete == 5
    assert REPORT_VOCABULARY.describe(images.labels[images.ids.index("3")]) == "red hair red eyes"
    assert REPORT_VOCABULARY.describe(images.labels[0]) == "blue hair red eyes"
    assert {d.name for d in images.defects if d.kind == "conflicting tags"} == {"1", "3", "10"}


def test_prompts_beside_tags_are_ignored_by_name(folder) -> None:
    (folder / "prompts.txt").write_text("".join(f"{number},aqua hair aqua eyes\n" for number in range(1, 26)))
    (folder / "README.txt").write_text("Faces, drawn by hand.\n")
    images = load_folder(folder, 4)
    ignored = {d.name: d.detail for d in images.defects if d.kind == "ignored file"}
    assert set(ignored) == {"prompts.txt", "README.txt"}
    assert "prompts: numbered 1 to 25, 5 of them" in ignored["prompts.txt"]
    assert kinds(images)["tags without image"] == 0


def test_numbered_tags_are_not_taken_for_prompts(tmp_path) -> None:
    write(tmp_path, "1.png", "2.png", "3.png")
    (tmp_path / "tags.csv").write_text("1,blue hair red eyes\n2,blue hair red eyes\n3,blue hair red eyes\n")
    assert load_folder(tmp_path, 4).complete == 3
    (tmp_path / "1.png").rename(tmp_path / "a.png")
    (tmp_path / "2.png").rename(tmp_path / "b.png")
    with pytest.raises(UserError, match="2 of 5 files are bad"):  # the only tag file: to be counted, not ignored
        load_folder(tmp_path, 4)


def test_other_files_are_named_and_hidden_ones_passed_over(folder) -> None:
    write(folder, ".hidden/5.png")
    (folder / "._1.png").write_bytes(b"resource fork")
    (folder / "faces" / "notes.csv").write_text("1,blue hair red eyes\n")
    images = load_folder(folder, 4)
    assert len(images) == 5
    assert [(d.kind, d.name) for d in images.defects[:1]] == [("ignored file", "faces/notes.csv")]


def test_links_are_followed_each_folder_once(folder, tmp_path) -> None:
    write(tmp_path, "outside/deep/secret.png", "outside/shown.png", "beside/linked-file.png")
    (folder / "linked-file.png").symlink_to(tmp_path / "beside/linked-file.png")
    (folder / "11.png").symlink_to(folder / "10.png")
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "linked-again").symlink_to(tmp_path / "outside/deep")
    (folder / "inside").symlink_to(folder / "faces")
    (folder / "above").symlink_to(tmp_path)
    (tmp_path / "outside/back").symlink_to(folder)
    (tmp_path / "outside/loop").symlink_to(tmp_path / "outside/loop")
    (folder / "device.csv").symlink_to("/dev/zero")
    images = load_folder(folder, 4)
    assert sorted(images.ids) == sorted(["1", "2", "3", "9", "10", "11", "linked-file", "secret", "shown"])
    assert {d.name for d in images.defects if d.kind == "link not followed"} == {
        "linked-again", "inside", "above", "linked/back", "device.csv"
    }  # fmt: skip
    assert [d.name for d in images.defects if d.kind == "ignored file"] == ["linked/loop"]


def test_class_folders_may_be_links(tmp_path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path, *(f"elsewhere/{name}/{name}{number}.png" for number in range(4)))
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / name)
    images = load_folder(tmp_path / "data", 4)
    assert (images.complete, images.counts("class").tolist(), images.defects) == (8, [4, 4], ())


def test_a_folder_of_links_alone_says_why_it_has_no_images(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    for name in ("A", "B"):
        (tmp_path / "data" / name).symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"has no images; .* links to folders above it, .* are not followed: A, B$"):
        load_folder(tmp_path / "data", 4)


def test_a_users_own_vocabulary(tmp_path) -> None:
    groups = [{"name": name, "classes": ["no", "some"]} for name in ("hat", "beard", "scarf")]
    (tmp_path / "vocabulary.json").write_text(json.dumps({"groups": groups}))
    (tmp_path / "tags.txt").write_text("a,some hat no beard some scarf\n")
    write(tmp_path, "a.png")
    images = load_folder(tmp_path, 4)
    assert images.labels.tolist() == [[1, 0, 1]]
    assert images.vocabulary.names == ("hat", "beard", "scarf")
    (tmp_path / "vocabulary.json").write_text("{")
    with pytest.raises(UserError, match=r"vocabulary\.json"):
        load_folder(tmp_path, 4)


def test_refusals(tmp_path, folder) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    untagged, masked = tmp_path / "untagged", tmp_path / "masked"
    write(untagged, "1.png")
    write(masked, "1.png")
    (masked / "tags.csv").write_text("1,blue hair\n")
    for place, message in (
        (tmp_path / "none", "does not exist"),
        (folder / "tags.csv", "is not a folder"),
        (empty, r"has no images; looked for .*\.bmp"),
        (untagged, "has no labels: expected two or more class folders"),
        (masked, r"no image with complete tags \(hair and eyes\) among 1"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            load_folder(place, 4)
        assert caught.value.exit_code == 1
    (folder / "tags.csv").write_bytes(b"\xff\xfe\0\0")
    with pytest.raises(UserError, match=r"tags\.csv"):
        load_folder(folder, 4)
    for size, share in ((3, 0.1), (5000, 0.1), (4, -0.1), (4, 1.5)):
        with pytest.raises(UsageError, match="impossible"):
            load_folder(folder, size, max_bad_share=share)


def test_fingerprint_changes_with_all_that_matters(folder) -> None:
    first = load_folder(folder, 4).fingerprint
    assert len(first) == 16
    assert int(first, 16)
    assert load_folder(folder, 4).fingerprint == first
    assert load_folder(folder, 5).fingerprint != first
    shutil.copytree(folder, folder.parent / "copy")
    assert load_folder(folder.parent / "copy", 4).fingerprint == first
    tags = (folder / "tags.csv").read_text()
    (folder / "tags.csv").write_text(tags.replace("blue", "aqua"))
    assert load_folder(folder, 4).fingerprint != first
    (folder / "tags.csv").write_text(tags)
    vocabulary = REPORT_VOCABULARY.to_json() | {"one_hot_order": ["hair", "eyes"]}
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary))
    assert load_folder(folder, 4).fingerprint != first
    (folder / "vocabulary.json").unlink()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "1.bmp")
    assert load_folder(folder, 4).fingerprint != first


class Counting:
    """Counts what is read and decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[str] = Counter()
        for name in ("read_bytes", "decode_image"):
            monkeypatch.setattr(pixel_cache, name, self._counted(name, getattr(pixel_cache, name)))

    def _counted(self, name, function):
        def call(*arguments):
            self.calls[name] += 1
            return function(*arguments)

        return call


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def test_an_unchanged_folder_is_neither_read_nor_decoded_again(folder, cache, monkeypatch) -> None:
    (folder / "bad.png").write_bytes(b"bad")
    seen: list[tuple[int, int]] = []
    first = load_folder(folder, 4, cache=cache, max_bad_share=0.5, progress=lambda *step: seen.append(step))
    assert seen == [(done, 6) for done in range(1, 7)]
    counting = Counting(monkeypatch)
    again = load_folder(folder, 4, cache=cache, max_bad_share=0.5, progress=lambda *step: seen.append(step))
    assert counting.calls == {}
    assert len(seen) == 6
    assert isinstance(again.pixels, np.memmap)
    assert not again.pixels.flags.writeable
    assert (again.pixels == load_folder(folder, 4, max_bad_share=0.5).pixels).all()
    assert (again.ids, again.defects, again.fingerprint) == (first.ids, first.defects, first.fingerprint)
    assert not list(cache.glob(".*"))


def test_labels_are_no_part_of_the_pixel_key(folder, cache, monkeypatch) -> None:
    first = load_folder(folder, 4, cache=cache)
    (folder / "tags.csv").write_text((folder / "tags.csv").read_text().replace("blue", "aqua"))
    counting = Counting(monkeypatch)
    second = load_folder(folder, 4, cache=cache)
    assert counting.calls == {}
    assert second.fingerprint != first.fingerprint


def test_a_changed_image_and_another_size_are_decoded(folder, cache, monkeypatch) -> None:
    load_folder(folder, 4, cache=cache)
    counting = Counting(monkeypatch)
    load_folder(folder, 5, cache=cache)
    assert counting.calls["decode_image"] == 5
    Image.new("RGB", (9, 9), (7, 7, 7)).save(folder / "1.bmp")
    assert (load_folder(folder, 4, cache=cache).pixels[0] == 7).all()
    assert counting.calls == {"decode_image": 10, "read_bytes": 5 + 1 + 5}


def test_a_touched_or_copied_image_is_read_but_not_decoded(folder, cache, monkeypatch) -> None:
    load_folder(folder, 4, cache=cache)
    os.utime(folder / "1.bmp", (1, 1))
    counting = Counting(monkeypatch)
    load_folder(folder, 4, cache=cache)
    assert counting.calls == {"read_bytes": 1}
    shutil.copytree(folder, folder.parent / "copy")
    load_folder(folder.parent / "copy", 4, cache=cache)
    assert counting.calls == {"read_bytes": 6}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 255
    path.write_bytes(content)


def scribble(path: Path) -> None:
    path.write_bytes(b"{]")


@pytest.mark.parametrize("damage", [cut, flip, scribble, Path.unlink])
@pytest.mark.parametrize("pattern", ["pixels-*.npy", "pixels-*.json", "index-*.json", "folder-*.json"])
def test_a_damaged_cache_is_rebuilt(folder, cache, damage, pattern) -> None:
    expected = np.array(load_folder(folder, 4, cache=cache).pixels)
    (victim,) = cache.glob(pattern)
    intact = victim.read_bytes()
    damage(victim)
    if pattern in ("pixels-*.json", "index-*.json"):  # not read while what was found in the folder is known
        next(cache.glob("folder-*.json")).unlink()
    assert (load_folder(folder, 4, cache=cache).pixels == expected).all()
    assert victim.read_bytes() == intact


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot keep decoded images in .*file"):
        load_folder(folder, 4, cache=tmp_path / "file")


def test_a_image_that_vanishes_is_missing(folder, cache) -> None:
    (folder / "11.png").symlink_to(folder / "gone.png")
    for _ in range(2):
        images = load_folder(folder, 4, cache=cache, max_bad_share=0.5)
        assert [d.name for d in images.defects if d.kind == "missing"] == ["11.png"]
    write(folder, "gone.png")
    images = load_folder(folder, 4, cache=cache, max_bad_share=0.5)
    assert {"11", "gone"} < set(images.ids)


def test_the_real_folder(shared_data, tmp_path) -> None:
    images = load_folder(shared_data / "anime-faces", 16, cache=tmp_path)
    assert (len(images), images.complete) == (11_500, 9_000)
    complete = images.labels[:9_000]
    assert np.bincount(complete[:, 0]).tolist() == [185, 374, 500, 414, 460, 412, 603, 723, 827, 1179, 1647, 1676]
    assert np.bincount(complete[:, 1]).tolist() == [100, 141, 175, 348, 585, 777, 909, 1073, 1130, 1536, 2226]
    assert kinds(images) == {"missing eyes": 2257, "missing hair": 1743}
    assert len(np.unique(complete, axis=0)) == 126


def test_names_that_would_upset_a_terminal_are_escaped(folder, cache) -> None:
    (folder / "a\nb\x1b[31m.png").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"")
    images = load_folder(folder, 4, cache=cache, max_bad_share=0.5)
    assert [d.name for d in images.defects if d.kind == "empty"] == ["a\\nb\\x1b[31m.png", "\\udcff.png"]
    with pytest.raises(UserError) as caught:
        load_folder(folder, 4, cache=cache)
    assert str(caught.value).isprintable()
