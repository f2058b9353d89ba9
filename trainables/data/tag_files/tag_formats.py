"""The formats of tag files: which words a row, without its id, has for each tag group."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from trainables.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainables.data.tags import Vocabulary


class UnreadableRow(Exception):  # noqa: N818 - a finding about the data
    """A row that is not in the format of its file."""


class Format(Protocol):
    """One format, for one vocabulary."""

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of columns that mean nothing here."""

    def recognises(self, cells: Sequence[str]) -> bool:
        """Whether a row that says something is in this format."""

    def words(self, cells: Sequence[str]) -> dict[str, list[str]]:
        """Words per group name, lower case, in the order written; ``UnreadableRow`` when out of format."""


@dataclass(frozen=True)
class _Base:
    vocabulary: Vocabulary

    @property
    def ignored(self) -> tuple[str, ...]:
        """No column means nothing, unless a format says otherwise."""
        return ()


@dataclass(frozen=True)
class Phrases(_Base):
    """``blue hair red eyes``, in any order; nothing at all is an image without tags."""

    def recognises(self, cells: Sequence[str]) -> bool:
        """Whether the row consists of phrases."""
        return bool(cells) and _holds(self.words, cells)

    def words(self, cells: Sequence[str]) -> dict[str, list[str]]:
        """Read ``<class> <group>`` phrases."""
        text = ",".join(_some(cells)).strip()
        found: dict[str, list[str]] = {}
        try:
            for noun, word in self.vocabulary.phrases(text) if text else ():
                found.setdefault(noun, []).append(word)
        except UsageError as error:
            raise UnreadableRow(str(error)) from error
        return found


@dataclass(frozen=True)
class TagList(_Base):
    """``blonde hair:25457<TAB>doll:1040<TAB>``: an image board's tags with their counts, most of no concern here."""

    def recognises(self, cells: Sequence[str]) -> bool:
        """Whether every tag has its count."""
        tags = _tab_separated(cells)
        return bool(tags) and all(_COUNTED.fullmatch(tag) for tag in tags)

    def words(self, cells: Sequence[str]) -> dict[str, list[str]]:
        """Read the tags that end in the name of a group; ``heterochromia`` speaks of the eyes without naming them."""
        _some(cells)
        found: dict[str, list[str]] = {}
        for entry in _tab_separated(cells):
            tag = " ".join(_COUNT.sub("", entry).lower().replace("_", " ").split())
            for group in self.vocabulary.names:
                if tag.endswith(f" {group}"):
                    found.setdefault(group, []).append(tag.removesuffix(f" {group}"))
                elif tag == IMPLIED.get(group):
                    found.setdefault(group, []).append(tag)
        return found


@dataclass(frozen=True)
class OneHot(_Base):
    """``0,0,1,...``: a 0 or 1 per class, groups in the vocabulary's ``one_hot_order``."""

    def recognises(self, cells: Sequence[str]) -> bool:
        """Whether the row has the right number of zeros and ones."""
        return _holds(self.words, cells)

    def words(self, cells: Sequence[str]) -> dict[str, list[str]]:
        """Read the classes whose column is 1."""
        groups = [self.vocabulary.groups[self.vocabulary.index(name)] for name in self.vocabulary.one_hot_order]
        columns = [(group.name, word) for group in groups for word in group.classes]
        values = [cell.strip() for cell in cells]
        if len(values) != len(columns) or not _BITS.issuperset(values):
            raise UnreadableRow(f"expected {len(columns)} columns of 0 or 1, found {len(values)} columns")
        found: dict[str, list[str]] = {}
        for (group, word), value in zip(columns, values, strict=True):
            if float(value):
                found.setdefault(group, []).append(word)
        return found


@dataclass(frozen=True)
class Columns(_Base):
    """A bare class per column, in the columns that the header ``id,hair,eyes`` names; empty where unknown."""

    header: tuple[str, ...]

    @classmethod
    def from_header(cls, cells: Sequence[str], vocabulary: Vocabulary) -> Columns | None:
        """Take a file's first row as the header if it reads like one."""
        first, *names = (cell.strip().lower() for cell in cells)
        return cls(vocabulary, tuple(names)) if first == "id" and set(names) & set(vocabulary.names) else None

    @property
    def ignored(self) -> tuple[str, ...]:
        """Columns that no group is named after."""
        return tuple(name for name in self.header if name not in self.vocabulary.names)

    def recognises(self, cells: Sequence[str]) -> bool:
        """Whether this is a row of values, not the header again."""
        return tuple(cell.strip().lower() for cell in cells) != self.header

    def words(self, cells: Sequence[str]) -> dict[str, list[str]]:
        """Read one class per named column."""
        if len(cells) != len(self.header):
            raise UnreadableRow(f"expected {1 + len(self.header)} columns, found {1 + len(cells)}")
        values = (" ".join(cell.lower().split()) for cell in cells)
        found: dict[str, list[str]] = {}
        for name, value in zip(self.header, values, strict=True):
            if value:
                found.setdefault(name, []).append(value)
        return found


def row_formats(vocabulary: Vocabulary) -> tuple[Format, ...]:
    """Give the formats that are told by their rows; ``Columns`` is told by its header."""
    return Phrases(vocabulary), TagList(vocabulary), OneHot(vocabulary)


_COUNT: Final = re.compile(r":\d+$")
_COUNTED: Final = re.compile(r".+:\d+")
_BITS: Final = frozenset({"0", "1", "0.0", "1.0"})
IMPLIED: Final = {"eyes": "heterochromia"}


def _tab_separated(cells: Sequence[str]) -> list[str]:
    return [tag.strip() for tag in ",".join(cells).split("\t") if tag.strip()]


def _some(cells: Sequence[str]) -> Sequence[str]:
    if not cells:
        raise UnreadableRow("no comma after the id")
    return cells


def _holds(read: Callable[[Sequence[str]], object], cells: Sequence[str]) -> bool:
    try:
        read(cells)
    except UnreadableRow:
        return False
    return True
