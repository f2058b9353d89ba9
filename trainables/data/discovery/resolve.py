"""Labels as they are written -> a vocabulary, given or found in them, and class indices."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trainables.data.discovery.columns import YES_NO
from trainables.data.discovery.rows import LeftOut, RawLabels, RawRow
from trainables.data.discovery.tag_groups import MOST_ATTRIBUTES, RARE, find_tag_groups, more_than_most
from trainables.data.tag_files.readers import TagRow, settle
from trainables.data.tag_files.tag_formats import IMPLIED
from trainables.data.tags import TagGroup, Vocabulary, is_name
from trainables.data.words import NOT_COLOURS, canonical, group_name
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from trainables.data.defects import Defect

_NUMBERED: Final = re.compile(r" \d+$")


class NoGroupsError(UserError):
    """Labels in which there is no group of two classes."""


@dataclass(frozen=True)
class Resolved:
    """Class indices of each row, what they mean, and what was left out of the vocabulary.

    ``attributes`` are the names of the groups as they are written, where each is a yes/no attribute that may be
    chosen; ``usual`` the places of those that are used when none is chosen.
    """

    vocabulary: Vocabulary
    rows: tuple[TagRow, ...]
    attributes: tuple[str, ...] = ()
    usual: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    defects: tuple[Defect, ...] = ()


def resolve(labels: RawLabels, given: Vocabulary | None, place: str) -> Resolved:
    """Settle the labels of ``place`` in the words of ``given``, or else of the vocabulary found in them.

    Raises:
        NoGroupsError: nothing in the labels divides the images into classes.
    """
    left_out = list(labels.left_out)
    vocabulary = given or _found(labels, left_out, place)
    phrases = {
        canonical(f"{word} {_NUMBERED.sub('', group.name)}"): (group.name, word)
        for group in vocabulary.groups
        for word in group.classes
    }
    columns = {name for row in labels.rows for name, said in row.words.items() if said}
    rows, faults = [], list(labels.defects)
    for row in labels.rows:
        words = {name: list(said) for name, said in row.words.items()}
        for name, said in _tag_words(row.tags, vocabulary, phrases, columns).items():
            words.setdefault(name, []).extend(said)
        settled, defects = settle(row.id, words, vocabulary)
        rows.append(settled)
        faults += defects
    if given is not None and not any(row.known for row in rows):
        raise NoGroupsError(f"{place} has no label in the words of the vocabulary ({', '.join(vocabulary.names)})")
    if given is None:
        attributes, usual = _attributes(labels, vocabulary, rows, left_out)
    else:
        attributes, usual = _given_attributes(labels, given)
    return Resolved(vocabulary, tuple(rows), attributes, usual, tuple(left_out), tuple(faults))


def _found(labels: RawLabels, left_out: list[LeftOut], place: str) -> Vocabulary:
    groups = _word_groups(labels, left_out)
    lists = [row.tags for row in labels.rows if row.tags is not None]
    if lists:
        found = find_tag_groups(lists)
        names = {group.name for group in groups}
        groups += [group for group in (*found.groups, *found.attributes) if group.name not in names]
        left_out += found.left_out
    if not groups:
        why = "; ".join(f"{one.name}: {one.why}" for one in left_out[:3]) or _faults(labels)
        raise NoGroupsError(f"{place} has no labels that divide the images into classes ({why})")
    return Vocabulary(tuple(groups))


def _faults(labels: RawLabels) -> str:
    """Why there are no words at all."""
    if not labels.defects:
        return "its captions are empty" if any(row.tags is not None for row in labels.rows) else "it has no label"
    first = labels.defects[0]
    same = sum(defect.kind == first.kind for defect in labels.defects)
    return f"{same} {first.kind}, first {first.name}{f': {first.detail}' if first.detail else ''}"


def _word_groups(labels: RawLabels, left_out: list[LeftOut]) -> list[TagGroup]:
    """A group for each column; classes in the order that the data declare, else numbers by value and words by name."""
    counts: dict[str, Counter[str]] = {}
    for row in labels.rows:
        for name, words in row.words.items():
            counts.setdefault(name, Counter()).update(words)
    groups = []
    for name, found in counts.items():
        declared = labels.declared.get(name, ())
        unused = [word for word in declared if word not in found]
        order = [word for word in dict.fromkeys(declared) if word in found or declared == YES_NO]
        classes = [*order, *sorted((word for word in found if word not in order), key=_by_value)]
        if declared == YES_NO and labels.attributes:
            groups.append(TagGroup(name, YES_NO))  # whatever its share: it may be asked for
        elif not is_name(name):
            left_out.append(LeftOut(name or "a column without a name", "cannot name a group"))
        elif len(classes) < 2 or not found:
            left_out.append(LeftOut(name, f"one class only: {', '.join(classes) or 'none'}"))
        elif declared == YES_NO and (why := _unbalanced(found)):
            left_out.append(LeftOut(name, why))
        else:
            left_out += [LeftOut(f"{name}: {word}", "no image has it") for word in unused if declared != YES_NO]
            groups.append(TagGroup(name, tuple(classes)))
    return groups


def _by_value(word: str) -> tuple[int, float, str]:
    return (0, float(word), word) if re.fullmatch(r"-?\d{1,9}", word, re.ASCII) else (1, 0.0, word)


def _unbalanced(counts: Counter[str]) -> str | None:
    share = counts["yes"] / max(1, counts.total())
    if RARE <= share <= 1 - RARE:
        return None
    return f"{'on nearly all' if share > 0.5 else 'rare'}: {share:.1%} of the images"


def _attributes(
    labels: RawLabels, vocabulary: Vocabulary, rows: Sequence[TagRow], left_out: list[LeftOut]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of attributes that may be chosen, and the places of those that are neither rare nor on nearly all."""
    if not labels.attributes or len(labels.attributes) != len(vocabulary.groups):
        return (), ()
    usable = []
    for place, name in enumerate(labels.attributes):
        found = Counter(YES_NO[row.labels[place]] for row in rows if row.labels[place] >= 0)
        if why := _unbalanced(found):
            left_out.append(LeftOut(name, f"{why}; --attributes {name} chooses it"))
        else:
            usable.append((abs(2 * found["yes"] - found.total()) / found.total(), place))
    usable.sort()
    left_out += [
        LeftOut(labels.attributes[place], f"{more_than_most()}; --attributes chooses")
        for _, place in usable[MOST_ATTRIBUTES:]
    ]
    return labels.attributes, tuple(sorted(place for _, place in usable[:MOST_ATTRIBUTES]))


