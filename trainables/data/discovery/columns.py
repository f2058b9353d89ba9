"""Tables with named columns -> labels: the names decide what a column means, never its position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from trainables.data.defects import Defect
from trainables.data.discovery.column_kinds import Kind, box_columns, is_empty, kind_of, split_tags, truth
from trainables.data.discovery.rows import LeftOut, RawLabels, RawRow
from trainables.data.words import canonical, class_name, group_name
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainables.data.tags import Vocabulary

    Record = tuple[str, Mapping[str, Any]]

YES_NO: Final = ("no", "yes")
CLASS: Final = "class"
"""Name of a group that the data give no name."""
_EXACT: Final = 0.95
"""Share of rows with exactly one 1 that makes columns of 0 and 1 the classes of one group."""


class ForeignColumnsError(UserError):
    """Columns that name nothing of a given vocabulary."""


@dataclass(frozen=True)
class Column:
    """A column with the kind of its values."""

    name: str
    kind: Kind
    why: str


def read_columns(
    records: Sequence[Record], vocabulary: Vocabulary | None, declared: Mapping[str, Sequence[str]] | None = None
) -> RawLabels:
    """Labels of a table: ``records`` are ids with the cells of their named columns.

    ``declared`` has the class names of columns whose cells are class numbers.

    Raises:
        ForeignColumnsError: no column names a group or class of the given vocabulary.
    """
    names = list(dict.fromkeys(name for _, cells in records for name in cells))
    named = {name: tuple(classes) for name, classes in (declared or {}).items() if name in names}
    records, defects = _spelled_out(records, named)
    columns, boxes = [], box_columns(names)
    for name in names:
        values = [cells[name] for _, cells in records if name in cells and not is_empty(cells[name])]
        kind = (Kind.WORDS, "") if name in named else kind_of(values, name, box=name in boxes)
        columns.append(Column(name, *kind))
    if vocabulary is not None:
        return _by_vocabulary(records, columns, vocabulary, defects)
    groups = {group_name(name): tuple(map(class_name, classes)) for name, classes in named.items()}
    return _as_found(records, columns, groups, defects)


def _spelled_out(
    records: Sequence[Record], named: Mapping[str, tuple[str, ...]]
) -> tuple[Sequence[Record], list[Defect]]:
    """Replace class numbers by class names; -1 is no class, and numbers beyond the names are defects."""
    if not named:
        return records, []
    spelled, defects = [], []
    for key, cells in records:
        texts = dict(cells)
        for name, classes in named.items():
            value = cells.get(name)
            if isinstance(value, int) and 0 <= value < len(classes):
                texts[name] = classes[value]
            elif isinstance(value, int):
                texts[name] = None
                if value != -1:
                    defects.append(Defect("label out of range", key, f"{name} {value}, there are {len(classes)}"))
        spelled.append((key, texts))
    return spelled, defects


def _as_found(
    records: Sequence[Record],
    columns: Sequence[Column],
    declared: Mapping[str, tuple[str, ...]],
    defects: Sequence[Defect],
) -> RawLabels:
    left_out = [LeftOut(column.name, column.why) for column in columns if column.kind is Kind.OTHER]
    families = _families(records, [column.name for column in columns if column.kind in {Kind.BITS, Kind.FLAGS}])
    in_family = {name for family in families.values() for name in family}
    yes_no = {Kind.BITS, Kind.FLAGS, Kind.SIGNS}
    flags = [column.name for column in columns if column.kind in yes_no and column.name not in in_family]
    words = [column.name for column in columns if column.kind is Kind.WORDS]
    tags = [column.name for column in columns if column.kind is Kind.TAGS]
    signed = any(column.kind is Kind.SIGNS for column in columns)
    rows = []
    for key, cells in records:
        found = {group_name(name): _class_words(cells.get(name)) for name in words}
        found |= {
            group: tuple(word for name, word in family.items() if _says_yes(cells.get(name)))
            for group, family in families.items()
        }
        found |= {group_name(name): _yes_no(cells.get(name), signed) for name in flags}
        listed = [cells.get(name) for name in tags if not is_empty(cells.get(name))]
        free = tuple(tag for value in listed for tag in split_tags(value)) if listed else None
        rows.append(RawRow(key, found, free))
    orders = {group: tuple(family.values()) for group, family in families.items()}
    orders |= {group_name(name): YES_NO for name in flags}
    only_flags = bool(flags) and not (families or words or tags)
    return RawLabels(
        tuple(rows), {**declared, **orders}, tuple(flags) if only_flags else (), tuple(left_out), tuple(defects)
    )


def _says_yes(value: Any) -> bool:
    return not is_empty(value) and truth(value)


def _class_words(value: Any) -> tuple[str, ...]:
    word = "" if is_empty(value) else class_name(_whole(value))
    return (word,) if word else ()


def _whole(value: Any) -> str:
    """``3.0``, as pandas writes whole numbers of a column with gaps, is ``3``."""
    text = str(value).strip()
    return text.removesuffix(".0") if text.removesuffix(".0").lstrip("-").isdecimal() else text


def _yes_no(value: Any, signed: bool) -> tuple[str, ...]:
    """In a table with -1, 0 is unspecified: in that cell alone."""
    if is_empty(value) or (signed and str(value).strip() in {"0", "0.0"}):
        return ()
    return (YES_NO[truth(value)],)


def _families(records: Sequence[Record], names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Columns of 0 and 1 that are the classes of one group: ``{group: {column: class}}``.

    Columns with a common last word (``blue hair``, ``red hair``), a common first word (``hair_blue``), or all of
    them; of each family almost every row must have exactly one 1.
    """
    families: dict[str, dict[str, str]] = {}
    left = {name: canonical(name).split() for name in names}
    for place in (-1, 0):
        heads: dict[str, list[str]] = {}
        for name, words in left.items():
            if len(words) > 1:
                heads.setdefault(words[place], []).append(name)
        for head, members in heads.items():
            rest = slice(None, -1) if place == -1 else slice(1, None)
            family = {name: class_name(" ".join(left[name][rest])) for name in members}
            if _exclusive(records, family) and class_name(head):
                families.setdefault(class_name(head), family)
        left = {name: words for name, words in left.items() if not any(name in family for family in families.values())}
    everything = {name: class_name(name) for name in left}
    if len(everything) > 1 and _exclusive(records, everything):
        families[CLASS] = everything
    return families


