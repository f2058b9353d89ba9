"""Learning curves of a sweep in which no scheduler stopped a trial, to be replayed."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.mlflow_reader.sweep import METRICS, PARAMS
from analysis.mlflow_reader.sweep import curves as read_curves
from pipeline.search.samplers import distributions
from pipeline.settings import SweepSettings
from search_spaces.space import without_prose
from trainables.config import GanConfig
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.mlflow_reader.sweep import Sweep
    from search_spaces.space import Space

MIN_CURVES = 4
"""Minimum number of curves: fewer leave a search nothing to choose from."""
OUT_OF_TIME = "out of time"
"""Prefix of the reason of a trial that was stopped by its own time limit, as it would be under any scheduler."""


@dataclass(frozen=True)
class Point:
    """An evaluation of a trial."""

    kimg: int
    seconds: float
    """Since the start of the trial."""
    scores: Mapping[str, float]
    """Values of the objectives that were measured."""


@dataclass(frozen=True)
class Curve:
    """One recorded trial."""

    key: str
    params: Mapping[str, Any]
    """Complete, by dotted name."""
    points: tuple[Point, ...]
    """By kimg, ascending; empty for a trial that failed before its first score."""
    seconds: float = 0.0
    """Duration of a trial that failed or ran out of time after its last point."""
    status: str = schema.FAILED
    """Status of a trial whose points end before its budget: failed, or stopped by its own time limit."""
    flops_per_kimg: float = math.nan
    """Floating-point operations for each kimg of ``points``; NaN if they are unknown."""

    @property
    def ends(self) -> float:
        """Seconds from the start to the end of the trial."""
        return max(self.seconds, self.points[-1].seconds if self.points else 0.0)


@dataclass(frozen=True)
class Recording:
    """The curves of a sweep, its settings and its space."""

    settings: SweepSettings
    space: Space
    curves: tuple[Curve, ...]
    """The baseline recipe's first."""
    left_out: int = 0
    """Number of trials that had not ended."""

    @property
    def best(self) -> float:
        """Lowest distance at the end of the budget; infinite if no trial reached it."""
        return min((point.scores[schema.DISTANCE] for point in self.finals()), default=math.inf)

    @property
    def worst(self) -> float:
        """Highest distance at the end of the budget; 0 if no trial reached it."""
        return max((point.scores[schema.DISTANCE] for point in self.finals()), default=0.0)

    def finals(self) -> list[Point]:
        """Return the points at the end of the budget that have a distance."""
        last = [curve.points[-1] for curve in self.curves if curve.points]
        return [point for point in last if self.settings.max_kimg <= point.kimg and schema.DISTANCE in point.scores]


def recording(sweep: Sweep) -> Recording:
    """Read the curves of a sweep.

    Trials that failed or were ended by ``--max-trial-seconds`` end at the same point in the replay. Running and
    interrupted trials are left out and counted.

    Raises:
        UserError: why the sweep cannot be replayed.
    """
    settings = SweepSettings.from_json(sweep.settings)
    _require_replayable(sweep, settings)
    unfinished = sweep.trials["status"].isin((schema.RUNNING, schema.INTERRUPTED))
    trials = sweep.trials[~unfinished]
    histories = _histories(dataclasses.replace(sweep, trials=trials))
    curves = [_curve(row, histories.get(row["key"], {})) for row in trials.to_dict("records")]
    if len(curves) < MIN_CURVES or not curves[0].points:
        problem = (
            f"{len(curves)} trials that ended"
            if len(curves) < MIN_CURVES
            else "a baseline recipe that failed before its first score"
        )
        raise UserError(
            f"sweep {sweep.name!r} has {problem}; a replay needs at least {MIN_CURVES} trials "
            "and the scores of the baseline recipe"
        )
    space = _space(sweep, settings)
    if not distributions(space):
        raise UserError(f"sweep {sweep.name!r} has no dimension to search: all are fixed")
    return Recording(settings, space, tuple(curves), int(unfinished.sum()))


