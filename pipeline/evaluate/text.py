"""Format the result of ``gansweep score`` as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trainables.scoring.tag_classifier.report import JOINT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAMES_SHOWN: Final = 5
_HEADINGS: Final = ("score", "value", "95% interval", "real vs real", "tag classifier")
_TAGS: Final = "tag_accuracy"
_MACRO: Final = "tag_accuracy_macro_"


def format_scores(report: Mapping[str, Any]) -> str:
    """Format the dict of ``score_folders`` as a small table with the facts needed to read it."""
    about, counts = report["fingerprint"], report["counts"]
    lines = [
        f"{counts['fake']} generated images against {counts['real']} real ones; {about['extractor']}, "
        f"{about['resize']}, {about['precision']}",
        *_resized(about["image_size"], report["sizes"]),
        "",
        *_aligned([_HEADINGS, *(_row(name, report) for name in report["scores"])]),
    ]
    if report["tags"]:
        lines += ["", *_classes(report["tags"], report["judge"]["held_out"])]
    for side in ("real", "fake"):
        for kind, about_kind in report["defects"][side].items():
            names, more = about_kind["names"][:_NAMES_SHOWN], about_kind["count"] > _NAMES_SHOWN
            lines.append(f"{side}: {about_kind['count']} {kind}: {', '.join(names)}{', ...' if more else ''}")
    return "\n".join([*lines, *(f"warning: {text}" for text in report["warnings"])])


def _resized(image_size: int | None, sizes: Mapping[str, Mapping[str, int]]) -> list[str]:
    if image_size is None:
        return []
    real, fake = (next(iter(sizes[side])) for side in ("real", "fake"))
    size = f"{image_size}x{image_size}"
    return [f"all images were resized to {size} pixels; real ones are mostly {real}, generated ones {fake}"]


def _row(name: str, report: Mapping[str, Any]) -> tuple[str, ...]:
    interval = report["intervals"].get(name)
    return (
        name,
        _number(report["scores"][name]),
        f"{_number(interval[0])} to {_number(interval[1])}" if interval else "",
        _number(report["floor"][name]) if name in report["floor"] else "",
        _own_accuracy(name, report["judge"]),
    )


def _own_accuracy(name: str, tag_classifier: Mapping[str, Any] | None) -> str:
    if tag_classifier is None or not name.startswith(_TAGS):
        return ""
    if name.startswith(_MACRO):
        return _number(tag_classifier["macro_accuracy"].get(name.removeprefix(_MACRO)))
    group = JOINT if name == _TAGS else name.removeprefix(f"{_TAGS}_")
    low, high = tag_classifier["intervals"][group]
    return f"{_number(tag_classifier['accuracy'].get(group))} ({_number(low)} to {_number(high)})"


def _classes(tags: Mapping[str, Any], held_out: int) -> list[str]:
    """List each group's classes, worst first, with how often each was requested."""
    lines = [f"accuracies of the tag classifier are on {held_out} held-out real images"]
    for name, group in tags["groups"].items():
        requested = {label: counts for label, counts in group["per_class"].items() if counts["asked"]}
        worst = sorted(requested.items(), key=lambda item: item[1]["accuracy"])
        shown = [f"{label} {_number(counts['accuracy'])} of {counts['asked']} ({_number(counts['judge_accuracy'])})"
                 for label, counts in worst]  # fmt: skip
        lines.append(
            f"{name}, worst first (in brackets the tag classifier on real images): "
            f"{', '.join(shown) or 'none requested'}"
        )
        lines.append(
            f"{name}, calibration error of the tag classifier: {_number(group['calibration_error'])} "
            f"on generated images, {_number(group['judge_calibration_error'])} on real ones"
        )
    return lines


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]  # fmt: skip