def _given_attributes(labels: RawLabels, given: Vocabulary) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Of a vocabulary of attributes, their names as the data write them: all of them are used."""
    by_group = {group_name(name): name for name in labels.attributes}
    if not all(name in by_group for name in given.names):
        return (), ()
    return tuple(by_group[name] for name in given.names), tuple(range(len(given.names)))


def _tag_words(
    tags: Iterable[str] | None,
    vocabulary: Vocabulary,
    phrases: dict[str, tuple[str, str]],
    columns: Container[str],
) -> dict[str, list[str]]:
    """Words that free tags have for each group; of a yes/no attribute, an absent tag says no where no column speaks."""
    if tags is None:
        return {}
    present = set(tags)
    words: dict[str, list[str]] = {}
    for tag in tags:
        first, _, head = tag.rpartition(" ")
        if tag in phrases:
            group, word = phrases[tag]
            words.setdefault(group, []).append(word)
        elif first and head in vocabulary.names and first.split()[-1] not in NOT_COLOURS:
            words.setdefault(head, []).append(first)
        else:
            for group in vocabulary.names:
                if tag == IMPLIED.get(group):
                    words.setdefault(group, []).append(tag)
    for one in vocabulary.groups:
        there = canonical(one.name) in present
        if one.classes == YES_NO and one.name not in words and (there or one.name not in columns):
            words[one.name] = [YES_NO[there]]
    return words


def raw_rows(words: Iterable[tuple[str, str, str]]) -> tuple[RawRow, ...]:
    """Rows of one group each, of (id, group, class)."""
    return tuple(RawRow(name, {group: (word,)}) for name, group, word in words)
