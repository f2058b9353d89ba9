"""What the tag classifier's accuracy on held-out real images lets tag accuracies say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis.formatting import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

JOINT: Final = "both"
"""Key of the accuracy on all tags of an image in the tag classifier's report."""
WEAK: Final = 0.5
"""Joint accuracy below which the tag classifier is wrong on most images."""


def describe_accuracy(accuracy: Mapping[str, float | None]) -> str:
    """Return the tag classifier's accuracy by group as text, with that over all groups unless there is only one."""
    groups = len(accuracy) - (JOINT in accuracy)
    shown = {name: share for name, share in accuracy.items() if share is not None and (name != JOINT or groups > 1)}
    names = {JOINT: JOINT if groups == 2 else "all groups"}
    return ", ".join(f"{names.get(name, name)} {percent(share)}" for name, share in shown.items())


@dataclass(frozen=True)
class TagClassifierCheck:
    """The tag classifier beside the constant answer that is most often right.

    Attributes:
        accuracy: share of held-out real images on which every tag is right, 0 to 1.
        chance: share of images that have the commonest combination of tags, 0 to 1.
        at_chance: the lower end of the accuracy's 95 % Wilson interval is not above ``chance``.
        groups: accuracy and share of the commonest class of every tag group that is at chance by the same rule.
    """

    accuracy: float
    chance: float
    at_chance: bool
    groups: Mapping[str, tuple[float, float]]

    @property
    def warning(self) -> str | None:
        """One line for the user; ``None`` if the tag classifier is right on most images and in every group."""
        right = f"the tag classifier is right on {percent(self.accuracy)} of held-out real images"
        guess = f"(always the commonest tags: {percent(self.chance)})"
        if self.at_chance:
            return f"{right}, no better than chance {guess}: tag accuracies say nothing here"
        parts = [f"{right} {guess}: tag accuracies are rough"] if self.accuracy < WEAK else []
        parts += [
            f"for {name} the tag classifier is right on {percent(share)} of held-out real images, no better than "
            f"chance (always the commonest: {percent(chance)}): that tag accuracy says nothing"
            for name, (share, chance) in self.groups.items()
        ]
        return "; ".join(parts) or None


def check_tag_classifier(data: Mapping[str, Any]) -> TagClassifierCheck | None:
    """Compare the tag classifier with the constant answer.

    Args:
        data: ``data.json`` of a sweep: ``judge`` (the tag classifier's report), ``combinations`` and ``counts``.

    Returns:
        ``None`` if the sweep has no tag classifier, or was logged without these figures.
    """
    report = data.get("judge") or {}
    shares, intervals = report.get("accuracy") or {}, report.get("intervals") or {}
    chance = _largest_share(entry["count"] for entry in data.get("combinations") or ())
    if shares.get(JOINT) is None or JOINT not in intervals or chance is None:
        return None
    groups = {}
    counted = data.get("counts") or {}
    for name, counts in counted.items() if len(counted) > 1 else ():
        commonest = _largest_share(counts.values())
        if shares.get(name) is not None and commonest is not None and intervals[name][0] <= commonest:
            groups[name] = (shares[name], commonest)
    return TagClassifierCheck(shares[JOINT], chance, intervals[JOINT][0] <= chance, groups)


def tag_classifier_warning(data: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the tag classifier of a sweep with this ``data.json``; ``None`` if nothing is."""
    check = check_tag_classifier(data)
    return check.warning if check else None


def _largest_share(counts: Any) -> float | None:
    listed = list(counts)
    return max(listed) / sum(listed) if sum(listed) else None
