"""Accuracy of the tag classifier on held-out real images, shown beside every tag accuracy that it measures."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from trainables.data.tags import RESERVED, UNKNOWN, TagGroup, Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

JOINT = RESERVED
"""Key of the accuracy on all tag groups jointly."""
Z: Final = NormalDist().inv_cdf(0.975)
"""Quantile of the normal distribution for 95 % intervals."""
CALIBRATION_BINS: Final = 15
"""Equally wide bins of confidence, as in Guo et al. 2017."""


@dataclass(frozen=True)
class TagClassifierReport:
    """Metrics on held-out real images, in [0, 1] and ready for JSON.

    Attributes:
        held_out: number of held-out images.
        trained_on: number of training images; none is a near-duplicate of a held-out one.
        accuracy: by tag group, and ``both``: every tag correct (fully tagged images only).
        top2: top-2 accuracy by tag group.
        macro_accuracy: by tag group, the unweighted mean of the accuracies of its classes.
        per_class: ``{group: {class: {"accuracy": share or None, "support": images}}}``.
        intervals: 95 % Wilson interval ``(low, high)`` of every entry of ``accuracy``.
        confusions: by tag group, the most common errors ``(tagged, predicted, images)``, in descending order.
        calibration: by tag group, the expected calibration error; empty in classifiers trained before it was measured.

    A metric without any image is ``None``.
    """

    held_out: int
    trained_on: int
    accuracy: dict[str, float | None]
    top2: dict[str, float | None]
    macro_accuracy: dict[str, float | None]
    per_class: dict[str, dict[str, dict[str, float | int | None]]]
    intervals: dict[str, tuple[float, float]]
    confusions: dict[str, list[tuple[str, str, int]]]
    calibration: dict[str, float | None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A plain dict that ``from_json`` reads back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TagClassifierReport:
        """Read what ``to_json`` wrote; a ``TypeError`` or ``ValueError`` when it is something else."""
        fields = dict(data)
        fields["intervals"] = {name: (low, high) for name, (low, high) in fields["intervals"].items()}
        fields["confusions"] = {
            name: [(tagged, predicted, count) for tagged, predicted, count in rows]
            for name, rows in fields["confusions"].items()
        }
        return cls(**fields)


def report_on(
    logits: Sequence[Tensor], labels: Tensor, vocabulary: Vocabulary, *, trained_on: int
) -> TagClassifierReport:
    """Compare logits, one ``(n, classes)`` tensor per group, with ``(n, groups)`` labels.

    ``UNKNOWN`` tags do not count in their group's metrics.
    """
    known = labels != UNKNOWN
    right = torch.stack([scores.argmax(1) for scores in logits], 1) == labels
    complete = known.all(1)
    hits = {name: right[known[:, i], i] for i, name in enumerate(vocabulary.names)}
    hits[JOINT] = right[complete].all(1)
    tables = [_GroupMetrics.of(*each) for each in zip(vocabulary.groups, logits, labels.T, strict=True)]
    named = dict(zip(vocabulary.names, tables, strict=True))
    probabilities = [scores.double().softmax(1).cpu().numpy() for scores in logits]
    tags = labels.cpu().numpy()
    return TagClassifierReport(
        held_out=len(labels),
        trained_on=trained_on,
        accuracy={name: _share(hit) for name, hit in hits.items()},
        top2={name: table.top2 for name, table in named.items()},
        macro_accuracy={name: table.macro for name, table in named.items()},
        per_class={name: table.per_class for name, table in named.items()},
        intervals={name: wilson(int(hit.sum()), len(hit)) for name, hit in hits.items()},
        confusions={name: table.confusions for name, table in named.items()},
        calibration={
            name: calibration_error(shares, tags[:, place])
            for place, (name, shares) in enumerate(zip(vocabulary.names, probabilities, strict=True))
        },
    )


def calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float | None:
    """Expected calibration error (Guo et al. 2017): mean gap between confidence and accuracy, weighted by images.

    Args:
        probabilities: ``(n, classes)``, rows summing to 1.
        labels: ``(n,)`` classes; ``UNKNOWN`` is ignored.

    Returns:
        A value from 0 (confidence equals accuracy in every bin) to 1; ``None`` if every label is unknown.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error  # a third of all imports' time

    known = labels != UNKNOWN
    if not known.any():
        return None
    shares, tags = torch.from_numpy(probabilities[known]), torch.from_numpy(labels[known])
    return float(multiclass_calibration_error(shares, tags, shares.shape[1], n_bins=CALIBRATION_BINS, norm="l1"))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion; ``(0, 1)`` without trials."""
    if not trials:
        return 0.0, 1.0
    share, weight = successes / trials, Z**2 / trials
    middle = share + weight / 2
    reach = Z * math.sqrt((share * (1 - share) + weight / 4) / trials)
    low, high = (middle - reach) / (1 + weight), (middle + reach) / (1 + weight)
    return (low if successes else 0.0, high if successes < trials else 1.0)  # exact where rounding is not


@dataclass(frozen=True)
class _GroupMetrics:
    top2: float | None
    macro: float | None
    per_class: dict[str, dict[str, float | int | None]]
    confusions: list[tuple[str, str, int]]

    @classmethod
    def of(cls, group: TagGroup, scores: Tensor, labels: Tensor) -> _GroupMetrics:
        """Compute the metrics of one tag group from ``(n, classes)`` logits and ``(n,)`` labels."""
        from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

        names, known = group.classes, labels != UNKNOWN
        if not known.any():
            return cls(None, None, {name: {"accuracy": None, "support": 0} for name in names}, [])
        scores, labels = scores[known], labels[known]
        table = multiclass_confusion_matrix(scores, labels, len(names))
        support = table.sum(1)
        recall = multiclass_accuracy(scores, labels, len(names), average="none")
        return cls(
            top2=float(multiclass_accuracy(scores, labels, len(names), average="micro", top_k=2)),
            # torchmetrics' macro average also counts classes that were only predicted.
            macro=float(recall[support > 0].mean()),
            per_class={
                name: {"accuracy": float(share) if count else None, "support": int(count)}
                for name, share, count in zip(names, recall, support, strict=True)
            },
            confusions=_commonest_errors(names, table),
        )


def _commonest_errors(names: Sequence[str], table: Tensor, limit: int = 8) -> list[tuple[str, str, int]]:
    """The largest off-diagonal cells of a ``(tagged, predicted)`` confusion matrix."""
    errors = table - table.diag().diag()
    counts, cells = errors.flatten().sort(descending=True, stable=True)
    return [
        (names[cell // len(names)], names[cell % len(names)], count)
        for count, cell in zip(counts[:limit].tolist(), cells[:limit].tolist(), strict=True)
        if count
    ]


def _share(hits: Tensor) -> float | None:
    return float(hits.double().mean()) if len(hits) else None
