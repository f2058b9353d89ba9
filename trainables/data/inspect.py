"""What is in a data folder: counts per class and pair, sizes, duplicates, defects - as data and as text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trainables.config import CHANNEL_NAMES
from trainables.data.dataset import ALL, read_folder
from trainables.data.defects import defects_by_kind
from trainables.data.duplicates import find_duplicates
from trainables.data.tags import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trainables.config import Channels, Fit
    from trainables.data.dataset import LoadedFolder, Progress, TaggedImages
    from trainables.data.selection import Selection

_NAMES_SHOWN: Final = 20
_PAIRS_SHOWN: Final = 5
_CLASSES_SHOWN: Final = 50
_MAX_BAD_SHARE: Final = 0.05
FITS: Final = {"crop": "cut to their centre square", "pad": "padded with white", "stretch": "stretched"}
"""What becomes of images that are not square."""


def inspect_folder(
    folder: Path,
    size: int = 64,
    cache: Path | None = None,
    progress: Progress | None = None,
    selection: Selection = ALL,
    fit: Fit = "crop",
    channels: Channels = 3,
) -> dict[str, Any]:
    """Report on a data folder as plain JSON values; ``refusal`` says why ``load_folder`` would refuse it, or is null.

    Raises:
        UsageError: a selection that the folder's tags do not allow.
        UserError: there is no such data, or no image in it.
    """
    loaded = read_folder(folder, size, selection=selection, cache=cache, progress=progress, fit=fit, channels=channels)
    return describe(loaded, selection, cache)


def describe(
    loaded: LoadedFolder,
    selection: Selection = ALL,
    cache: Path | None = None,
    max_bad_share: float = _MAX_BAD_SHARE,
) -> dict[str, Any]:
    """Report on a folder that was read.

    Fingerprint and duplicates are of the images at their size; a sweep at that size records the same. ``groups`` has
    the classes of each group in order, and the share of images with a class of it; ``left_out`` what of the labels is
    not part of the vocabulary, and why. ``pairs`` is there when the vocabulary has two groups, ``unselected`` and
    ``targets`` when a part is selected. Duplicates are looked for among all images.
    """
    images = loaded.images
    report: dict[str, Any] = {
        "folder": str(loaded.path),
        "pictures": len(images),
        "complete": images.complete,
        "partial": len(images) - images.complete,
        "layout": loaded.layout,
        "tag_files": list(loaded.tag_files),
        "groups": _groups(images) if loaded.tag_files else {},
        "left_out": {one.name: one.why for one in loaded.left_out},
        "classes": {
            group.name: dict(zip(group.classes, images.counts(group.name).tolist(), strict=True))
            for group in images.vocabulary.groups
            if loaded.tag_files
        },
        "sizes": _most_common(f"{width}x{height}" for width, height, _ in loaded.image_sizes),
        "fit": loaded.fit,
        "not_square": sum(width != height for width, height, _ in loaded.image_sizes),
        "channels": images.channels,
        "converted": sum(own != images.channels for _, _, own in loaded.image_sizes),
        "duplicates": _duplicates(images, loaded.fit, cache),
        "defects": {
            kind: {"count": len(names), "names": names} for kind, names in defects_by_kind(images.defects).items()
        },
        "image_size": images.size,
        "fingerprint": images.fingerprint,
        "refusal": loaded.refusal(max_bad_share),
    }
    if selection != ALL:
        report |= {"unselected": loaded.unselected, "targets": list(images.targets)}
    if len(images.vocabulary.groups) == 2 and loaded.tag_files:
        report["pairs"] = _most_common(map(images.vocabulary.describe, images.labels[: images.complete].tolist()))
    return report


def format_inspection(report: Mapping[str, Any]) -> str:
    """Lay a report of ``inspect_folder`` out for reading, without a newline at the end."""
    lines = [
        f"{report['folder']}: {report['pictures']} images, {report['complete']} with complete tags, "
        f"{report['partial']} without; fingerprint {report['fingerprint']} at {report['image_size']} px",
        f"layout: {report['layout']}; tag files: {_cut(report['tag_files']) or 'none'}",
        f"sizes: {_listed(report['sizes'], _PAIRS_SHOWN)}; {report['not_square']} not square: {FITS[report['fit']]} "
        f"(--fit {report['fit']})",
        f"channels: {report['channels']}, {CHANNEL_NAMES[report['channels']]} (--channels {report['channels']}); "
        f"{report['converted']} images of the other kind are converted",
    ]
    if "targets" in report:
        lines.insert(1, f"to translate: {', '.join(report['targets'])}; {report['unselected']} images not selected")
    for group, counts in report["classes"].items():
        shown = _listed(dict(sorted(counts.items(), key=lambda item: -item[1])), _CLASSES_SHOWN)
        lines.append(f"{group}: {shown} ({report['groups'][group]['coverage']:.1%} of the images)")
    if report.get("unused"):
        lines.append(f"{len(report['unused'])} classes without an image with every tag: {_cut(report['unused'])}")
    if report["left_out"]:
        lines.append(f"left out of the vocabulary: {len(report['left_out'])}")
        reasons: dict[str, list[str]] = {}
        for name, why in report["left_out"].items():
            reasons.setdefault(why, []).append(name)
        lines += [f"  {_cut(names)}: {why}" for why, names in list(reasons.items())[:_NAMES_SHOWN]]
    if pairs := report.get("pairs"):
        entries = list(pairs.items())
        lines.append(f"pairs: {len(entries)} different; most: {_listed(dict(entries[:_PAIRS_SHOWN]))}")
        lines.append(f"  fewest: {_listed(dict(entries[: -_PAIRS_SHOWN - 1 : -1]))}")
    same = report["duplicates"]
    lines.append(
        f"duplicates: {same['identical']} identical to an earlier image; {same['groups']} groups of near-duplicates "
        f"with {same['pictures']} images, {same['conflicting']} groups with different tags"
    )
    lines.append(f"defects: {sum(found['count'] for found in report['defects'].values()) or 'none'}")
    for kind, found in report["defects"].items():
        more = ", ..." if found["count"] > _NAMES_SHOWN else ""
        lines.append(f"  {kind} {found['count']}: {', '.join(found['names'][:_NAMES_SHOWN])}{more}")
    if "vocabulary_file" in report:
        lines.append(f"wrote the vocabulary to {report['vocabulary_file']}: edit it to merge, rename or drop classes")
    if report["refusal"]:
        lines.append(f"a run would refuse this folder: {report['refusal']}")
    return "\n".join(lines)


def _groups(images: TaggedImages) -> dict[str, dict[str, Any]]:
    """Classes of each group in their order, and the share of images that have one."""
    known = (images.labels != UNKNOWN).mean(axis=0).tolist() if len(images) else [0.0] * len(images.vocabulary.groups)
    return {
        group.name: {"classes": list(group.classes), "coverage": round(share, 4)}
        for group, share in zip(images.vocabulary.groups, known, strict=True)
    }


def _cut(names: Sequence[str]) -> str:
    more = f", ... ({len(names)})" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _duplicates(images: TaggedImages, fit: Fit, cache: Path | None) -> dict[str, int]:
    """Count identical images, near-duplicate groups, the images in them, and groups whose known tags differ."""
    found = find_duplicates(images, len(images), padded=fit == "pad", cache=cache)
    members, order = np.bincount(found.groups), np.argsort(found.groups, kind="stable")
    groups = np.split(images.labels[order], np.cumsum(members)[:-1])
    return {
        "identical": found.identical,
        "groups": int((members > 1).sum()),
        "pictures": int(members[members > 1].sum()),
        "conflicting": sum(_differ(labels) for labels in groups if len(labels) > 1),
    }


def _differ(labels: NDArray[np.int64]) -> bool:
    return any(len(set(column.tolist()) - {UNKNOWN}) > 1 for column in labels.T)


def _most_common(things: Iterable[str]) -> dict[str, int]:
    """Counts, the largest first, equal ones by name."""
    return dict(sorted(Counter(things).items(), key=lambda item: (-item[1], item[0])))


def _listed(counts: Mapping[str, int], limit: int | None = None) -> str:
    shown = [f"{name} {count}" for name, count in list(counts.items())[:limit]]
    return ", ".join(shown) + (", ..." if limit and len(counts) > limit else "")