def _require_replayable(sweep: Sweep, settings: SweepSettings) -> None:
    advice = "run a sweep with --scheduler none to replay it"
    changed = f"{METRICS}{schema.MUTATIONS}"
    if settings.scheduler == "pbt" or (changed in sweep.trials and (sweep.trials[changed] > 0).any()):
        raise UserError(
            f"sweep {sweep.name!r} was population-based: its configurations changed during training; {advice}"
        )
    reasons = sweep.trials["reason"].fillna("").astype(str)
    stopped = (sweep.trials["status"] == schema.STOPPED) & ~reasons.str.startswith(OUT_OF_TIME)
    if stopped.any():
        # Truncating all curves where the first one ends would leave nothing to decide; leaving out the stopped trials
        # would leave only the good ones.
        raise UserError(
            f"sweep {sweep.name!r} has {int(stopped.sum())} trials that its scheduler ({settings.scheduler}) stopped, "
            f"for instance {sweep.trials.loc[stopped, 'key'].iloc[0]}: the rest of their curves is unknown, and the "
            f"other trials are the better ones; {advice}"
        )


def _space(sweep: Sweep, settings: SweepSettings) -> Space:
    """Return the space that was searched, with the conditions and implications that ``space.json`` lacks."""
    space = settings.resolve_space()
    searched = {dimension["name"]: dimension for dimension in sweep.space.get("dimensions", ())}
    # `prepare` removes dimensions that the data determines. An earlier version may lack others, and even parameters,
    # which then have the value that a configuration without them has.
    recipe = GanConfig.from_params(sweep.space.get("recipe", {})).to_params()
    for dimension in space.dimensions:
        if dimension.name not in searched:
            space = space.without(dimension.name, recipe[dimension.name])
    if without_prose(json.loads(json.dumps(space.to_json())))["dimensions"] != without_prose(sweep.space)["dimensions"]:
        raise UserError(
            f"sweep {sweep.name!r} searched a space {settings.space} that differs from this version's; use the "
            "version of gansweep that ran it"
        )
    return space


def _histories(sweep: Sweep) -> dict[str, dict[int, dict[str, float]]]:
    """Return values by key, kimg and name."""
    histories: dict[str, dict[int, dict[str, float]]] = {}
    names = [schema.SECONDS, *(name for name in schema.OBJECTIVES if name in sweep.scores)]
    for key, kimg, name, value in read_curves(sweep, names).itertuples(index=False):
        histories.setdefault(key, {}).setdefault(int(kimg), {})[name] = float(value)
    return histories


def _curve(row: dict[Any, Any], history: dict[int, dict[str, float]]) -> Curve:
    params = {name.removeprefix(PARAMS): value for name, value in row.items() if name.startswith(PARAMS)}
    points = tuple(
        Point(kimg, values[schema.SECONDS], {name: values[name] for name in schema.OBJECTIVES if name in values})
        for kimg, values in sorted(history.items())
        if schema.SECONDS in values
    )
    ended_early = row["status"] != schema.COMPLETE
    status = schema.STOPPED if row["status"] == schema.STOPPED else schema.FAILED
    spent = row.get(METRICS + schema.COST_KIMG, row["kimg"])  # in the unit of the points, beside real images
    flops = 1000 * row.get(METRICS + schema.FLOPS, math.nan) * (row["kimg"] / spent if spent else math.nan)
    return Curve(row["key"], params, points, _time_taken(row["stretches"]) if ended_early else 0.0, status, flops)


def _time_taken(stretches: Any) -> float:
    """Return the seconds that a trial spent on worker slots, from its tag; 0 if the tag is missing or invalid."""
    try:
        return sum(max(0.0, float(one["end"]) - float(one["start"])) for one in json.loads(stretches))
    except (TypeError, ValueError, KeyError):
        return 0.0
