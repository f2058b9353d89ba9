"""Domains and attributes: folders A and B, tag selections, attribute lists; what is kept and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from trainables.data.dataset import load_folder
from trainables.data.defects import Defect
from trainables.data.folder import scan_folder
from trainables.data.inspect import format_inspection, inspect_folder
from trainables.data.selection import Selection
from trainables.data.tags import UNKNOWN
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

DOMAINS = Selection("hair=black", "hair=blonde")


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (sum(map(ord, name)) % 256, len(name), 99)).save(path)


@pytest.fixture
def tagged(tmp_path) -> Path:
    place = tmp_path / "tagged"
    write(place, *(f"{number}.png" for number in range(1, 8)))
    rows = ["black hair red eyes", "blonde hair red eyes", "black hair blue eyes", "red hair red eyes",
            "blonde hair blue eyes", "black hair", "red eyes"]  # fmt: skip
    (place / "tags.csv").write_text("\n".join(f"{number},{text}" for number, text in enumerate(rows, 1)))
    return place


@pytest.fixture
def pair(tmp_path) -> Path:
    """Three images in A, two in B, one name in both."""
    place = tmp_path / "pair"
    write(place, "A/10.png", "A/2.png", "A/deep/x.png", "B/2.png", "B/7.png")
    return place


@pytest.fixture
def attributes(tmp_path) -> Path:
    place = tmp_path / "attributes"
    write(place, "images/1.png", "images/2.png", "images/3.png")
    (place / "list_attr.txt").write_text("3\nBlack_Hair Male Young\n1.jpg 1 -1 1\n2.jpg -1 1 1\n3.jpg -1 -1 -1\n")
    return place


def test_folders_a_and_b_are_the_classes_of_a_domain(pair) -> None:
    images = load_folder(pair, 4)
    assert images.vocabulary.names == ("domain",)
    assert images.vocabulary.groups[0].classes == ("a", "b")
    assert images.ids == ("A/2", "A/10", "A/deep/x", "B/2", "B/7")
    assert images.labels.tolist() == [[0], [0], [0], [1], [1]]
    assert (images.complete, images.targets, images.target_places) == (5, (), (0,))
    assert images.defects == ()
    for place, name in enumerate(("A/2.png", "A/10.png", "A/deep/x.png", "B/2.png", "B/7.png")):
        assert (images.pixels[place] == [sum(map(ord, name)) % 256, len(name), 99]).all()


def test_what_lies_beside_the_domains_is_named(pair) -> None:
    write(pair, "C/1.png", "loose.png", "A/2.bmp")
    images = load_folder(pair, 4)
    assert images.ids == ("A/2.bmp", "A/2.png", "A/10", "A/deep/x", "B/2", "B/7")
    assert set(images.defects) == {
        Defect("ignored file", "C/1.png", "in neither A nor B"),
        Defect("ignored file", "loose.png", "in neither A nor B"),
    }


def test_equal_names_in_nested_subfolders_of_a_domain_are_different_images(pair) -> None:
    write(pair, "A/first/1.png", "A/second/1.png", "B/first/1.png", "B/first/1.v2.png")
    images = load_folder(pair, 4)
    assert {"A/first/1", "A/second/1", "B/first/1", "B/first/1.v2"} <= set(images.ids)
    assert images.counts("domain").tolist() == [5, 4]
    assert images.defects == ()


def test_train_folders_with_test_folders_beside_them(tmp_path) -> None:
    write(tmp_path, "trainA/1.png", "trainB/1.png", "testA/1.png", "testB/1.png")
    images = load_folder(tmp_path, 4)
    assert images.ids == ("trainA/1", "trainB/1")
    assert {defect.name for defect in images.defects} == {"testA/1.png", "testB/1.png"}


def test_tags_go_before_folders_and_one_folder_is_no_pair(pair, tmp_path) -> None:
    rows = (
        "10,blue hair red eyes",
        "7,red hair red eyes",
        "A/2,red hair red eyes",
        "B/2,red hair red eyes",
        "x,red hair",
    )
    (pair / "tags.csv").write_text("\n".join(rows))
    assert load_folder(pair, 4).vocabulary.names == ("hair", "eyes")
    write(tmp_path / "half", "A/1.png", "2.png")
    with pytest.raises(UserError, match="A/ is the only folder of images"):
        load_folder(tmp_path / "half", 4)


def test_two_tag_selections_become_domains(tagged) -> None:
    images = load_folder(tagged, 4, selection=DOMAINS)
    assert images.vocabulary.names == ("domain", "eyes")
    assert images.vocabulary.groups[0].classes == ("black hair", "blonde hair")
    assert images.ids == ("1", "2", "3", "5", "6")
    eyes = images.vocabulary.groups[1].classes
    red, blue = eyes.index("red"), eyes.index("blue")
    assert images.labels.tolist() == [[0, red], [1, red], [0, blue], [1, blue], [0, UNKNOWN]]
    assert (images.complete, images.targets, images.target_places) == (4, ("domain",), (0,))
    whole = load_folder(tagged, 4)
    for name, pixels in zip(images.ids, images.pixels, strict=True):
        assert (pixels == whole.pixels[whole.ids.index(name)]).all()


def test_several_tags_of_a_selection_must_all_be_there(tagged) -> None:
    images = load_folder(tagged, 4, selection=Selection(" Hair = black, eyes=red", "hair=blonde,eyes=blue"))
    assert images.ids == ("1", "5")
    assert images.vocabulary.names == ("domain",)
    assert images.vocabulary.groups[0].classes == ("black hair red eyes", "blonde hair blue eyes")


def test_images_of_both_selections_are_left_out(tagged) -> None:
    images = load_folder(tagged, 4, selection=Selection("hair=black", "eyes=red"))
    assert images.ids == ("2", "3", "4", "6", "7")  # 1 is both
    assert images.labels.tolist() == [[1], [0], [1], [0], [1]]


def test_names_that_would_be_too_long_give_way_to_letters(tmp_path) -> None:
    groups = [{"name": f"{letter * 30}", "classes": ["no", "yes"]} for letter in "xyz"]
    (tmp_path / "vocabulary.json").write_text(json.dumps({"groups": groups}))
    (tmp_path / "tags.csv").write_text("".join(f"{place},{word} {'x' * 30} {word} {'y' * 30}\n"
                                               for place, word in enumerate(("no", "yes"))))  # fmt: skip
    write(tmp_path, "0.png", "1.png")
    both = [f"{'x' * 30}={word},{'y' * 30}={word}" for word in ("no", "yes")]
    with pytest.raises(UserError, match="no image with complete tags"):  # z is never known
        load_folder(tmp_path, 4, selection=Selection(*both))
    chosen = Selection(*(f"{text},{'z' * 30}=no" for text in both))
    with pytest.raises(UsageError, match=f"--domain-a '{'x' * 30}.*' fits no image"):
        load_folder(tmp_path, 4, selection=chosen)
    (tmp_path / "tags.csv").write_text("".join(f"{place},{word} {'x' * 30} {word} {'y' * 30} no {'z' * 30}\n"
                                               for place, word in enumerate(("no", "yes"))))  # fmt: skip
    assert load_folder(tmp_path, 4, selection=chosen).vocabulary.groups[0].classes == ("a", "b")


def test_rows_without_images_count_only_where_they_are_selected(tagged) -> None:
    (tagged / "tags.csv").open("a").write("".join(f"\nx{n},red hair red eyes" for n in range(20)))
    with pytest.raises(UserError, match="20 of 27 files are bad"):
        load_folder(tagged, 4)
    assert len(load_folder(tagged, 4, selection=DOMAINS)) == 5


def test_chosen_attributes_are_all_that_is_used(attributes) -> None:
    images = load_folder(attributes, 4, selection=Selection(attributes="young, BLACK_HAIR"))
    assert images.vocabulary.names == images.targets == ("young", "black_hair")
    assert images.labels.tolist() == [[1, 1], [1, 0], [0, 0]]
    assert images.ids == ("1", "2", "3")


def test_an_attribute_list_needs_no_choice(attributes) -> None:
    report = inspect_folder(attributes, 4)
    assert report["classes"] == {
        "black_hair": {"no": 2, "yes": 1}, "male": {"no": 2, "yes": 1}, "young": {"no": 1, "yes": 2}
    }  # fmt: skip
    assert (report["complete"], report["refusal"]) == (3, None)
    chosen = inspect_folder(attributes, 4, selection=Selection(attributes="Male"))
    assert (chosen["targets"], chosen["unselected"], chosen["refusal"]) == (["male"], 0, None)


def test_of_many_attributes_the_most_balanced_are_used_and_all_may_be_chosen(tmp_path) -> None:
    """Of 20 images, attribute a<n> is on the first n: a0 and a20 on none and all of them."""
    write(tmp_path, *(f"{place}.png" for place in range(20)))
    rows = "".join(f"{place}.jpg {' '.join(str(1 if place < n else -1) for n in range(21))}\n" for place in range(20))
    (tmp_path / "list.txt").write_text(f"{' '.join(f'A{n}' for n in range(21))}\n{rows}")
    report = inspect_folder(tmp_path, 4)
    assert list(report["classes"]) == [f"a{n}" for n in (6, 7, 8, 9, 10, 11, 12, 13)]
    assert report["left_out"]["A0"].startswith("rare: 0.0% of the images")
    assert report["left_out"]["A20"].startswith("on nearly all: 100.0% of the images")
    assert "more than 8 attributes" in report["left_out"]["A5"]
    assert (report["refusal"], report["defects"]) == (None, {})
    rare = load_folder(tmp_path, 4, selection=Selection(attributes="A20,A1"))
    assert (rare.vocabulary.names, rare.counts("a1").tolist()) == (("a20", "a1"), [19, 1])


def test_an_unspecified_cell_of_an_attribute_that_nobody_asked_for_does_not_matter(attributes) -> None:
    (attributes / "list_attr.txt").write_text("3\nBlack_Hair Male Young\n1.jpg 1 -1 0\n2.jpg -1 1 1\n3.jpg -1 -1 -1\n")
    asked = load_folder(attributes, 4, selection=Selection(attributes="Male,Black_Hair"))
    assert (asked.complete, asked.defects) == (3, ())
    whole = load_folder(attributes, 4)
    assert (whole.complete, whole.ids) == (2, ("2", "3", "1"))
    assert whole.labels[2].tolist() == [1, 0, UNKNOWN]


def test_an_attribute_list_may_name_more_images_than_there_are(attributes) -> None:
    rows = "".join(f"{number}.jpg 1 -1 1\n" for number in range(4, 104))
    (attributes / "list_attr.txt").write_text(
        f"103\nBlack_Hair Male Young\n1.jpg 1 -1 1\n2.jpg -1 1 1\n3.jpg -1 -1 -1\n{rows}"
    )
    for selection in (Selection(attributes="Male"), Selection("Male=no", "Male=yes")):
        images = load_folder(attributes, 4, selection=selection)
        assert images.ids == ("1", "2", "3")
        names = [defect.name for defect in images.defects if defect.kind == "tags without image"]
        assert sorted(map(int, names)) == list(range(4, 104))
    (attributes / "images/4.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 4 files are bad \(25.0%"):
        load_folder(attributes, 4, selection=Selection(attributes="Male"))


def test_domains_of_an_attribute_list(attributes) -> None:
    images = load_folder(attributes, 4, selection=Selection("Black_Hair=yes", "Male=Yes"))
    assert images.vocabulary.names == ("domain", "young")
    assert (images.ids, images.labels.tolist()) == (("1", "2"), [[0, 1], [1, 1]])


def test_a_second_list_and_lists_beside_tags_are_named(attributes) -> None:
    (attributes / "other.txt").write_text("Smiling\n1 1\n2 -1\n3 1\n")
    selected = load_folder(attributes, 4, selection=Selection(attributes="Male"))
    assert (
        Defect("ignored file", "other.txt", "attribute list; the tags are those of list_attr.txt") in selected.defects
    )
    (attributes / "tags.csv").write_text("1,blue hair red eyes\n2,red hair red eyes\n3,red hair red eyes\n")
    images = load_folder(attributes, 4)
    assert images.vocabulary.names == ("hair", "eyes")
    assert {defect.name for defect in images.defects} == {"list_attr.txt", "other.txt"}


def test_attributes_of_a_tagged_folder_are_its_groups(tagged) -> None:
    images = load_folder(tagged, 4, selection=Selection(attributes="eyes"))
    assert (images.vocabulary.names, images.targets, images.target_places) == (("hair", "eyes"), ("eyes",), (1,))
    assert images.ids == load_folder(tagged, 4).ids


def test_the_fingerprint_changes_with_the_selection(tagged, attributes) -> None:
    selections = [
        Selection(), DOMAINS, Selection("hair=blonde", "hair=black"), Selection("hair=black", "hair=red"),
        Selection(attributes="eyes"), Selection(attributes="hair"), Selection(attributes="hair,eyes"),
    ]  # fmt: skip
    prints = [load_folder(tagged, 4, selection=one).fingerprint for one in selections]
    assert len(set(prints)) == len(selections)
    assert [load_folder(tagged, 4, selection=one).fingerprint for one in selections] == prints
    lists = [load_folder(attributes, 4, selection=Selection(attributes=name)).fingerprint for name in ("Male", "Young")]
    assert len(set(lists)) == 2


def test_inspection_of_a_selection(tagged) -> None:
    report = inspect_folder(tagged, 4, selection=DOMAINS)
    assert report["classes"]["domain"] == {"black hair": 3, "blonde hair": 2}
    assert (report["targets"], report["unselected"], report["pictures"]) == (["domain"], 2, 5)
    assert "to translate: domain; 2 images not selected" in format_inspection(report)
    assert "to translate" not in format_inspection(inspect_folder(tagged, 4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("hair=black", None), "--domain-a is given without --domain-b; for instance --domain-a"),
        ((None, "hair=black"), "--domain-b is given without --domain-a"),
        (("hair=black", "hair=red", "hair"), "--attributes and --domain-a are both given"),
        (("black", "hair=red"), "--domain-a is 'black'; expected GROUP=CLASS"),
        (("hair=red", "hair="), "--domain-b is 'hair='; expected GROUP=CLASS"),
        (("hair=red", ""), "--domain-b is ''; expected GROUP=CLASS"),
        ((None, None, ""), "--attributes is ''; expected different names"),
        ((None, None, "Male,,Young"), "expected different names"),
        ((None, None, "Male,male"), "expected different names"),
    ],
)
def test_selections_that_say_nothing_are_refused(given, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Selection(*given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection("hair=blak", "hair=red"), "--domain-a: unknown hair 'blak'; allowed: .*did you mean 'black'"),
        (Selection("hair=red", "hare=black"), "--domain-b: unknown tag group 'hare'; .*did you mean 'hair'"),
        (Selection("hair=red,hair=black", "hair=blue"), "--domain-a names hair twice"),
        (Selection("hair=red", "hair=green"), "--domain-b 'hair=green' fits no image of .*data inspect"),
        (Selection("hair=red", "hair=red"), "--domain-a 'hair=red' selects only images that the other .* too"),
        (Selection("eyes=red", "hair=red"), "--domain-b 'hair=red' selects only images that the other .* too"),
        (Selection(attributes="hairs"), "unknown tag group 'hairs' of .*; there are: hair, eyes; did you mean 'hair'"),
    ],
)
def test_selections_that_the_tags_do_not_allow_are_refused(tagged, selection, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_folder(tagged, 4, selection=selection)
    assert "\n" not in str(caught.value)


def test_an_unknown_attribute_is_refused_with_the_nearest(attributes) -> None:
    with pytest.raises(UsageError, match=r"unknown attribute 'Yung' .*Black_Hair, Male, Young; did you mean 'Young'"):
        load_folder(attributes, 4, selection=Selection(attributes="Male,Yung"))


def test_only_images_that_are_there_make_a_domain(tagged) -> None:
    (tagged / "tags.csv").open("a").write("\nx,green hair red eyes")
    with pytest.raises(UsageError, match="--domain-a 'hair=green' fits no image"):
        load_folder(tagged, 4, selection=Selection("hair=green", "hair=red"))


def test_the_real_folders(shared_data, tmp_path) -> None:
    pair = load_folder(shared_data / "translation/black2blond", 16, cache=tmp_path)
    assert np.bincount(pair.labels[:, 0]).tolist() == [400, 400]
    faces = load_folder(shared_data / "anime-faces", 16, cache=tmp_path, selection=DOMAINS)
    assert np.bincount(faces.labels[: faces.complete, 0]).tolist() == [1179, 1676]


TERMS = st.lists(
    st.sampled_from(["hair=black", "hair=red", "eyes=blue", "EYES = red", "hair", "=", "", "x=y"]), max_size=3
)
TEXTS = st.none() | TERMS.map(",".join) | st.text(max_size=6)


@settings(max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(texts=st.tuples(TEXTS, TEXTS, st.none() | TEXTS))
def test_whatever_is_selected_is_a_part_of_the_folder_or_refused(tagged: Path, texts) -> None:
    found = scan_folder(tagged)
    try:
        part, targets = Selection(*texts).apply(found)
    except UsageError:
        return
    assert set(part.images) <= set(found.images)
    assert set(targets) <= set(part.vocabulary.names)
    for row in part.tags.values():
        assert all(-1 <= label < size for label, size in zip(row.labels, part.vocabulary.sizes, strict=True))
    if texts[0] is not None:
        assert {row.labels[0] for row in part.tags.values()} == {0, 1}


def test_a_tag_group_called_domain_is_refused_beside_domains(tmp_path: Path) -> None:
    write(tmp_path, *(f"{number}.png" for number in range(4)))
    groups = [{"name": "hair", "classes": ["black", "red"]}, {"name": "domain", "classes": ["photo", "comic"]}]
    (tmp_path / "vocabulary.json").write_text(json.dumps({"groups": groups}))
    texts = ["black hair photo domain", "red hair comic domain", "black hair comic domain", "red hair photo domain"]
    (tmp_path / "tags.csv").write_text("\n".join(f"{number},{text}" for number, text in enumerate(texts)))
    with pytest.raises(UsageError, match=r"--domain-a and --domain-b make a tag group 'domain', and .* has one"):
        load_folder(tmp_path, 4, selection=Selection("hair=black", "hair=red"))
    by_it = load_folder(tmp_path, 4, selection=Selection("domain=photo", "domain=comic"))
    assert by_it.vocabulary.names == ("domain", "hair")


def test_a_class_called_unknown_is_a_class(tmp_path: Path) -> None:
    write(tmp_path, *(f"{number}.png" for number in range(4)))
    (tmp_path / "tags.csv").write_text("id,hair\n0,unknown\n1,red\n2,unknown\n3,\n")
    images = load_folder(tmp_path, 4)
    assert images.vocabulary.groups[0].classes == ("red", "unknown")
    labels = {name: images.vocabulary.describe(row) for name, row in zip(images.ids, images.labels, strict=True)}
    assert labels == {"0": "unknown hair", "1": "red hair", "2": "unknown hair", "3": ""}
