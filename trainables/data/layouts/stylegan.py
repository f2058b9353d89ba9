"""``dataset.json`` with ``{"labels": [["00000/img00000000.png", 6], ...]}``, as StyleGAN and its successors read it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from trainables.data.defects import Defect
from trainables.data.discovery.columns import CLASS, YES_NO
from trainables.data.discovery.rows import RawLabels, RawRow
from trainables.data.layouts.base import LabelledSource, UnusableLabelsError, labelled, path_id, read_json

if TYPE_CHECKING:
    from trainables.data.archives.listing import Listing
    from trainables.data.tags import Vocabulary

FILE: Final = "dataset.json"
_MOST: Final = 1000
"""Longest vector of labels."""


class StyleGanDataset:
    """Images with class numbers, or vectors of 0 and 1."""

    name = "StyleGAN dataset.json"

    def read(self, listing: Listing, vocabulary: Vocabulary | None) -> LabelledSource | None:
        """Read ``dataset.json`` at the root.

        Raises:
            UnusableLabelsError: its labels are null or no classes.
        """
        if FILE not in listing.files:
            return None
        content = read_json(listing, FILE)
        if not isinstance(content, dict) or "labels" not in content:
            return None
        entries, place = content["labels"], listing.place(FILE)
        if entries is None:
            raise UnusableLabelsError(f"{place} has labels null: these images have no labels")
        if not isinstance(entries, list):
            raise UnusableLabelsError(f'{place}: labels must be a list of ["name.png", class], or null')
        pairs, defects = _pairs(entries)
        kinds = Counter(isinstance(label, list) for _, label in pairs)
        vectors = kinds[True] > kinds[False]
        odd = [key for key, label in pairs if isinstance(label, list) is not vectors]
        defects += [Defect("unreadable row", key, "a number among vectors, or the reverse") for key in odd]
        kept = [(key, label) for key, label in pairs if isinstance(label, list) is vectors]
        labels = _vectors(kept, place, defects) if vectors else _classes(kept, defects)
        return labelled(self.name, listing, labels, vocabulary, [FILE])


def _pairs(entries: list[Any]) -> tuple[list[tuple[str, Any]], list[Defect]]:
    pairs: dict[str, Any] = {}
    defects = []
    for number, entry in enumerate(entries):
        name = path_id(entry[0]) if isinstance(entry, list) and len(entry) == 2 else None
        label = entry[1] if name is not None else None
        if name is None or not (_is_class(label) or _is_vector(label)):
            defects.append(Defect("unreadable row", f"{FILE} entry {number}", 'expected ["name.png", class]'))
            continue
        if name in pairs:
            defects.append(Defect("duplicate id", name))
            if pairs[name] != label:
                defects.append(Defect("conflicting tags", name, f"{pairs[name]} and {label}"))
            continue
        pairs[name] = label
    return list(pairs.items()), defects


def _is_class(label: Any) -> bool:
    return isinstance(label, int) and not isinstance(label, bool)


def _is_vector(label: Any) -> bool:
    return isinstance(label, list) and bool(label) and all(isinstance(value, int | float) for value in label)


def _classes(pairs: list[tuple[str, int]], defects: list[Defect]) -> RawLabels:
    rows = []
    for key, label in pairs:
        if 0 <= label < 10**6:
            rows.append(RawRow(key, {CLASS: (str(label),)}))
        else:
            defects.append(Defect("label out of range", key, str(label)[:20]))
    return RawLabels(tuple(rows), defects=tuple(defects))


def _vectors(pairs: list[tuple[str, list[float]]], place: str, defects: list[Defect]) -> RawLabels:
    """One 1 in each vector is a class; several are yes/no attributes ``label 0``, ``label 1``, ..."""
    widths = Counter(len(vector) for _, vector in pairs)
    width = widths.most_common(1)[0][0]
    if width > _MOST:
        raise UnusableLabelsError(f"{place}: vectors of {width:,} labels; the limit is {_MOST:,}")
    sound = {key: vector for key, vector in pairs if len(vector) == width and set(vector) <= {0, 1}}
    if 2 * len(sound) < len(pairs):
        raise UnusableLabelsError(f"{place}: vectors of other numbers than 0 and 1 are no classes")
    odd = [key for key, _ in pairs if key not in sound]
    defects += [Defect("label out of range", key, f"expected {width} times 0 or 1") for key in odd]
    if all(sum(vector) == 1 for vector in sound.values()):
        return _classes([(key, vector.index(1)) for key, vector in sound.items()], defects)
    names = [f"label {place}" for place in range(width)]
    rows = [
        RawRow(key, {name: (YES_NO[int(value)],) for name, value in zip(names, vector, strict=True)})
        for key, vector in sound.items()
    ]
    return RawLabels(tuple(rows), dict.fromkeys(names, YES_NO), tuple(names), defects=tuple(defects))
