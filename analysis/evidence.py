"""The best evidence that a sweep has for a part of a claim: its curves are read once, its points found once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.adjusted import paired_effect
from analysis.axes import Axis, axes_of
from analysis.claim_list import EARLY, END, Beside, Change, Contrast, Part, Slope
from analysis.curves import learning_curves
from analysis.effect import (
    FAILED,
    MINIMUM_ARM,
    MINIMUM_TRIALS,
    SAME_TRIALS,
    Effect,
    Outcome,
    as_effect,
    is_ratio,
    named,
)
from analysis.effects import contrast, failures, outcome_at, slope
from analysis.mutated import without_mutated
from analysis.points import Point, common_point, early_point, points_of, require_one_fingerprint
from analysis.repeated import ablated, confirmed
from analysis.runs import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from analysis.runs import Sweep


class Evidence:
    """What a sweep measured.

    Args:
        sweep: with its ``space.json``; mutated trials are left out.
        metrics: what will be asked for; those that no trial logged are left out.

    Raises:
        AnalysisError: trials were scored in several ways.
    """

    def __init__(self, sweep: Sweep, metrics: Sequence[str]) -> None:
        require_one_fingerprint(sweep)
        self.sweep = sweep = without_mutated(sweep)
        self.axes: dict[str, Axis] = {axis.name: axis for axis in axes_of(sweep)}
        self.systems = set(sweep.trials["system"])
        scored = [name for name in metrics if {f"{SCORES}{name}", f"{METRICS}{name}"} & set(sweep.trials.columns)]
        curves = learning_curves(sweep, scored) if scored else None
        self._points = {name: points_of(curves, name) for name in scored} if curves is not None else {}
        self.metrics = {*scored, *([FAILED] if FAILED in metrics else [])}

    def fixed(self, dimension: str) -> Any:
        """The value that a parameter has in all trials, ``None`` where it differs or is unknown."""
        column = self.sweep.trials.get(f"{PARAMS}{dimension}")
        return column.iloc[0] if column is not None and column.nunique(dropna=False) == 1 else None

    def point(self, metric: str, time: str) -> Point | None:
        """Where trials are compared."""
        late = common_point(self._points[metric], MINIMUM_TRIALS)
        if time == END or late is None:
            return late
        return early_point(self._points[metric], MINIMUM_TRIALS, late)

    def contrast(self, part: Contrast) -> Effect | None:
        """Answer from repeat runs, which are scored at the end, where there are enough; else from the trials."""
        axis, axes = self.axes[part.dimension], list(self.axes.values())
        if part.time == END:
            for repeated in (ablated, confirmed):
                effect = repeated(self.sweep, axis, axes, part.values, part.against, part.metric)
                if effect is not None:
                    return effect
        outcome = self._outcome(part)
        return contrast(outcome, axis, axes, part.values, part.against) if outcome else None

    def slope(self, part: Slope) -> Effect | None:
        """Answer from the trials."""
        outcome = self._outcome(part)
        return slope(outcome, self.axes[part.dimension], list(self.axes.values())) if outcome else None

    def change(self, part: Change) -> Effect | None:
        """Compare each trial with itself: the same number of samples at both points, and the widest span of them."""
        points = self._points[part.metric]
        trials = self.sweep.trials
        marks = trials[f"{PARAMS}{part.dimension}"].isin(list(part.values))
        some = set(trials.loc[marks, "key"])
        spans = [
            (late, early)
            for late in points
            for early in points
            if 2 * early.kimg <= late.kimg
            and early.samples == late.samples
            and len(self._both(early, late, some)) >= MINIMUM_ARM
        ]
        if not spans:
            return None
        late, early = max(spans, key=lambda span: (span[0].kimg, -span[1].kimg))
        keys = self._both(early, late, some)
        name = f"{named(part.values)} at {late.kimg} kimg"
        return _paired(late, late.values[keys], early.values[keys], (part.dimension, name, f"{early.kimg} kimg"))

    def beside(self, part: Beside) -> Effect | None:
        """Compare two scores of the same trials at the same point."""
        point = self.point(part.metric, part.time) or self.point(part.metric, END)
        other = next((one for one in self._points[part.other] if point and one.kimg == point.kimg), None)
        if point is None or other is None:
            return None
        keys = self._both(point, other, set(point.values.index))
        return _paired(point, point.values[keys], other.values[keys], ("", "itself", part.other))

    def shortage(self, part: Part) -> str:
        """Why there is no answer: how many trials there are, and of what there are too few."""
        if part.metric == FAILED:
            failed = int((self.sweep.trials["status"] == "failed").sum())
            return f"{len(self.sweep.trials)} trials, {failed} of them failed"
        point = self.point(part.metric, part.time)
        if point is None:
            early = " and at half of it or before" if part.time == EARLY else ""
            most = max((len(one.values) for one in self._points[part.metric]), default=0)
            return f"at most {most} trials scored at one point{early}; {MINIMUM_TRIALS} are needed"
        return (
            f"{len(point.values)} trials at {point.kimg} kimg; {MINIMUM_TRIALS} with the values it compares are "
            f"needed, {MINIMUM_ARM} of each, and not always together with the same other values"
        )

    def _outcome(self, part: Contrast | Slope) -> Outcome | None:
        if part.metric == FAILED:
            return failures(self.sweep)
        point = self.point(part.metric, part.time)
        return outcome_at(self.sweep, point) if point else None

    @staticmethod
    def _both(one: Point, other: Point, some: set[str]) -> list[str]:
        return sorted(some & set(one.values.index) & set(other.values.index))


def _paired(
    point: Point, values: pd.Series[float], others: pd.Series[float], names: tuple[str, str, str]
) -> Effect | None:
    ratio = is_ratio(point.score)
    one, other = values.to_numpy(dtype=np.float64), others.to_numpy(dtype=np.float64)
    differences: NDArray[np.float64] = np.log(one / other) if ratio else one - other
    differences = differences[np.isfinite(differences)]
    if len(differences) < MINIMUM_ARM:
        return None
    unit = "ratio" if ratio else "difference"
    outcome = Outcome(point.score, unit, values.to_frame(), differences, point.kimg, point.samples or None)
    arms = (len(differences), len(differences))
    return as_effect(outcome, names[0], names[1:], paired_effect(differences), arms, SAME_TRIALS)
