from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from trainables.data.defects import Defect
from trainables.data.tag_files.readers import NotTagsError, TagRow, TagTable, read_prompts, read_tags
from trainables.data.tags import REPORT_VOCABULARY, UNKNOWN, TagGroup, Vocabulary
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Vocabulary(
    (TagGroup("hair", ("blue", "red")), TagGroup("eyes", ("green", "blue", "red"))), one_hot_order=("eyes", "hair")
)


def read(tmp_path: Path, content: str | bytes, vocabulary: Vocabulary = SMALL) -> TagTable:
    path = tmp_path / "tags.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_tags(path, vocabulary)


def labels(table: TagTable) -> dict[str, tuple[int, ...]]:
    return {row.id: row.labels for row in table.rows}


@pytest.mark.parametrize(
    "content",
    [
        "7,blue hair red eyes\n8,red hair green eyes\n",
        "7,Red  eyes BLUE hair\n8,green eyes, red hair\n",
        "id,tags\n7,blue hair red eyes\n8,red hair green eyes\n",
        '7,"blue hair, red eyes"\n8,"red hair, green eyes"\n',
        "7,blue hair:12\tdoll:3\tred eyes:4\t\n8,hat:1\tred hair:2\tgreen eyes:5\t\n",
        "7, blue_hair :12\t red_eyes :4\t\n8,red hair:2\tgreen eyes:5\n",
        "id,hair,eyes\n7,blue,red\n8,red,green\n",
        "ID,Eyes,Hair\n7,red,blue\n8,green,red\n",
        "7,0,0,1,1,0\n8,1,0,0,0,1\n",
        "id,green eyes,blue eyes,red eyes,blue hair,red hair\n7,0,0,1,1,0\n8,1,0,0,0,1\n",
        "7,0.0,0.0,1.0,1.0,0.0\n8,1,0,0,0,1\n",
    ],
)
@pytest.mark.parametrize(
    "dress", [lambda text: text, lambda text: "\ufeff" + text.replace("\n", "\r\n\r\n"), lambda text: "\n\n" + text]
)
def test_every_format_says_the_same(tmp_path, content, dress) -> None:
    table = read(tmp_path, dress(content))
    assert labels(table) == {"7": (0, 2), "8": (1, 0)}
    assert table.problems == ()


@pytest.mark.parametrize(
    ("line", "expected", "kind", "detail"),
    [
        ("7,", (UNKNOWN, UNKNOWN), "missing hair", ""),
        ("7,doll:3\tred eyes:4\t", (UNKNOWN, 2), "missing hair", ""),
        ("7,red hair:1\tblue hair:3\tred eyes:4\t", (UNKNOWN, 2), "several hair", "red, blue"),
        ("7,red hair:1\tred eyes:3\tgreen eyes:4\t", (1, UNKNOWN), "several eyes", "red, green"),
        ("7,red hair:1\tgrey hair:3\tgreen eyes:4\t", (UNKNOWN, 0), "several hair", "red, grey"),
        ("7,grey hair:1\tred eyes:3\t", (UNKNOWN, 2), "unknown hair", "grey"),
        ("7,red hair:1\tsilver eyes:3\t", (1, UNKNOWN), "unknown eyes", "silver"),
        ("7,red hair:1\tred eyes:3\theterochromia:4\t", (1, UNKNOWN), "two-coloured eyes", "red, heterochromia"),
        ("7,two-tone hair:1\tred eyes:3\t", (UNKNOWN, 2), "two-coloured hair", "two-tone"),
        ("7,red hair:1\tclosed eyes:3\t", (1, UNKNOWN), "missing eyes", ""),
    ],
)
def test_an_unusable_tag_is_masked_and_counted(tmp_path, line, expected, kind, detail) -> None:
    table = read(tmp_path, f"6,red hair:1\tred eyes:2\t\n{line}\n")
    assert labels(table) == {"6": (1, 2), "7": expected}
    assert Defect(kind, "7", detail) in table.problems
    assert len(table.problems) == expected.count(UNKNOWN)


@pytest.mark.parametrize(
    "tag", ["long hair", "very long hair", "hair over eyes", "closed eyes", "hair ornament", "hair"]
)
def test_tags_that_are_no_colours_do_not_matter(tmp_path, tag) -> None:
    table = read(tmp_path, f"7,blue hair:1\tred eyes:2\t{tag}:3\t\n")
    assert labels(table) == {"7": (0, 2)}
    assert table.problems == ()


