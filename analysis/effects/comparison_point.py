"""The training point at which the trials of a sweep are compared: one at which enough of them were scored alike.

A scheduler stops trials early, so few reach the end, and those were chosen by their scores: among them the effect of
what made them good has shrunk or vanished. Trials are therefore compared at the latest point that at least half of all
scored trials reached, each with its score at exactly that many images of training and that many samples. What failed
later counts with the score it had there; failures as such are a measurement of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.mlflow_reader.sweep import Sweep

SHARE: Final = 0.5
"""Of the scored trials, how many must have a score at a point."""


@dataclass(frozen=True)
class ComparisonPoint:
    """A point of training and the score of every trial that had one there."""

    score: str
    kimg: int
    samples: int
    """Generated images per score; 0 where the sweep did not say."""
    values: pd.Series[float]
    """Indexed by the trials' keys."""
    scored: int
    """Trials that had this score at any point."""

    @property
    def share(self) -> float:
        """Share of the scored trials that have a score here."""
        return len(self.values) / self.scored

    def to_json(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        return {
            "score": self.score,
            "kimg": self.kimg,
            "samples": self.samples or None,
            "trials": len(self.values),
            "scored_trials": self.scored,
        }


def points_of(curves: pd.DataFrame, score: str, scored: int | None = None) -> list[ComparisonPoint]:
    """List every point at which any trial has the score, the earliest first.

    Args:
        curves: from ``learning_curves``.
        score: one of its columns.
        scored: trials that could have had it at some point, if more than those that did.
    """
    known = curves[["key", "kimg", schema.SAMPLES, score]].dropna(subset=[score])
    known = known.assign(**{schema.SAMPLES: known[schema.SAMPLES].fillna(0)})
    scored = known["key"].nunique() if scored is None else scored
    groups: Any = known.groupby(["kimg", schema.SAMPLES], sort=True)
    return [
        ComparisonPoint(score, int(kimg), int(samples), group.set_index("key")[score].astype(float), scored)
        for (kimg, samples), group in groups
    ]


def common_point(points: list[ComparisonPoint], minimum: int) -> ComparisonPoint | None:
    """Return the latest point with enough trials, ``None`` when there is none."""
    return max(
        (point for point in points if len(point.values) >= minimum and point.share >= SHARE),
        key=lambda point: (point.kimg, len(point.values)),
        default=None,
    )


def early_point(points: list[ComparisonPoint], minimum: int, late: ComparisonPoint) -> ComparisonPoint | None:
    """Return the earliest point with enough trials, at half of ``late`` or before; ``None`` when there is none."""
    fit = (point for point in points if len(point.values) >= minimum and 2 * point.kimg <= late.kimg)
    return min((point for point in fit if point.share >= SHARE), key=lambda point: point.kimg, default=None)


def require_one_fingerprint(sweep: Sweep) -> None:
    """Check that all trials were scored in the same way.

    Raises:
        AnalysisError: the trials' scores have several fingerprints.
    """
    scored = sweep.trials[[f"scores.{name}" for name in sweep.scores]].notna().any(axis=1)
    ways = sweep.trials.loc[scored, "fingerprint"].nunique()
    if ways > 1:
        raise AnalysisError(
            f"the scores of sweep {sweep.name!r} were measured in {ways} ways and do not compare; "
            f"`gansweep rank {sweep.name}` says in what they differ"
        )
