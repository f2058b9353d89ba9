"""Attribute lists: CelebA's own form, the table as .csv, damage, and what is no such list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainables.data.defects import Defect
from trainables.data.tag_files.attribute_list import read_attributes
from trainables.data.tags import UNKNOWN
from trainables.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

LIST = "3\nBlack_Hair Male  5_o_Clock_Shadow \n1.jpg -1  1 -1\n2.jpg  1  1 -1\n3.png -1 -1  1\n"


@pytest.fixture
def write(tmp_path: Path):
    def written(text: str, name: str = "list.txt") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_names_and_labels_by_hand(write) -> None:
    names, table = read_attributes(write(LIST))
    assert names == ("Black_Hair", "Male", "5_o_Clock_Shadow")
    assert {row.id: row.labels for row in table.rows} == {"1": (0, 1, 0), "2": (1, 1, 0), "3": (0, 0, 1)}
    assert table.problems == ()


def test_the_table_as_csv(write) -> None:
    text = "image_id,Black_Hair,Male\n1.jpg,-1,1\n2.jpg,1,-1\n"
    names, table = read_attributes(write(text, "list_attr.csv"))
    assert names == ("Black_Hair", "Male")
    assert [row.labels for row in table.rows] == [(0, 1), (1, 0)]


def test_a_list_without_the_count_and_ids_without_suffix(write) -> None:
    names, table = read_attributes(write("Smiling\na 1\nb -1\nc.d 1\n"))
    assert names == ("Smiling",)
    assert [(row.id, row.labels) for row in table.rows] == [("a", (1,)), ("b", (0,)), ("c.d", (1,))]


def test_damaged_rows_are_named_and_the_others_used(write) -> None:
    text = LIST.replace("3\n", "9\n", 1) + "4.jpg 1 1\n5.jpg 0 1 1\n55.jpg 2 1 1\n../6.jpg 1 1 1\n1.jpg 1 1 -1\n"
    _, table = read_attributes(write(text))
    assert {row.id: row.labels for row in table.rows}["5"] == (UNKNOWN, 1, 1)  # 0 is unspecified, in that cell alone
    assert [row.id for row in table.rows] == ["1", "2", "3", "5"]
    assert table.problems == (
        Defect("unreadable row", "list.txt:6", "expected a file and 3 times 1, -1 or 0, found 2 values"),
        Defect("unreadable row", "list.txt:8", "expected a file and 3 times 1, -1 or 0, found 3 values"),
        Defect("unreadable row", "list.txt:9", "'../6.jpg' is no image id"),
        Defect("wrong count", "list.txt", "says 9 rows, has 8"),
        Defect("duplicate id", "1"),
        Defect("conflicting tags", "1", "(0, 1, 0) and (1, 1, 0)"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3\n",
        "1\nMale\n",
        "1,blue hair red eyes\n2,red hair red eyes\n",
        "id,hair,eyes\n1,blue,red\n",
        "1.jpg,0,1,0\n2.jpg,1,0,0\n",
        "2\nlefteye_x lefteye_y\n1.jpg 69 109\n2.jpg 1 110\n",  # CelebA's landmarks
        "1.jpg 0\n2.jpg 1\n",  # its partition
        "3\nMale Male\n1.jpg 1 1\n2.jpg 1 -1\n",
        "Male\n1 1\n2 x\n3 y\n",
        "Faces, drawn by hand.\n",
        "9" * 5000,
    ],
)
def test_what_is_no_attribute_list(write, text: str) -> None:
    assert read_attributes(write(text)) is None


def test_unreadable_files_are_named(write) -> None:
    path = write("")
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(UserError, match=r"list\.txt"):
        read_attributes(path)


def test_the_real_list(shared_data) -> None:
    names, table = read_attributes(shared_data / "translation/celeba/list_attr_celeba.txt")
    assert len(names) == 40
    assert len(table.rows) == 2500
    assert table.problems == ()
    counts = {name: sum(row.labels[place] for row in table.rows) for place, name in enumerate(names)}
    known = {"Male": 1058, "Black_Hair": 610, "Blond_Hair": 354, "Gray_Hair": 108, "Young": 1935, "Eyeglasses": 160}
    assert {name: counts[name] for name in known} == known


CELLS = st.sampled_from(
    ["1", "-1", "0", "2", "Male", "Black_Hair", "1.jpg", "../1.jpg", "", "é", "\u0663", "'", "\x85"]
)
LINES = st.lists(st.lists(CELLS, max_size=4).map(" ".join) | st.lists(CELLS, max_size=4).map(",".join), max_size=8)


@settings(max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(lines=LINES)
def test_whatever_a_file_holds_it_is_a_list_or_none(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    if found := read_attributes(path):
        names, table = found
        assert len({name.lower() for name in names}) == len(names)
        for row in table.rows:
            assert len(row.labels) == len(names)
            assert set(row.labels) <= {0, 1, UNKNOWN}
            assert ".." not in row.id.split("/")