def test_a_class_that_is_no_colour_counts_where_the_vocabulary_has_it(tmp_path) -> None:
    lengths = Vocabulary((TagGroup("hair", ("long", "short")),))
    assert labels(read(tmp_path, "7,long hair:1\tdoll:2\t\n", lengths)) == {"7": (0,)}


def test_three_groups_of_the_users_own(tmp_path) -> None:
    own = Vocabulary(
        (TagGroup("hat", ("no", "straw")), TagGroup("mood", ("sad", "glad")), TagGroup("age", ("old", "new")))
    )
    assert labels(read(tmp_path, "a,straw hat glad mood new age\n", own)) == {"a": (1, 1, 1)}
    assert labels(read(tmp_path, "a,0,1,1,0,0,1\n", own)) == {"a": (1, 0, 1)}


@pytest.mark.parametrize(
    ("bad", "place"),
    [
        ("9", 2),
        ("9,some text", 2),
        (",blue hair", 2),
        ("../b,blue hair", 2),
        ("..,blue hair", 2),
        ("/b,blue hair", 2),
        ("\n\na\\..\\b,blue hair", 4),
    ],
)
def test_an_unreadable_row_is_named_by_its_line(tmp_path, bad, place) -> None:
    table = read(tmp_path, f"7,blue hair red eyes\n{bad}\n8,red hair red eyes\n")
    assert set(labels(table)) == {"7", "8"}
    assert [(p.kind, p.name) for p in table.problems] == [("unreadable row", f"tags.csv:{place}")]


def test_rows_out_of_format_in_one_hot_and_column_files(tmp_path) -> None:
    one_hot = read(tmp_path, "1,0,0,1,1,0\n2,0,0,1,1\n3,0,0,2,1,0\n4,0,1,1,0,0\n5,1,0,0,1,0\n")
    assert labels(one_hot) == {"1": (0, 2), "4": (UNKNOWN, UNKNOWN), "5": (0, 0)}
    assert Counter(p.kind for p in one_hot.problems) == {"unreadable row": 2, "several eyes": 1, "missing hair": 1}
    columns = read(tmp_path, "id,hair,mood,eyes\n1,blue,glad,red\n2,blue\n3,mauve,sad,\n")
    assert labels(columns) == {"1": (0, 2), "3": (UNKNOWN, UNKNOWN)}
    assert [(p.kind, p.detail) for p in columns.problems] == [
        ("ignored column", "'mood'"),
        ("unreadable row", "expected 4 columns, found 2"),
        ("unknown hair", "mauve"),
        ("missing eyes", ""),
    ]


def test_ids_may_be_paths_and_files_may_be_utf_16(tmp_path) -> None:
    table = read(tmp_path, "./a/7.png,blue hair red eyes\nb\\8,red hair green eyes\n".encode("utf-16"))
    assert labels(table) == {"a/7.png": (0, 2), "b/8": (1, 0)}


def test_spellings_of_a_class_meet(tmp_path) -> None:
    for classes, written in ((("gray", "blonde"), ("grey", "blond")), (("grey", "blond"), ("gray", "blonde"))):
        own = Vocabulary((TagGroup("hair", classes),))
        assert labels(read(tmp_path, "".join(f"{word},{word.upper()} hair\n" for word in written), own)) == {
            written[0]: (0,), written[1]: (1,)
        }  # fmt: skip
        assert own.parse(f"{written[0]} hair") == (0,)


def test_ids_may_be_any_file_stem(tmp_path) -> None:
    table = read(tmp_path, '007,red hair\nein Bild (2).neu,red hair\n顔,red hair\n"a,b",red hair\nid,red hair\n')
    assert list(labels(table)) == ["007", "ein Bild (2).neu", "顔", "a,b", "id"]
    assert list(labels(read(tmp_path, "e\u0301,red hair\n"))) == ["\u00e9"]


def test_of_a_repeated_id_the_more_complete_row_wins(tmp_path) -> None:
    table = read(tmp_path, "7,red hair\n7,blue hair red eyes\n8,red hair red eyes\n8,red hair red eyes\n")
    assert table.rows == (TagRow("7", (0, 2)), TagRow("8", (1, 2)))
    assert Counter(p.kind for p in table.problems) == {"missing eyes": 1, "duplicate id": 2, "conflicting tags": 1}


