"""Groups in free tags: mutually exclusive tags with a common last word, and yes/no attributes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trainables.data.discovery.column_kinds import LONGEST_CLASS
from trainables.data.discovery.columns import YES_NO
from trainables.data.discovery.rows import LeftOut
from trainables.data.tags import TagGroup
from trainables.data.words import NOT_COLOURS, class_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_OVERLAP: Final = 0.1
"""Share of a tag's images that may have another class of its group."""
_COVERAGE: Final = 0.5
"""Share of images that a group of tags must label."""
_RARE_CLASS: Final = 0.002
RARE: Final = 0.05
"""Share of images below which (and above one minus which) a yes/no attribute is left out."""
MOST_ATTRIBUTES: Final = 8
"""Yes/no attributes used unless others are asked for; those nearest to half and half."""
_NAMED: Final = 200
"""Tags left out that are named one by one."""


@dataclass(frozen=True)
class TagGroups:
    """Groups found in free tags.

    ``words`` says for each tag of a group which (group, class) it is; the ``attributes`` are tags of groups of their
    own with the classes ``no`` and ``yes``.
    """

    groups: tuple[TagGroup, ...]
    words: dict[str, tuple[str, str]]
    attributes: tuple[TagGroup, ...]
    left_out: tuple[LeftOut, ...]


def find_tag_groups(lists: Sequence[Iterable[str]]) -> TagGroups:
    """Find groups in the canonical tags of images, one list for each image."""
    images: dict[str, set[int]] = {}
    for place, tags in enumerate(lists):
        for tag in tags:
            images.setdefault(tag, set()).add(place)
    groups: list[TagGroup] = []
    words: dict[str, tuple[str, str]] = {}
    taken: Counter[str] = Counter()
    for (head, _), family in _families(images, len(lists)).items():
        for clique in sorted(_exclusive(family, images), key=len, reverse=True):
            covered = set().union(*(images[tag] for tag in clique))
            classes = {tag: class_name(tag.removesuffix(f" {head}")) for tag in clique}
            if len(set(classes.values())) < max(2, len(clique)) or len(covered) < _COVERAGE * len(lists):
                continue
            taken[head] += 1
            name = head if taken[head] == 1 else f"{head} {taken[head]}"
            groups.append(TagGroup(name, tuple(sorted(classes.values()))))
            words |= {tag: (name, word) for tag, word in classes.items()}
    attributes, left_out = _attributes(images, len(lists), words, {group.name for group in groups})
    return TagGroups(tuple(groups), words, attributes, left_out)


def _families(images: dict[str, set[int]], count: int) -> dict[tuple[str, bool], list[str]]:
    """Tags by last word, without sentences; those that describe ("long hair") apart from those that may be classes."""
    families: dict[tuple[str, bool], list[str]] = {}
    for tag, places in sorted(images.items(), key=lambda item: (-len(item[1]), item[0])):
        first, _, head = tag.rpartition(" ")
        few_words = 1 <= len(first.split()) <= LONGEST_CLASS
        if few_words and class_name(head) == head and class_name(first) and len(places) >= _RARE_CLASS * count:
            families.setdefault((head, first.split()[-1] in NOT_COLOURS), []).append(tag)
    return dict(sorted(families.items(), key=lambda item: item[0][1]))


def _exclusive(family: Sequence[str], images: dict[str, set[int]]) -> list[list[str]]:
    """Split a family into sets of tags of which hardly any image has two, the commonest tags first."""
    cliques: list[tuple[list[str], set[int]]] = []
    for tag in family:
        for clique, covered in cliques:
            if len(images[tag] & covered) <= _OVERLAP * len(images[tag]):
                clique.append(tag)
                covered |= images[tag]
                break
        else:
            cliques.append(([tag], set(images[tag])))
    return [clique for clique, _ in cliques]


def _attributes(
    images: dict[str, set[int]], count: int, words: dict[str, tuple[str, str]], names: set[str]
) -> tuple[tuple[TagGroup, ...], tuple[LeftOut, ...]]:
    kept: list[tuple[int, str]] = []
    left_out = []
    for tag, places in sorted(images.items(), key=lambda item: (-len(item[1]), item[0])):
        share = len(places) / count
        if tag in words:
            continue
        if not RARE <= share <= 1 - RARE or len(places) < 2:
            left_out.append(LeftOut(tag, f"{'on nearly all' if share > 0.5 else 'rare'}: {share:.1%} of the images"))
        elif len(tag.split()) > LONGEST_CLASS:
            left_out.append(LeftOut(tag, "a sentence, not a tag"))
        elif class_name(tag) != tag or tag in names:
            left_out.append(LeftOut(tag, "cannot name a group"))
        else:
            kept.append((abs(2 * len(places) - count), tag))
    kept.sort()
    left_out += [LeftOut(tag, more_than_most()) for _, tag in kept[MOST_ATTRIBUTES:]]
    if len(left_out) > _NAMED:
        left_out[_NAMED:] = [LeftOut(f"{len(left_out) - _NAMED:,} more tags", "as those above")]
    return tuple(TagGroup(tag, YES_NO) for _, tag in kept[:MOST_ATTRIBUTES]), tuple(left_out)


def more_than_most() -> str:
    """Why an attribute is not among those used."""
    return f"more than {MOST_ATTRIBUTES} attributes: those nearest to half yes and half no are used"
