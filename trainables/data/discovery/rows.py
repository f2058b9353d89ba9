"""What a layout reads from a data set before it is known which words are classes of a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainables.data.defects import Defect


@dataclass(frozen=True)
class RawRow:
    """Labels of one image as they are written.

    ``words`` are class words by group name; a group without words is unknown. ``tags`` are free tags in canonical
    form: a tag that is absent does not apply. ``None`` where an image has no list of tags.
    """

    id: str
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True)
class LeftOut:
    """A column, tag or class that is not part of the vocabulary, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class RawLabels:
    """Rows of a data set.

    ``declared`` has the classes of groups whose file states them, in that order. ``attributes`` are names of columns
    as they are written, where every group is one yes/no attribute.
    """

    rows: tuple[RawRow, ...]
    declared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    defects: tuple[Defect, ...] = ()
