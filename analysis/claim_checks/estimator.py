"""Estimate the effect that each part of a claim predicts, from the best evidence that a sweep has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis import schema
from analysis.claim_checks.claims import EARLY, END, Contrast, Part, ScoreContrast, Slope, TrainingChange
from analysis.effects.comparison_point import (
    ComparisonPoint,
    common_point,
    early_point,
    points_of,
    require_one_fingerprint,
)
from analysis.effects.curve_figures import BOUNDS, CURVE_FIGURES, NOT_REACHED, add_curve_figures, figure_curves
from analysis.effects.dimensions import Axis, axes_of
from analysis.effects.effect import (
    FAILED,
    MINIMUM_ARM,
    MINIMUM_TRIALS,
    SAME_TRIALS,
    Effect,
    Response,
    is_ratio,
    join_values,
    make_effect,
)
from analysis.effects.marginal import contrast, failure_response, response_at, slope
from analysis.effects.paired import (
    ablation_effect,
    ablation_slope,
    at_early_point,
    confirmation_effect,
    distinct_runs,
)
from analysis.effects.regression import paired_effect
from analysis.mlflow_reader.learning_curves import learning_curves
from analysis.mlflow_reader.mutated import without_mutated
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from analysis.mlflow_reader.sweep import Sweep


class ClaimEstimator:
    """Estimates effects for the parts of claims; reads the learning curves of a sweep once.

    Args:
        sweep: with its ``space.json``; mutated trials are left out.
        metrics: metrics that parts of claims refer to; those that no trial logged are ignored.

    Raises:
        AnalysisError: the trials' scores have several fingerprints.
    """

    def __init__(self, sweep: Sweep, metrics: Sequence[str]) -> None:
        require_one_fingerprint(sweep)
        sweep = without_mutated(sweep)
        figures = figure_curves(sweep)
        self.sweep = sweep = add_curve_figures(sweep, figures)
        self.axes: dict[str, Axis] = {axis.name: axis for axis in axes_of(sweep)}
        self.systems = set(sweep.trials["system"])
        scored = [name for name in metrics if {f"{SCORES}{name}", f"{METRICS}{name}"} & set(sweep.trials.columns)]
        self._curves = _curves(sweep, scored, figures)
        self._repeat_curves = _curves(replace(sweep, trials=sweep.repeats), scored, figures)
        self._base_curves = {
            name: _together(self._curves[name], _of_base(sweep, self._repeat_curves[name])) for name in scored
        }
        self._points = {name: _points(self._curves[name], name) for name in scored}
        self._base_points = {name: _points(self._base_curves[name], name) for name in scored}
        """Of the trials, and of the repeats of unchanged configurations."""
        self._responses: dict[tuple[str, str], Response | None] = {}
        self.metrics = {*scored, *([FAILED] if FAILED in metrics else [])}

    def fixed(self, dimension: str) -> Any:
        """Return the value that a parameter has in all trials; ``None`` if it varies or is unknown."""
        column = self.sweep.trials.get(f"{PARAMS}{dimension}")
        return column.iloc[0] if column is not None and column.nunique(dropna=False) == 1 else None

    def point(self, metric: str, time: str) -> ComparisonPoint | None:
        """Return the training point at which trials are compared; ``None`` if too few trials were scored."""
        return _choose(self._points[metric], MINIMUM_TRIALS, time)

    def contrast(self, part: Contrast) -> Effect | None:
        """Estimate a contrast from ablation or confirmation runs if there are enough, otherwise from the trials."""
        axis, axes = self.axes[part.dimension], list(self.axes.values())
        for repeated in (ablation_effect, confirmation_effect):
            effect = repeated(self._repeated(part), axis, axes, part.values, part.against, part.metric)
            if effect is not None:
                return effect
        response = self._response(part)
        return contrast(response, axis, part.values, part.against) if response else None

    def slope(self, part: Slope) -> Effect | None:
        """Estimate the slope along a numeric dimension from ablation runs if there are enough, else from the trials."""
        axis, axes = self.axes[part.dimension], list(self.axes.values())
        effect = ablation_slope(self._repeated(part), axis, axes, part.metric)
        if effect is not None:
            return effect
        response = self._response(part)
        return slope(response, axis) if response else None

    def _repeated(self, part: Contrast | Slope) -> Sweep:
        """Return the sweep with the repeats' metric as it was at the time of the part."""
        early = part.time == EARLY and part.metric != FAILED
        return at_early_point(self.sweep, self._repeat_curves[part.metric], part.metric) if early else self.sweep

    def training_change(self, part: TrainingChange) -> Effect | None:
        """Compare each run with itself at two training points: equal sample counts, the widest span of kimg."""
        points = self._base_points[part.metric]
        some = {
            key
            for runs in (self.sweep.trials, self.sweep.repeats)
            if (name := f"{PARAMS}{part.dimension}") in runs
            for key in runs.loc[runs[name].isin(list(part.values)), "key"]
        }
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
        name = f"{join_values(part.values)} at {late.kimg} kimg"
        return _paired(late, late.values[keys], early.values[keys], (part.dimension, name, f"{early.kimg} kimg"))

    def score_contrast(self, part: ScoreContrast) -> Effect | None:
        """Compare two scores of the same runs at one training point."""
        points = self._base_points[part.metric]
        point = _choose(points, MINIMUM_ARM, part.time) or _choose(points, MINIMUM_ARM, END)
        other = next((one for one in self._base_points[part.other] if point and one.kimg == point.kimg), None)
        if point is None or other is None:
            return None
        keys = self._both(point, other, set(point.values.index))
        bounds = self._bounds(point)[keys]
        keys = list(bounds.index[bounds.fillna(0.0).eq(0) | bounds.ne(self._bounds(other)[keys])])
        return _paired(point, point.values[keys], other.values[keys], ("", "itself", part.other))

    def explain_shortage(self, part: Part) -> str:
        """Explain why no effect could be estimated: how many trials there are and how many are needed."""
        if part.metric == FAILED:
            failed = int((self.sweep.trials["status"] == "failed").sum())
            return f"{len(self.sweep.trials)} trials, {failed} of them failed"
        metrics = (part.metric, part.other) if isinstance(part, ScoreContrast) else (part.metric,)
        return self._shortage(part) + "".join(self._never_reached(metric) for metric in metrics)

    def _never_reached(self, figure: str) -> str:
        """Say how many runs never reached the level of a figure; empty if all did."""
        bounds = [
            frame[name] for frame in (self.sweep.trials, self.sweep.repeats) if (name := f"{BOUNDS}{figure}") in frame
        ]
        never, known = sum(int((one == NOT_REACHED).sum()) for one in bounds), sum(int(one.count()) for one in bounds)
        return f"; {never} of {known} runs never reached the level of {figure}" if never else ""

    def _shortage(self, part: Part) -> str:
        point = self.point(part.metric, part.time)
        if point is None:
            early = " and at half of it or before" if part.time == EARLY else ""
            most = max((len(one.values) for one in self._points[part.metric]), default=0)
            half = ", and at least half of those scored" if most >= MINIMUM_TRIALS else ""
            return f"at most {most} trials scored at one point{early}; {MINIMUM_TRIALS} are needed{half}"
        return (
            f"{len(point.values)} trials at {point.kimg} kimg; {MINIMUM_TRIALS} with the values it compares are "
            f"needed, {MINIMUM_ARM} of each, and not always together with the same other values"
        )

    def _response(self, part: Contrast | Slope) -> Response | None:
        """Return the trials' metric at the time of the part; parts share it."""
        known = (part.metric, part.time)
        if known not in self._responses:
            self._responses[known] = self._measure(part)
        return self._responses[known]

    def _measure(self, part: Contrast | Slope) -> Response | None:
        if part.metric == FAILED:
            return failure_response(self.sweep)
        point = self.point(part.metric, part.time)
        if point is None:
            return None
        bounds = self._bounds(point).dropna()
        return response_at(self.sweep, point) if bounds.empty or bounds.eq(0).sum() >= MINIMUM_ARM else None

    def _bounds(self, point: ComparisonPoint) -> pd.Series[float]:
        """Return whether the value of each run at a point is a bound; missing where the metric has none."""
        curves, name = self._base_curves[point.score], f"{BOUNDS}{point.score}"
        here = curves[curves["kimg"] == point.kimg].set_index("key").reindex(columns=[name])[name]
        return here.reindex(point.values.index).astype(float)

    @staticmethod
    def _both(one: ComparisonPoint, other: ComparisonPoint, some: set[str]) -> list[str]:
        return sorted(some & set(one.values.index) & set(other.values.index))