def _exclusive(records: Sequence[Record], family: Mapping[str, str]) -> bool:
    if len(family) < 2 or len(set(family.values())) < len(family) or not all(family.values()):
        return False
    ones = [sum(_says_yes(cells.get(name)) for name in family) for _, cells in records]
    return ones.count(1) >= _EXACT * len(ones)


def _by_vocabulary(
    records: Sequence[Record], columns: Sequence[Column], vocabulary: Vocabulary, defects: Sequence[Defect]
) -> RawLabels:
    """Take the columns that name a group or a class; the others are left out."""
    places: dict[str, tuple[str, str]] = {}
    left_out = []
    tags = []
    for column in columns:
        if found := _meaning(column, vocabulary):
            places[column.name] = found
        elif column.kind is Kind.TAGS:
            tags.append(column.name)
        else:
            left_out.append(LeftOut(column.name, "names no group or class of the vocabulary"))
    if not places and not tags:
        raise ForeignColumnsError(
            f"the header names {', '.join(repr(column.name) for column in columns[:5]) or 'no columns'}; expected "
            f"columns named after the groups {', '.join(vocabulary.names)}, or after their classes, for instance "
            f"'{vocabulary.groups[0].classes[0]} {vocabulary.names[0]}'"
        )
    signed = any(column.kind is Kind.SIGNS for column in columns)
    rows = []
    for key, cells in records:
        words: dict[str, tuple[str, ...]] = dict.fromkeys(vocabulary.names, ())
        for name, (group, word) in places.items():
            said: tuple[str, ...] = (word,) if word and _says_yes(cells.get(name)) else ()
            if not word:
                classes = vocabulary.groups[vocabulary.index(group)].classes
                said = _class_words(cells.get(name))
                if classes == YES_NO and not set(said) <= {*YES_NO}:
                    said = _yes_no(cells.get(name), signed)
            words[group] += said
        listed = [cells.get(name) for name in tags if not is_empty(cells.get(name))]
        free = tuple(tag for value in listed for tag in split_tags(value)) if listed else None
        rows.append(RawRow(key, words, free))
    return RawLabels(tuple(rows), left_out=tuple(left_out), defects=tuple(defects))


def _meaning(column: Column, vocabulary: Vocabulary) -> tuple[str, str] | None:
    """Group that a column is named after, or group and class; a class of several groups must name its group.

    Raises:
        ForeignColumnsError: the name of a class of several groups.
    """
    wanted = canonical(column.name)
    for group in vocabulary.groups:
        if canonical(group.name) == wanted:
            return group.name, ""
    if column.kind not in {Kind.BITS, Kind.FLAGS, Kind.SIGNS}:
        return None
    bare = []
    for group in vocabulary.groups:
        for word in group.classes:
            both = canonical(group.name), canonical(word)
            if wanted in {f"{both[1]} {both[0]}", f"{both[0]} {both[1]}"}:
                return group.name, word
            if wanted == both[1]:
                bare.append((group.name, word))
    if len(bare) > 1:
        raise ForeignColumnsError(
            f"column {column.name!r} is a class of {' and of '.join(group for group, _ in bare)}; name it "
            f"'{bare[0][1]} {bare[0][0]}'"
        )
    return bare[0] if bare else None
