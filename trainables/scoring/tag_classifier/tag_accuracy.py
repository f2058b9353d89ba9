"""Tag accuracy of generated images by class, beside the tag classifier's accuracy on held-out real images.

A tag accuracy includes the errors of both the generator and the classifier, so it needs the classifier's own accuracy
beside it; only the values of single classes show whether rare tags are ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.data.tags import UNKNOWN, TagGroup, Vocabulary
from trainables.errors import UsageError
from trainables.scoring.tag_classifier.report import JOINT, calibration_error, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trainables.scoring.tag_classifier.report import TagClassifierReport


@dataclass(frozen=True, eq=False)
class GroupReport:
    """Requested and predicted classes of one tag group.

    Attributes:
        group: names and classes.
        confusion: ``(classes, classes)`` counts of images, requested class on rows, predicted on columns.
        calibration: expected calibration error of the classifier's probabilities on these images; ``None`` without
            probabilities or requests.
    """

    group: TagGroup
    confusion: NDArray[np.int64]
    calibration: float | None

    @property
    def asked(self) -> NDArray[np.int64]:
        """``(classes,)``: images for which each class was requested."""
        counts: NDArray[np.int64] = self.confusion.sum(axis=1)
        return counts

    @property
    def seen(self) -> NDArray[np.int64]:
        """``(classes,)``: images for which each class was predicted."""
        counts: NDArray[np.int64] = self.confusion.sum(axis=0)
        return counts

    @property
    def right(self) -> int:
        """Images with the requested class predicted."""
        return int(np.trace(self.confusion))

    @property
    def per_class(self) -> dict[str, float | None]:
        """Accuracy of each class; ``None`` for a class that was never requested."""
        rows = zip(self.group.classes, self.confusion.diagonal().tolist(), self.asked.tolist(), strict=True)
        return {name: _share(right, asked) for name, right, asked in rows}

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy."""
        return _share(self.right, int(self.asked.sum()))

    @property
    def macro(self) -> float | None:
        """Unweighted mean of the accuracies of the requested classes."""
        known = [share for share in self.per_class.values() if share is not None]
        return float(np.mean(known)) if known else None

    def macro_interval(self) -> tuple[float, float] | None:
        """95 % interval of ``macro``; ``None`` without requests.

        Combines the Wilson intervals of the classes by the square root of the sum of squares on either side (Zou et
        al. 2009): rare classes widen it, and so do classes that are always or never correct.
        """
        rows = zip(self.confusion.diagonal().tolist(), self.asked.tolist(), strict=True)
        known = np.array([(right / asked, *wilson(right, asked)) for right, asked in rows if asked])
        if not len(known):
            return None
        shares, lows, highs = known.T
        macro = float(shares.mean())
        below, above = (math.hypot(*(shares - ends)) / len(known) for ends in (lows, highs))
        return max(0.0, macro - below), min(1.0, macro + above)


@dataclass(frozen=True, eq=False)
class TagReport:
    """Report on all tag groups; ``right`` of ``complete`` images have every requested tag."""

    groups: tuple[GroupReport, ...]
    right: int
    complete: int
    images: int

    def scores(self) -> dict[str, float | None]:
        """``tag_accuracy`` (every group correct, of images with a request in every group) and, for each group,
        ``tag_accuracy_<group>`` and ``tag_accuracy_macro_<group>``.
        """
        scores = {"tag_accuracy": _share(self.right, self.complete)}
        scores |= {f"tag_accuracy_{one.group.name}": one.accuracy for one in self.groups}
        return scores | {f"tag_accuracy_macro_{one.group.name}": one.macro for one in self.groups}

    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of all defined ``scores``: Wilson's, and ``macro_interval``."""
        counts = {"tag_accuracy": (self.right, self.complete)}
        counts |= {f"tag_accuracy_{one.group.name}": (one.right, int(one.asked.sum())) for one in self.groups}
        macros = {f"tag_accuracy_macro_{one.group.name}": one.macro_interval() for one in self.groups}
        shares = {name: wilson(right, of) for name, (right, of) in counts.items() if of}
        return shares | {name: interval for name, interval in macros.items() if interval}

    def confusions(self) -> dict[str, Any]:
        """For each group its ``classes`` and ``confusion`` counts, requested on rows, predicted on columns."""
        return {
            one.group.name: {"classes": list(one.group.classes), "confusion": one.confusion.tolist()}
            for one in self.groups
        }

    def to_json(self, tag_classifier: TagClassifierReport | None = None) -> dict[str, Any]:
        """A plain dict; with a ``tag_classifier``, also its metrics on held-out real images."""
        return {
            "pictures": self.images,
            "accuracy": _share(self.right, self.complete),
            "judge_accuracy": tag_classifier.accuracy.get(JOINT) if tag_classifier else None,
            "groups": {one.group.name: _group_json(one, tag_classifier) for one in self.groups},
        }