@pytest.mark.parametrize(
    "content", [b"\xff\xd8\xff\xe0 blue hair", b"7,blue hair\0\0", b"\xff\xfe7", b"7,bl\xfce hair"]
)
def test_a_corrupt_file_is_a_user_error_that_names_it(tmp_path, content) -> None:
    with pytest.raises(UserError, match=r"tags\.csv.*(UTF-8|binary)") as caught:
        read(tmp_path, content)
    assert caught.value.exit_code == 1
    assert not isinstance(caught.value, NotTagsError)


@pytest.mark.parametrize(
    "content", ["", "\n\n", "Read me, please\nThis is text\n", "tags,count\nblue hair,12\n", "1,0,1,0\n"]
)
def test_other_text_is_no_tag_file(tmp_path, content) -> None:
    with pytest.raises(NotTagsError, match=r"tags\.csv is no tag file.*7,blue hair green eyes"):
        read(tmp_path, content)


def test_a_missing_file(tmp_path) -> None:
    for reader in (read_tags, read_prompts):
        with pytest.raises(UserError, match=r"none\.csv: No such file"):
            reader(tmp_path / "none.csv", SMALL)


def test_prompts_keep_their_order(tmp_path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("2,blue hair red eyes\n\n1,red eyes\n")
    assert read_prompts(path, SMALL) == [("2", (0, 2)), ("1", (UNKNOWN, 2))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,blue hair\n2,mauve hair\n", r"prompts\.txt:2: unknown hair 'mauve'; allowed: blue, red"),
        ("1,blue hair\n\n1,red hair\n", r"prompts\.txt:3: number '1' occurs twice"),
        ("1,blue hair red hair\n", r"prompts\.txt:1: .*hair twice"),
        ("blue hair\n", r"prompts\.txt:1: cannot read tags ''"),
        ("../1,blue hair\n", r"prompts\.txt:1: '\.\./1' is no image id"),
        ("\n", r"prompts\.txt:1: no prompt"),
    ],
)
def test_a_bad_prompt_is_a_usage_error_with_its_line(tmp_path, content, message) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        read_prompts(path, SMALL)


def test_real_tag_files(shared_data) -> None:
    formats = shared_data / "formats"
    for name, count in (("extra_tags_sample.csv", 200), ("label_sample.csv", 50)):
        table = read_tags(formats / name, REPORT_VOCABULARY)
        assert len(table.rows) == count
        assert table.problems == ()
    tags = {row.id: row for row in read_tags(shared_data / "anime-faces" / "tags.csv", REPORT_VOCABULARY).rows}
    assert len(tags) == 9000
    # Both come from the same source: the one-hot columns must say what the phrases say.
    both = [row for row in read_tags(formats / "label_sample.csv", REPORT_VOCABULARY).rows if row.id in tags]
    assert len(both) > 10
    assert all(tags[row.id] == row for row in both)


def test_real_tag_list_and_partial_tags(shared_data) -> None:
    table = read_tags(shared_data / "formats" / "tags_clean_made_up.csv", REPORT_VOCABULARY)
    assert len(table.rows) == 30
    assert {p for p in table.problems if not p.kind.startswith("missing")} == {
        Defect("several hair", "88", "black, blue"),
        Defect("several eyes", "90", "blue, green"),
        Defect("unknown eyes", "106", "silver"),
    }
    path = shared_data / "anime-faces" / "tags_partial.csv"
    with path.open(newline="") as file:
        written = list(csv.DictReader(file))
    partial = read_tags(path, REPORT_VOCABULARY)
    assert [REPORT_VOCABULARY.describe(row.labels) for row in partial.rows] == [
        " ".join(f"{row[group]} {group}" for group in ("hair", "eyes") if row[group]) for row in written
    ]
    assert Counter(p.kind for p in partial.problems) == {"missing eyes": 1500 + 757, "missing hair": 1500 + 243}


def test_real_files_without_ids(shared_data) -> None:
    for name in ("tags_clean_fragment.txt", "extra_tags_counts.csv"):
        with pytest.raises(NotTagsError, match=name):
            read_tags(shared_data / "formats" / name, REPORT_VOCABULARY)
    prompts = read_prompts(shared_data / "formats" / "testing_tags.txt", REPORT_VOCABULARY)
    assert [number for number, _ in prompts] == [str(number) for number in range(1, 26)]
    assert prompts[0][1] == REPORT_VOCABULARY.parse("blue hair blue eyes")
