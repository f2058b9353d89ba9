"""What is in a data folder: counts per class and pair, sizes, duplicates, defects - as data and as text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainables.data.dataset import ALL, read_folder
from trainables.data.defects import defects_by_kind
from trainables.data.duplicates import identical_pairs, near_duplicate_groups
from trainables.data.tags import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.data.dataset import Progress, TaggedImages
    from trainables.data.selection import Selection

_NAMES_SHOWN: Final = 20
_PAIRS_SHOWN: Final = 5
_MAX_BAD_SHARE: Final = 0.05


def inspect_folder(
    folder: Path,
    size: int = 64,
    cache: Path | None = None,
    progress: Progress | None = None,
    selection: Selection = ALL,
) -> dict[str, Any]:
    """Report on a data folder as plain JSON values; ``refusal`` says why ``load_folder`` would refuse it, or is null.

    Fingerprint and duplicates are of the pictures at ``size`` pixels; a sweep at that size records the same.
    ``pairs`` is there when the vocabulary has two groups, ``unselected`` and ``targets`` when a part is selected.
    Duplicates are looked for among all pictures.

    Raises:
        UsageError: a selection that the folder's tags do not allow.
        UserError: no such folder, no picture in it, or a tag file that is no text.
    """
    loaded = read_folder(folder, size, selection=selection, cache=cache, progress=progress)
    images = loaded.images
    report: dict[str, Any] = {
        "folder": str(folder),
        "pictures": len(images),
        "complete": images.complete,
        "partial": len(images) - images.complete,
        "tag_files": list(loaded.tag_files),
        "classes": {
            group.name: dict(zip(group.classes, images.counts(group.name).tolist(), strict=True))
            for group in images.vocabulary.groups
        },
        "sizes": _most_common(f"{width}x{height}" for width, height in loaded.picture_sizes),
        "duplicates": _duplicates(images),
        "defects": {
            kind: {"count": len(names), "names": names} for kind, names in defects_by_kind(images.defects).items()
        },
        "image_size": images.size,
        "fingerprint": images.fingerprint,
        "refusal": loaded.refusal(_MAX_BAD_SHARE),
    }
    if selection != ALL:
        report |= {"unselected": loaded.unselected, "targets": list(images.targets)}
    if len(images.vocabulary.groups) == 2:
        report["pairs"] = _most_common(map(images.vocabulary.describe, images.labels[: images.complete].tolist()))
    return report


def format_inspection(report: Mapping[str, Any]) -> str:
    """Lay a report of ``inspect_folder`` out for reading, without a newline at the end."""
    lines = [
        f"{report['folder']}: {report['pictures']} pictures, {report['complete']} with complete tags, "
        f"{report['partial']} without; fingerprint {report['fingerprint']} at {report['image_size']} px",
        f"tag files: {', '.join(report['tag_files']) or 'none'}",
        f"sizes: {_listed(report['sizes'], _PAIRS_SHOWN)}",
    ]
    if "targets" in report:
        lines.insert(1, f"to translate: {', '.join(report['targets'])}; {report['unselected']} pictures not selected")
    for group, counts in report["classes"].items():
        lines.append(f"{group}: {_listed(dict(sorted(counts.items(), key=lambda item: -item[1])))}")
    if pairs := report.get("pairs"):
        entries = list(pairs.items())
        lines.append(f"pairs: {len(entries)} different; most: {_listed(dict(entries[:_PAIRS_SHOWN]))}")
        lines.append(f"  fewest: {_listed(dict(entries[: -_PAIRS_SHOWN - 1 : -1]))}")
    same = report["duplicates"]
    lines.append(
        f"duplicates: {same['identical']} identical to an earlier picture; {same['groups']} groups of near-duplicates "
        f"with {same['pictures']} pictures, {same['conflicting']} groups with different tags"
    )
    lines.append(f"defects: {sum(found['count'] for found in report['defects'].values()) or 'none'}")
    for kind, found in report["defects"].items():
        more = ", ..." if found["count"] > _NAMES_SHOWN else ""
        lines.append(f"  {kind} {found['count']}: {', '.join(found['names'][:_NAMES_SHOWN])}{more}")
    if report["refusal"]:
        lines.append(f"a run would refuse this folder: {report['refusal']}")
    return "\n".join(lines)


def _duplicates(images: TaggedImages) -> dict[str, int]:
    """Count identical pictures, near-duplicate groups, the pictures in them, and groups whose known tags differ."""
    numbers = near_duplicate_groups(images.pixels)
    members = np.bincount(numbers)
    return {
        "identical": len(identical_pairs(images.pixels)),
        "groups": int((members > 1).sum()),
        "pictures": int(members[members > 1].sum()),
        "conflicting": sum(_differ(images.labels[numbers == number]) for number in np.flatnonzero(members > 1)),
    }


def _differ(labels: NDArray[np.int64]) -> bool:
    return any(len(set(column.tolist()) - {UNKNOWN}) > 1 for column in labels.T)


def _most_common(things: Iterable[str]) -> dict[str, int]:
    """Counts, the largest first, equal ones by name."""
    return dict(sorted(Counter(things).items(), key=lambda item: (-item[1], item[0])))


def _listed(counts: Mapping[str, int], limit: int | None = None) -> str:
    shown = [f"{name} {count}" for name, count in list(counts.items())[:limit]]
    return ", ".join(shown) + (", ..." if limit and len(counts) > limit else "")
