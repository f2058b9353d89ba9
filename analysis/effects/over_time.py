"""Effects along training: what a trick does early and late, in the same trials."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.effects.comparison_point import (
    SHARE,
    common_point,
    early_point,
    points_of,
    require_one_fingerprint,
)
from analysis.effects.dimensions import Axis, axes_of
from analysis.effects.effect import MINIMUM_TRIALS
from analysis.effects.marginal import contrast, response_at, slope
from analysis.errors import AnalysisUsageError
from analysis.mlflow_reader.mutated import without_mutated
from analysis.mlflow_reader.sweep import nearest
from analysis.script import silent

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

    from analysis.effects.effect import Effect, Response
    from analysis.mlflow_reader.sweep import Sweep
    from analysis.script import Progress


@dataclass(frozen=True)
class Turn:
    """An effect early and late in training, among the trials that were scored at both points."""

    early: Effect
    late: Effect

    @property
    def reverses(self) -> bool:
        """Whether it helps at one point and hurts at the other, both beyond doubt: draws sooner but ends worse."""
        none = 1.0 if self.early.unit == "ratio" else 0.0
        opposite = (self.early.estimate - none) * (self.late.estimate - none) < 0
        return self.early.separable and self.late.separable and opposite

    def to_json(self) -> dict[str, Any]:
        """Both effects, and whether they are opposite."""
        return {"early": self.early.to_json(), "late": self.late.to_json(), "reverses": self.reverses}


def _responses(sweep: Sweep, curves: pd.DataFrame, metric: str) -> list[Response]:
    """Return the metric at every point of training that at least half of the scored trials reached."""
    require_one_fingerprint(sweep)
    sweep = without_mutated(sweep)
    included = curves[curves["key"].isin(sweep.trials["key"])]
    return [response_at(sweep, point) for point in points_of(included, metric) if point.share >= SHARE]


def effects_over_time(
    sweep: Sweep, curves: pd.DataFrame, metric: str, progress: Progress = silent
) -> list[list[Effect]]:
    """Estimate every effect at every point of training that at least half of the scored trials reached.

    Choices are compared with the default's, numbers are followed by their slope; comparisons that are known at fewer
    than two points are left out. The trials are those scored at that point: where fewer reach the next, another effect
    may come from them. Mutated trials are left out, here and in ``turn``.

    Args:
        sweep: with its ``space.json``.
        curves: from ``learning_curves``, with the metric.
        metric: a score.
        progress: called with (done, total).
    """
    compared: list[tuple[Axis, Collection[Any], Collection[Any]]] = [
        (axis, [choice], [axis.default]) if axis.choices else (axis, (), ())
        for axis in axes_of(sweep)
        for choice in (axis.choices or (None,))
        if not axis.choices or choice != axis.default
    ]
    responses, paths = _responses(sweep, curves, metric), []
    for place, comparison in enumerate(compared, 1):
        effects = [_effect(response, *comparison) for response in responses]
        paths.append([effect for effect in effects if effect is not None])
        progress(place, len(compared))
    return [path for path in paths if len(path) > 1]


def turn(
    sweep: Sweep, curves: pd.DataFrame, metric: str, dimension: str, values: Collection[Any] = (),
    against: Collection[Any] = (),
) -> Turn | None:  # fmt: skip
    """Compare an effect at the earliest and the latest comparable point.

    Args:
        sweep: with its ``space.json``.
        curves: from ``learning_curves``, with the metric.
        metric: a score.
        dimension: its name.
        values: choices that are compared; none follows a number by its slope.
        against: choices with which they are compared.

    Returns:
        ``None`` if too few trials were scored at both points.

    Raises:
        AnalysisUsageError: the sweep has no such dimension, or the dimension no such choice.
    """
    require_one_fingerprint(sweep)
    sweep = without_mutated(sweep)
    axis = _require_axis(axes_of(sweep), dimension, [*values, *against])
    points = points_of(curves[curves["key"].isin(sweep.trials["key"])], metric)
    late = common_point(points, MINIMUM_TRIALS)
    early = early_point(points, MINIMUM_TRIALS, late) if late else None
    if early is None or late is None:
        return None
    both = early.values.index.intersection(late.values.index)
    some = [replace(point, values=point.values.loc[both]) for point in (early, late)]
    sides = [_effect(response_at(sweep, point), axis, values, against) for point in some]
    return Turn(sides[0], sides[1]) if sides[0] and sides[1] else None


def _require_axis(axes: Sequence[Axis], name: str, values: Collection[Any]) -> Axis:
    """Return an axis that has all these choices.

    Raises:
        AnalysisUsageError: there is none.
    """
    axis = _axis(axes, name)
    if axis is None:
        names = [other.name for other in axes]
        raise AnalysisUsageError(f"no dimension {name!r}{nearest(name, names)}; the sweep has: {', '.join(names)}")
    if unknown := [value for value in values if value not in axis.choices]:
        allowed = ", ".join(map(repr, axis.choices)) or "none, it is a range: leave values and against empty"
        raise AnalysisUsageError(f"{name} has no choice {unknown[0]!r}; allowed: {allowed}")
    return axis


def _axis(axes: Sequence[Axis], name: str) -> Axis | None:
    return next((axis for axis in axes if axis.name == name), None)


def _effect(response: Response, axis: Axis, values: Collection[Any], against: Collection[Any]) -> Effect | None:
    return contrast(response, axis, values, against) if values else slope(response, axis)
