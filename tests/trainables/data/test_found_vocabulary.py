"""The vocabulary that is found in labels: groups, classes and what is left out, against counts by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from trainables.data.discovery.columns import ForeignColumnsError, read_columns
from trainables.data.discovery.resolve import NoGroupsError, resolve
from trainables.data.discovery.rows import RawLabels, RawRow
from trainables.data.discovery.tag_groups import find_tag_groups
from trainables.data.tags import UNKNOWN, TagGroup, Vocabulary
from trainables.data.words import canonical, class_name

if TYPE_CHECKING:
    from trainables.data.discovery.resolve import Resolved


def test_spellings_meet() -> None:
    assert canonical(" Dark_GREY  ") == canonical("dark gray") == "dark gray"
    assert canonical("Blond") == "blonde"
    assert class_name("Golden_Retriever (dog)") == "golden retriever dog"
    assert class_name("n01440764") == "n01440764"
    assert class_name("Ünïcode_顔") == "ünïcode 顔"
    assert class_name("#?!") == ""


def test_exclusive_tags_with_a_common_last_word_are_groups() -> None:
    """Of 20 images: hair is red or blue, and long or short beside it; a hat is on 5, all are of one girl."""
    lists = [
        (
            "1girl",
            f"{('red', 'blue')[n % 2]} hair",
            f"{('long', 'short')[n // 10]} hair",
            *(["red hat"] if n < 5 else []),
        )
        for n in range(20)
    ]
    found = find_tag_groups(lists)
    assert found.groups == (TagGroup("hair", ("blue", "red")), TagGroup("hair 2", ("long", "short")))
    assert found.words["blue hair"] == ("hair", "blue")
    assert found.attributes == (TagGroup("red hat", ("no", "yes")),)
    assert [(one.name, one.why) for one in found.left_out] == [("1girl", "on nearly all: 100.0% of the images")]


def test_tags_that_go_together_are_no_group_and_neither_are_those_on_few_images() -> None:
    together = find_tag_groups([("red eyes", "blue eyes")] * 9 + [("red eyes",), ("blue eyes",)] * 5)
    assert together.groups == ()
    assert {group.name for group in together.attributes} == {"red eyes", "blue eyes"}  # on 14 of 19 each: 74%
    few = find_tag_groups([("red hat",)] * 3 + [("blue hat",)] * 3 + [("dog",)] * 14)
    assert few.groups == ()
    assert {group.name for group in few.attributes} == {"red hat", "blue hat", "dog"}


def test_sentences_are_neither_classes_nor_attributes() -> None:
    words = [("red", "blue", "green")[n % 3] for n in range(30)]
    found = find_tag_groups([(f"a photo of a {word} thing with parts", f"{word} hat") for word in words])
    assert found.groups == (TagGroup("hat", ("blue", "green", "red")),)
    assert found.attributes == ()
    assert {(one.name, one.why) for one in found.left_out} == {
        (f"a photo of a {word} thing with parts", "a sentence, not a tag") for word in ("red", "blue", "green")
    }


def test_free_tags_say_nothing_of_a_column() -> None:
    """Of 12 images, every third smiles by its column and one is unspecified; the tags beside it never mention that."""
    cells = ["1", "0", "0"] * 4
    cells[1] = ""
    records = [
        (str(n), {"smiling": cell, "tags": f"{('red', 'blue')[n % 2]} hat, hat"}) for n, cell in enumerate(cells)
    ]
    found = resolve(read_columns(records, None), None, "a.csv")
    assert [group.name for group in found.vocabulary.groups] == ["smiling", "hat"]
    assert [row.labels[0] for row in found.rows] == [1, UNKNOWN, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0]
    assert [(one.kind, one.name) for one in found.defects] == [("missing smiling", "1")]
    given = resolve(read_columns(records, found.vocabulary), found.vocabulary, "a.csv")
    assert given.rows == found.rows


def test_a_tag_that_is_there_says_yes_beside_a_column() -> None:
    """Image 0 has no cell, 1 an agreeing one and 2 another one; 3 has neither cell nor tag, 4 to 7 a cell alone."""
    cells, smiles = ["", "1", "0", "", "1", "0", "1", "0"], [0, 1, 2]
    records = [
        (str(n), {"smiling": cell, "tags": ["hat", f"{('red', 'blue')[n % 2]} hat", *(["smiling"] * (n in smiles))]})
        for n, cell in enumerate(cells)
    ]
    found = resolve(read_columns(records, None), None, "a.csv")
    place = found.vocabulary.index("smiling")
    assert [row.labels[place] for row in found.rows] == [1, 1, UNKNOWN, UNKNOWN, 1, 0, 1, 0]
    assert [(one.kind, one.name) for one in found.defects] == [("several smiling", "2"), ("missing smiling", "3")]


def tagged(*lists: str, given: Vocabulary | None = None) -> Resolved:
    rows = [RawRow(str(n), tags=tuple(text.split(", "))) for n, text in enumerate(lists)]
    return resolve(RawLabels(tuple(rows)), given, "captions")


def test_two_classes_of_a_group_and_none_leave_it_unknown() -> None:
    found = tagged(*["red eyes", "blue eyes"] * 10, "red eyes, blue eyes", "dog")
    assert found.vocabulary.groups[0] == TagGroup("eyes", ("blue", "red"))
    assert [row.labels[0] for row in found.rows[-3:]] == [0, UNKNOWN, UNKNOWN]
    assert {(one.kind, one.name) for one in found.defects} == {("several eyes", "20"), ("missing eyes", "21")}


def test_a_written_vocabulary_reads_the_same_labels() -> None:
    lists = [
        f"{('red', 'blue')[n % 2]} hair, {('long', 'short')[n // 10]} hair{', smile' if n % 3 else ''}"
        for n in range(20)
    ]
    found = tagged(*lists)
    assert found.vocabulary.names == ("hair", "hair 2", "smile")
    again = tagged(*lists, given=Vocabulary.from_json(json.loads(found.vocabulary.to_text())))
    assert again.rows == found.rows
    assert again.vocabulary == found.vocabulary


def columns(**cells: list[object]) -> Resolved:
    rows = [dict(zip(cells, values, strict=True)) for values in zip(*cells.values(), strict=True)]
    return resolve(read_columns([(str(n), row) for n, row in enumerate(rows)], None), None, "table")


def test_kinds_of_columns() -> None:
    found = columns(
        label=[3, 10, 3, 10], flag=[True, False, True, None], size=[0.5, 0.25, 1.5, 2.0], one=["x"] * 4,
        split=["train", "test", "train", "val"], sign=["-1", "0", "1", "1"], colour=["Grey", "gray", "blond", ""],
        text=["a long text about this very image"] * 4, nothing=[None, "", "nan", None], flags=[[1], [2], [3], [4]],
    )  # fmt: skip
    assert {group.name: group.classes for group in found.vocabulary.groups} == {
        "label": ("3", "10"), "colour": ("blonde", "gray"), "flag": ("no", "yes"), "sign": ("no", "yes")
    }  # fmt: skip
    labels = {row.id: dict(zip(found.vocabulary.names, row.labels, strict=True)) for row in found.rows}
    assert labels["0"] == {"label": 0, "colour": 1, "flag": 1, "sign": 0}
    assert labels["1"] == {"label": 1, "colour": 1, "flag": 0, "sign": UNKNOWN}
    assert labels["3"] == {"label": 1, "colour": UNKNOWN, "flag": UNKNOWN, "sign": 1}
    assert {one.name for one in found.left_out} == {"size", "one", "split", "text", "nothing", "flags"}


def test_places_and_sizes_of_boxes_are_no_classes() -> None:
    found = columns(
        **{"class": ["cat", "dog"] * 3, "xmin": ["0", "1"] * 3, "Y_Max": [7, 8] * 3, "width": [16, 17] * 3},
        x=[1, 2] * 3, h=[3, 4] * 3, height=["tall", "small"] * 3,
    )  # fmt: skip
    assert found.vocabulary.names == ("class", "height")
    assert {one.name: one.why for one in found.left_out} == dict.fromkeys(
        ["xmin", "Y_Max", "width", "x", "h"], "measurements, not classes"
    )
    assert columns(y=[0, 1, 1, 2]).vocabulary.groups == (TagGroup("y", ("0", "1", "2")),)
    given = Vocabulary((TagGroup("width", ("16", "17")),))
    assert resolve(read_columns([("a", {"width": 17}), ("b", {"width": 16})], given), given, "t").rows[0].labels == (1,)


def test_names_of_images_are_no_classes_and_many_classes_are() -> None:
    with pytest.raises(NoGroupsError, match=r"table has no labels .*name: 60 different values in 60 rows"):
        columns(name=[f"file {n}" for n in range(60)])
    assert len(columns(kind=[f"kind {n % 200}" for n in range(600)]).vocabulary.groups[0].classes) == 200


def test_a_single_class_is_no_group() -> None:
    with pytest.raises(NoGroupsError, match="hair: one class only: red"):
        columns(hair=["red"] * 5)


def test_columns_of_bits_are_a_group_only_where_every_row_has_one() -> None:
    exact = columns(hair_red=[1, 0, 0, 1], hair_blue=[0, 1, 1, 0], hat=[1, 1, 0, 0])
    assert {group.name: group.classes for group in exact.vocabulary.groups} == {
        "hair": ("red", "blue"), "hat": ("no", "yes")
    }  # fmt: skip
    loose = columns(hair_red=[1, 0, 0, 1], hair_blue=[1, 1, 0, 0])
    assert loose.vocabulary.names == ("hair_red", "hair_blue")
    assert loose.attributes == ("hair_red", "hair_blue")


def test_a_given_vocabulary_takes_the_columns_that_it_names() -> None:
    given = Vocabulary((TagGroup("hair", ("red", "grey")), TagGroup("smile", ("no", "yes"))))
    records = [("1", {"Hair": "GRAY", "smile": 1, "hat": "x"}), ("2", {"Hair": "red", "smile": 0, "hat": "y"})]
    found = resolve(read_columns(records, given), given, "table")
    assert [row.labels for row in found.rows] == [(1, 1), (0, 0)]
    assert [one.name for one in found.left_out] == ["hat"]
    with pytest.raises(ForeignColumnsError, match="'hat'; expected columns named after the groups hair, smile"):
        read_columns([("1", {"hat": "x"})], given)
