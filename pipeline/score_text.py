"""What ``gansweep score`` found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trainables.scoring.tagger_report import JOINT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAMES_SHOWN: Final = 5
_HEADINGS: Final = ("score", "value", "95% interval", "real vs real", "judge's own")
_TAGS: Final = "tag_accuracy"
_MACRO: Final = "tag_accuracy_macro_"


def format_scores(found: Mapping[str, Any]) -> str:
    """The dict of ``score_folders`` as a small table and what must be known to read it."""
    about, counts = found["fingerprint"], found["counts"]
    lines = [
        f"{counts['fake']} drawn pictures against {counts['real']} real ones; {about['extractor']}, {about['resize']}, "
        f"{about['precision']}",
        "",
        *_aligned([_HEADINGS, *(_row(name, found) for name in found["scores"])]),
    ]
    if found["tags"]:
        lines += ["", *_classes(found["tags"], found["judge"]["held_out"])]
    for side in ("real", "fake"):
        for kind, about_kind in found["defects"][side].items():
            names, more = about_kind["names"][:_NAMES_SHOWN], about_kind["count"] > _NAMES_SHOWN
            lines.append(f"{side}: {about_kind['count']} {kind}: {', '.join(names)}{', ...' if more else ''}")
    return "\n".join([*lines, *(f"warning: {text}" for text in found["warnings"])])


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    interval = found["intervals"].get(name)
    return (
        name,
        _number(found["scores"][name]),
        f"{_number(interval[0])} to {_number(interval[1])}" if interval else "",
        _number(found["floor"][name]) if name in found["floor"] else "",
        _judges_own(name, found["judge"]),
    )


def _judges_own(name: str, judge: Mapping[str, Any] | None) -> str:
    if judge is None or not name.startswith(_TAGS):
        return ""
    if name.startswith(_MACRO):
        return _number(judge["macro_accuracy"].get(name.removeprefix(_MACRO)))
    part = JOINT if name == _TAGS else name.removeprefix(f"{_TAGS}_")
    low, high = judge["intervals"][part]
    return f"{_number(judge['accuracy'].get(part))} ({_number(low)} to {_number(high)})"


def _classes(tags: Mapping[str, Any], held_out: int) -> list[str]:
    """Each group's classes, worst first, with how often they were asked for."""
    lines = [f"the judge's own accuracies are on {held_out} real pictures that it did not learn from"]
    for name, group in tags["groups"].items():
        asked = {label: one for label, one in group["per_class"].items() if one["asked"]}
        worst = sorted(asked.items(), key=lambda item: item[1]["accuracy"])
        shown = [f"{label} {_number(one['accuracy'])} of {one['asked']} ({_number(one['judge_accuracy'])})"
                 for label, one in worst]  # fmt: skip
        lines.append(f"{name}, worst first (in brackets the judge's own): {', '.join(shown) or 'never asked for'}")
        lines.append(
            f"{name}, calibration error of the judge: {_number(group['calibration_error'])} on drawn pictures, "
            f"{_number(group['judge_calibration_error'])} on real ones"
        )
    return lines


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]  # fmt: skip