def report_tags(
    predicted: NDArray[np.int64],
    asked: NDArray[np.int64],
    vocabulary: Vocabulary,
    probabilities: Sequence[NDArray[np.floating]] | None = None,
) -> TagReport:
    """Compare predicted with requested tags.

    Args:
        predicted: ``(n, groups)`` class indices.
        asked: ``(n, groups)`` requested class indices; ``UNKNOWN`` does not count in that group.
        vocabulary: names groups and classes.
        probabilities: of the tag classifier, one ``(n, classes)`` array per group.

    Raises:
        UsageError: shapes or classes that do not match the vocabulary.
    """
    _check(predicted, asked, vocabulary)
    known, right = asked != UNKNOWN, predicted == asked
    complete = known.all(axis=1)
    groups = []
    for place, group in enumerate(vocabulary.groups):
        rows, size = known[:, place], len(group.classes)
        cells = asked[rows, place] * size + predicted[rows, place]
        confusion = np.bincount(cells, minlength=size * size).reshape(size, size).astype(np.int64)
        error = None if probabilities is None else calibration_error(probabilities[place][rows], asked[rows, place])
        groups.append(GroupReport(group, confusion, error))
    return TagReport(tuple(groups), int(right[complete].all(axis=1).sum()), int(complete.sum()), len(asked))


def _group_json(one: GroupReport, tag_classifier: TagClassifierReport | None) -> dict[str, Any]:
    name = one.group.name
    own = tag_classifier.per_class.get(name, {}) if tag_classifier else {}
    rows = zip(one.per_class.items(), one.asked.tolist(), one.seen.tolist(), strict=True)
    return {
        "accuracy": one.accuracy,
        "macro_accuracy": one.macro,
        "calibration_error": one.calibration,
        "judge_accuracy": tag_classifier.accuracy.get(name) if tag_classifier else None,
        "judge_macro_accuracy": tag_classifier.macro_accuracy.get(name) if tag_classifier else None,
        "judge_calibration_error": tag_classifier.calibration.get(name) if tag_classifier else None,
        "per_class": {
            label: {
                "accuracy": share,
                "asked": asked,
                "seen": seen,
                "judge_accuracy": own.get(label, {}).get("accuracy"),
            }
            for (label, share), asked, seen in rows
        },
        "confusion": one.confusion.tolist(),
    }


def _share(hits: int, of: int) -> float | None:
    return hits / of if of else None


def _check(predicted: NDArray[np.int64], asked: NDArray[np.int64], vocabulary: Vocabulary) -> None:
    shape = (len(asked), len(vocabulary.groups))
    if predicted.shape != shape or asked.shape != shape:
        raise UsageError(f"tags of shape {predicted.shape} and {asked.shape}; both must be {shape}")
    for place, group in enumerate(vocabulary.groups):
        for lowest, labels in ((0, predicted[:, place]), (UNKNOWN, asked[:, place])):
            wrong = labels[(labels < lowest) | (labels >= len(group.classes))]
            if len(wrong):
                raise UsageError(f"label {wrong[0]} of {group.name}; allowed: {lowest} to {len(group.classes) - 1}")
