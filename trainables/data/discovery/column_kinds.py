"""What the values of one column are: yes or no, class words, free tags, or nothing that labels an image."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from trainables.data.words import canonical, class_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_EMPTY: Final = frozenset({"", "nan", "null", "n/a"})
_TRUE: Final = frozenset({"true", "yes", "t", "y"})
_FALSE: Final = frozenset({"false", "no", "f", "n"})
_SPLIT: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
_TAG_COLUMNS: Final = frozenset({"tags", "tag_list", "taglist"})
_CLASS_COLUMNS: Final = frozenset({
    "label", "labels", "class", "cls", "target", "category", "y", "class_id", "label_id", "category_id",
})  # fmt: skip
"""Columns of class numbers, even if there are only 0 and 1."""
LONGEST_CLASS: Final = 5
"""Words in the longest name of a class; more are a sentence."""
_MANY: Final = 20
"""As many different values may be classes however few images there are."""
MOST_CLASSES: Final = 1000
"""Different values above which a column names images rather than classes."""


_SIDES: Final = frozenset({"xmin", "ymin", "xmax", "ymax", "width", "height"})
_SHORT_SIDES: Final = frozenset({"x", "y", "w", "h", "x1", "y1", "x2", "y2"})
"""Beside another one of them; alone, ``y`` is a class."""


class Kind(Enum):
    """Kinds of columns."""

    BITS = "0 or 1"
    SIGNS = "-1 or 1"
    FLAGS = "true or false"
    WORDS = "class words"
    TAGS = "free tags"
    OTHER = "no labels"


def is_empty(value: Any) -> bool:
    """Whether a cell says nothing."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _EMPTY) or value != value  # NaN


def box_columns(names: Iterable[str]) -> set[str]:
    """Columns that are called as the places and sizes of images and of boxes in them."""
    bare = {name: re.sub(r"[ _-]", "", name).lower() for name in names}
    short = {name for name, word in bare.items() if word in _SHORT_SIDES}
    return {name for name, word in bare.items() if word in _SIDES} | (short if len(short) > 1 else set())


def kind_of(values: Sequence[Any], name: str = "", *, box: bool = False) -> tuple[Kind, str]:
    """Kind of the non-empty values of a column, and for OTHER the reason; numbers of a ``box`` are no classes."""
    if not values:
        return Kind.OTHER, "no values"
    if all(isinstance(value, list | tuple) for value in values):
        return _listed(values)
    if not all(isinstance(value, bool | int | float | str) for value in values):
        return Kind.OTHER, "neither text nor numbers"
    if name.strip().lower() in _TAG_COLUMNS or name.startswith("tag_string"):
        return Kind.TAGS, ""
    texts = [str(value).strip() for value in values]
    numbers = [_number(text) for text in texts]
    if all(isinstance(value, bool) for value in values) or {text.lower() for text in texts} <= _TRUE | _FALSE:
        return Kind.FLAGS, ""
    if all(number is not None for number in numbers):
        if box:
            return Kind.OTHER, "measurements, not classes"
        kind, why = _numeric({number for number in numbers if number is not None}, texts)
        return (Kind.WORDS if kind is Kind.BITS and name.strip().lower() in _CLASS_COLUMNS else kind), why
    return _textual(texts, name)


def truth(value: Any) -> bool:
    """Whether a cell of a yes/no column says yes."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    return text in _TRUE or (_number(text) or 0.0) > 0


def split_tags(value: Any) -> tuple[str, ...]:
    """Tags of a cell: a list, or text that commas, or else spaces between underscored words, separate."""
    if isinstance(value, list | tuple):
        parts: Iterable[str] = map(str, value)
    else:
        text = str(value)
        parts = text.split(",") if "," in text or "_" not in text else text.split()
    return tuple(dict.fromkeys(tag for part in parts if (tag := canonical(part))))


def _listed(values: Sequence[Any]) -> tuple[Kind, str]:
    if all(isinstance(entry, str) for value in values for entry in value):
        return Kind.TAGS, ""
    return Kind.OTHER, "lists of something else than text"


def _numeric(numbers: set[float], texts: Sequence[str]) -> tuple[Kind, str]:
    if numbers <= {0.0, 1.0}:
        return Kind.BITS, ""
    if numbers <= {-1.0, 0.0, 1.0}:
        return Kind.SIGNS, ""
    if any(number != math.floor(number) for number in numbers if math.isfinite(number)):
        return Kind.OTHER, "measurements, not classes"
    return _few_enough(len(numbers), len(texts))


def _textual(texts: Sequence[str], name: str) -> tuple[Kind, str]:
    if {text.lower() for text in texts} <= _SPLIT and name.strip().lower() not in {"label", "class"}:
        return Kind.OTHER, "names the split"
    if any("\n" in text or "\r" in text for text in texts):
        return Kind.OTHER, "text of several lines"
    lists = sum("," in text for text in texts) * 2 >= len(texts)
    spaced = sum("_" in text and len(text.split()) > 1 for text in texts) * 2 >= len(texts)
    if lists or spaced:
        return Kind.TAGS, ""
    if any(len(text.split()) > LONGEST_CLASS for text in texts):
        return Kind.OTHER, "sentences, not classes"
    return _few_enough(len({class_name(text) for text in texts}), len(texts))


def _few_enough(different: int, rows: int) -> tuple[Kind, str]:
    if different > MOST_CLASSES:
        return Kind.OTHER, f"{different:,} different values; at most {MOST_CLASSES:,} are classes"
    if different > max(_MANY, rows / 2):
        return Kind.OTHER, f"{different:,} different values in {rows:,} rows"
    return Kind.WORDS, ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
