"""Requests for tags."""

import pytest

from trainables.data.tags import UNKNOWN, TagGroup, Vocabulary
from trainables.errors import UsageError

PETS = Vocabulary((TagGroup("class", ("bird", "cat", "golden_retriever")),))
FACES = Vocabulary((TagGroup("hair", ("red", "blue")), TagGroup("eyes", ("green", "red"))))


@pytest.mark.parametrize(
    ("text", "label"), [("cat", 1), (" Cat ", 1), ("cat class", 1), ("golden retriever", 2), ("Golden_Retriever", 2)]
)
def test_a_class_needs_no_group_where_there_is_only_one(text: str, label: int) -> None:
    assert PETS.parse(text) == (label,)


def test_a_class_of_one_group_alone_leaves_the_others_open() -> None:
    assert FACES.parse("blue") == (1, UNKNOWN)
    assert FACES.parse("green") == (UNKNOWN, 0)


@pytest.mark.parametrize(
    ("vocabulary", "text"),
    [(FACES, "red"), (FACES, "blue green"), (FACES, "blue, green"), (PETS, "dog"), (PETS, "cat bird"), (PETS, " ")],
)
def test_what_names_no_class_or_several_is_refused(vocabulary: Vocabulary, text: str) -> None:
    with pytest.raises(UsageError, match=rf"^cannot read tags '{text}'; expected for instance '<class> "):
        vocabulary.parse(text)
