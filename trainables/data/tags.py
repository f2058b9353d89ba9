"""The tag vocabulary as data: groups of classes, and the text in which people write tags.

The default is the reports' own: 12 hair colours and 11 eye colours in the order public code uses.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from trainables.data.words import match_class
from trainables.errors import UsageError, UserError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

UNKNOWN = -1
"""Label of an image whose tag of a group is missing or unusable: masked in every loss."""

RESERVED = "both"
"""No group has this name: accuracies by group have the accuracy over all groups beside them under it."""

_NAME = re.compile(r"[\w][\w .+-]{0,63}")


def is_name(text: str) -> bool:
    """Whether a text can name a group or a class."""
    return _NAME.fullmatch(text) is not None and text == text.strip().lower()


@dataclass(frozen=True)
class TagGroup:
    """One kind of tag: ``name`` is the noun ("hair"), ``classes`` the adjectives ("blue", ...)."""

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for text in (self.name, *self.classes):
            if not is_name(text):
                raise UsageError(
                    f"tag vocabulary: {text!r} is not a name; allowed are 1 to 64 lower-case letters, "
                    "digits, spaces and . + - _"
                )
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise UsageError(
                f"tag vocabulary: group {self.name!r} has classes {list(self.classes)}; "
                "two or more different ones are needed"
            )


@dataclass(frozen=True)
class Vocabulary:
    """Groups of classes. Labels of an image are one class index per group, or ``UNKNOWN``.

    ``one_hot_order`` is the order of the groups in the columns of one-hot label files; it defaults to
    the order of ``groups``.
    """

    groups: tuple[TagGroup, ...]
    one_hot_order: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        if not names or len(set(names)) != len(names):
            raise UsageError(f"tag vocabulary: groups {names}; one or more with different names are needed")
        for name in names:
            if name == RESERVED or name.removeprefix("macro_") in set(names) - {name}:
                raise UsageError(
                    f"tag vocabulary: group {name!r} would be mistaken for the score tag_accuracy_{name}; "
                    "rename the group"
                )
        if not self.one_hot_order:
            object.__setattr__(self, "one_hot_order", tuple(names))
        elif sorted(self.one_hot_order) != sorted(names):
            raise UsageError(f"tag vocabulary: one_hot_order {list(self.one_hot_order)} must name {names}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the groups, in order."""
        return tuple(group.name for group in self.groups)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of classes of each group."""
        return tuple(len(group.classes) for group in self.groups)

    def index(self, group: str) -> int:
        """Position of a group; an unknown name is a usage error."""
        if group not in self.names:
            raise UsageError(
                f"unknown tag group {group!r}; allowed: {', '.join(self.names)}{nearest(group, self.names)}"
            )
        return self.names.index(group)

    def class_index(self, group: str, name: str) -> int:
        """Index of class ``name`` within ``group``; an unknown one is a usage error that lists the allowed."""
        classes = self.groups[self.index(group)].classes
        folded = " ".join(name.lower().split())
        if (found := match_class(folded, classes)) is None:
            raise UsageError(f"unknown {group} {name!r}; allowed: {', '.join(classes)}{nearest(folded, classes)}")
        return classes.index(found)

    @cached_property
    def _phrase(self) -> re.Pattern[str]:
        nouns = sorted((re.escape(name) for name in self.names), key=len, reverse=True)
        return re.compile(rf"(?P<adjective>[^,;]*?)\b(?P<noun>{'|'.join(nouns)})\b[\s,;]*", re.IGNORECASE)

    def phrases(self, text: str) -> list[tuple[str, str]]:
        """Split ``"Red eyes, blue hair"`` into ``[("eyes", "red"), ("hair", "blue")]``, in any order and case.

        A user error when something is left over that is no ``<class> <group>`` phrase.
        """
        found: list[tuple[str, str]] = []
        position = 0
        while match := self._phrase.match(text, position):
            adjective = " ".join(match["adjective"].lower().split())
            found.append((match["noun"].lower(), adjective))
            position = match.end()
        if text[position:].strip(" ,;\t\r\n") or not found or any(not word for _, word in found):
            form = " ".join(f"<class> {name}" for name in self.names)
            raise UsageError(f"cannot read tags {text!r}; expected for instance {form!r}")
        return found

    def parse(self, text: str) -> tuple[int, ...]:
        """Labels of ``"blue hair red eyes"``; a group that is not mentioned is ``UNKNOWN``.

        A class of one group alone needs no group: ``"cat"`` where the only classes are animals.

        Raises:
            UsageError: an unknown class or group, or two classes of one group.
        """
        labels = [UNKNOWN] * len(self.groups)
        for noun, adjective in self._class_alone(text) or self.phrases(text):
            place = self.index(noun)
            if labels[place] != UNKNOWN:
                raise UsageError(f"tags {text!r} name {noun} twice; one class of each group is allowed")
            labels[place] = self.class_index(noun, adjective)
        return tuple(labels)

    def _class_alone(self, text: str) -> list[tuple[str, str]]:
        """Return the phrase of a text that is a class of exactly one group; nothing if it names a group."""
        word = " ".join(text.lower().replace("_", " ").split())
        if not word or self._phrase.match(word):
            return []
        named = [
            (group.name, name) for group in self.groups for name in group.classes if name.replace("_", " ") == word
        ]
        return named if len(named) == 1 else []

    def describe(self, labels: Sequence[int]) -> str:
        """``"blue hair red eyes"``; groups with an unknown tag are left out."""
        return " ".join(
            f"{group.classes[label]} {group.name}"
            for group, label in zip(self.groups, labels, strict=True)
            if label != UNKNOWN
        )

    def example(self, place: int = 0) -> str:
        """Tags such as somebody may ask for: of each group the class at ``place``, or its last."""
        return self.describe([min(place, size - 1) for size in self.sizes])

    def to_json(self) -> dict[str, Any]:
        """A plain dict that ``from_json`` reads back."""
        return dataclasses.asdict(self)

    def to_text(self) -> str:
        """JSON with a line for each group, for people to edit."""
        lines = [json.dumps(dataclasses.asdict(group), ensure_ascii=False) for group in self.groups]
        order = "" if self.one_hot_order == self.names else f', "one_hot_order": {json.dumps(self.one_hot_order)}'
        return '{"groups": [\n  ' + ",\n  ".join(lines) + f"\n]{order}}}\n"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vocabulary:
        """Read ``{"groups": [{"name": ..., "classes": [...]}], "one_hot_order": [...]}``."""
        try:
            groups = tuple(TagGroup(str(g["name"]), tuple(str(c) for c in g["classes"])) for g in data["groups"])
            return cls(groups, tuple(str(name) for name in data.get("one_hot_order", ())))
        except (KeyError, TypeError) as error:
            raise UserError(
                'tag vocabulary: expected {"groups": [{"name": "colour", "classes": ["red", "blue"]}]}, '
                f"found {str(data)[:80]!r} ({error})"
            ) from error

    @classmethod
    def from_file(cls, path: Path) -> Vocabulary:
        """Read a vocabulary from a JSON file."""
        try:
            return cls.from_bytes(path.read_bytes(), str(path))
        except OSError as error:
            raise UserError(f"cannot read tag vocabulary {path}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Vocabulary:
        """Read a vocabulary from the content of a JSON file; ``place`` names it in errors."""
        try:
            return cls.from_json(json.loads(data.decode("utf-8-sig")))
        except (ValueError, RecursionError, UserError) as error:
            reason = str(error).removeprefix("tag vocabulary: ")
            raise UserError(f"cannot read tag vocabulary {place}: {reason}") from error

    @cached_property
    def hash(self) -> str:
        """16 hex digits that change with any group, class or order."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def combinations(labels: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Every different row of ``(n, groups)`` labels, in the order of first appearance (F)."""
    return tuple(dict.fromkeys(map(tuple, labels.tolist())))


REPORT_VOCABULARY = Vocabulary(
    groups=(
        TagGroup(
            "hair",
            (
                "orange", "white", "aqua", "gray", "green", "red",
                "purple", "pink", "blue", "black", "brown", "blonde",
            ),
        ),
        TagGroup(
            "eyes",
            (
                "gray", "black", "orange", "pink", "yellow", "aqua",
                "purple", "green", "brown", "red", "blue",
            ),
        ),
    ),
    one_hot_order=("eyes", "hair"),
)  # fmt: skip
"""The reports' 12 hair and 11 eye colours; one-hot label files put the eyes first."""

REPORT_PAIRS: tuple[tuple[int, ...], ...] = tuple(
    (hair, eyes)
    for hair in range(12)
    for eyes in range(1, 11)  # no gray eyes
    if (hair, eyes) != (6, 1)  # no purple hair with black eyes
)
"""The 119 combinations that occur in the data of report F."""