def _curves(sweep: Sweep, metrics: Sequence[str], figures: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Give the evaluations of every run by metric; a figure of the learning curve is what the run had until then."""
    columns = {*map(str, sweep.trials.columns)}
    whole = [name for name in metrics if name.startswith(CURVE_FIGURES)]
    logged = [name for name in metrics if name not in whole and {f"{SCORES}{name}", f"{METRICS}{name}"} & columns]
    table = learning_curves(sweep, logged) if logged and len(sweep.trials) else None
    empty = pd.DataFrame(columns=["key", "kimg", schema.SAMPLES, *metrics])
    some = {name: table for name in logged if table is not None and name in table}
    if figures is not None:
        own = figures[figures["key"].isin(sweep.trials["key"])]
        some |= {name: own for name in whole if name in figures}
    return {name: some.get(name, empty) for name in metrics}


def _points(curves: pd.DataFrame, metric: str) -> list[ComparisonPoint]:
    """List the points at which runs have a metric; of a figure, among all runs, because early ones have none yet."""
    return points_of(curves, metric, curves["key"].nunique() if metric.startswith(CURVE_FIGURES) else None)


def _of_base(sweep: Sweep, curves: pd.DataFrame) -> pd.DataFrame:
    """Select the repeats of unchanged configurations: they, and not their variants, are a sample of seeds."""
    repeats = distinct_runs(sweep.repeats)
    base = repeats["variant"].isin([schema.UNCHANGED, schema.WINNER, schema.RECIPE_VARIANT])
    return curves[curves["key"].isin(repeats.loc[base, "key"])]


def _together(curves: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([curves, others], ignore_index=True) if len(others) else curves


def _choose(points: list[ComparisonPoint], minimum: int, time: str) -> ComparisonPoint | None:
    late = common_point(points, minimum)
    return late if time == END or late is None else early_point(points, minimum, late)


def _paired(
    point: ComparisonPoint, values: pd.Series[float], others: pd.Series[float], names: tuple[str, str, str]
) -> Effect | None:
    ratio = is_ratio(point.score)
    one, other = values.to_numpy(dtype=np.float64), others.to_numpy(dtype=np.float64)
    if ratio:
        positive = (one > 0) & (other > 0)
        one, other = np.log(one[positive]), np.log(other[positive])
    differences: NDArray[np.float64] = one - other
    differences = differences[np.isfinite(differences)]
    if len(differences) < MINIMUM_ARM:
        return None
    unit = "ratio" if ratio else "difference"
    response = Response(point.score, unit, values.to_frame(), differences, point.kimg, point.samples or None)
    arms = (len(differences), len(differences))
    return make_effect(response, names[0], names[1:], paired_effect(differences), arms, SAME_TRIALS)
