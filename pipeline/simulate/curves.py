"""What is replayed: the learning curves of a sweep in which no scheduler stopped a trial."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.runs import METRICS, PARAMS
from analysis.runs import curves as read_curves
from pipeline.samplers import distributions
from pipeline.settings import SweepSettings
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.runs import Sweep
    from search_spaces.space import Space

LEAST = 4
"""Fewer curves leave a search nothing to choose from."""
OUT_OF_TIME = "out of time"
"""Begins the reason of a trial that its own time limit stopped: it would have ended so under any scheduler."""


@dataclass(frozen=True)
class Point:
    """An evaluation of a trial."""

    kimg: int
    seconds: float
    """Since the trial began."""
    scores: Mapping[str, float]
    """Of the objectives, those that were measured."""


@dataclass(frozen=True)
class Curve:
    """One recorded trial."""

    key: str
    params: Mapping[str, Any]
    """Complete, by dotted name."""
    points: tuple[Point, ...]
    """By kimg, ascending; none for a trial that failed before it was scored."""
    seconds: float = 0.0
    """Until it ended, where that is later than its last point: a trial that failed or was out of time."""
    status: str = schema.FAILED
    """How it ends where no more points come before its budget is used: failed, or stopped by its own time limit."""

    @property
    def ends(self) -> float:
        """Seconds from its begin to its end."""
        return max(self.seconds, self.points[-1].seconds if self.points else 0.0)


@dataclass(frozen=True)
class Recording:
    """The curves of a sweep, and what it was a sweep of."""

    settings: SweepSettings
    space: Space
    curves: tuple[Curve, ...]
    """The recipe's first, as in every sweep."""
    left_out: int = 0
    """Trials that had not ended."""

    @property
    def best(self) -> float:
        """The lowest distance at the end of the budget; infinite where no trial came there."""
        return min((point.scores[schema.DISTANCE] for point in self.finals()), default=math.inf)

    @property
    def worst(self) -> float:
        """The highest distance at the end of the budget; 0 where no trial came there."""
        return max((point.scores[schema.DISTANCE] for point in self.finals()), default=0.0)

    def finals(self) -> list[Point]:
        """The points at the end of the budget that have a distance."""
        last = [curve.points[-1] for curve in self.curves if curve.points]
        return [point for point in last if self.settings.max_kimg <= point.kimg and schema.DISTANCE in point.scores]


def recording(sweep: Sweep) -> Recording:
    """Read what a sweep recorded.

    Trials that failed, or that ``--max-trial-seconds`` ended, end in the replay where they did. Those that are still
    running or were interrupted are left out, and counted.

    Raises:
        UserError: a sweep that cannot be replayed, with the reason.
    """
    settings = SweepSettings.from_json(sweep.settings)
    _require_replayable(sweep, settings)
    unfinished = sweep.trials["status"].isin((schema.RUNNING, schema.INTERRUPTED))
    trials = sweep.trials[~unfinished]
    histories = _histories(dataclasses.replace(sweep, trials=trials))
    found = [_curve(row, histories.get(row["key"], {})) for row in trials.to_dict("records")]
    if len(found) < LEAST or not found[0].points:
        what = f"{len(found)} trials that ended" if len(found) < LEAST else "a recipe that failed before it was scored"
        raise UserError(
            f"sweep {sweep.name!r} has {what}; to replay its curves, {LEAST} trials or more and the recipe's are needed"
        )
    space = _space(sweep, settings)
    if not distributions(space):
        raise UserError(f"sweep {sweep.name!r} varies nothing: there is nothing to search")
    return Recording(settings, space, tuple(found), int(unfinished.sum()))


def _require_replayable(sweep: Sweep, settings: SweepSettings) -> None:
    again = "run one with --scheduler none to replay it"
    changed = f"{METRICS}{schema.MUTATIONS}"
    if settings.scheduler == "pbt" or (changed in sweep.trials and (sweep.trials[changed] > 0).any()):
        raise UserError(
            f"sweep {sweep.name!r} was population-based: its curves are of configurations that changed; {again}"
        )
    reasons = sweep.trials["reason"].fillna("").astype(str)
    stopped = (sweep.trials["status"] == schema.STOPPED) & ~reasons.str.startswith(OUT_OF_TIME)
    if stopped.any():
        # To cut all curves off where the first one ends would leave nothing to decide; to leave out those that were
        # stopped would leave only the good ones.
        raise UserError(
            f"sweep {sweep.name!r} has {int(stopped.sum())} trials that its scheduler ({settings.scheduler}) stopped, "
            f"for instance {sweep.trials.loc[stopped, 'key'].iloc[0]}: how they would have gone on is not known, and "
            f"the others are the better ones; {again}"
        )


def _space(sweep: Sweep, settings: SweepSettings) -> Space:
    """The space as it was searched: with the conditions and implications that ``space.json`` does not tell."""
    space = settings.resolve_space()
    searched = {dimension["name"]: dimension for dimension in sweep.space.get("dimensions", ())}
    for dimension in space.dimensions:
        if dimension.name not in searched:  # `prepare` takes out what the data leaves no choice of
            space = space.without(dimension.name, sweep.space.get("recipe", {})[dimension.name])
    if [json.loads(json.dumps(dimension.to_json())) for dimension in space.dimensions] != list(searched.values()):
        raise UserError(
            f"sweep {sweep.name!r} searched another space {settings.space} than this version of gansweep has; use the "
            "version that ran it"
        )
    return space


def _histories(sweep: Sweep) -> dict[str, dict[int, dict[str, float]]]:
    """Key -> kimg -> name -> value."""
    found: dict[str, dict[int, dict[str, float]]] = {}
    names = [schema.SECONDS, *(name for name in schema.OBJECTIVES if name in sweep.scores)]
    for key, kimg, name, value in read_curves(sweep, names).itertuples(index=False):
        found.setdefault(key, {}).setdefault(int(kimg), {})[name] = float(value)
    return found


def _curve(row: dict[Any, Any], history: dict[int, dict[str, float]]) -> Curve:
    params = {name.removeprefix(PARAMS): value for name, value in row.items() if name.startswith(PARAMS)}
    points = tuple(
        Point(kimg, values[schema.SECONDS], {name: values[name] for name in schema.OBJECTIVES if name in values})
        for kimg, values in sorted(history.items())
        if schema.SECONDS in values
    )
    ended_early = row["status"] != schema.COMPLETE
    status = schema.STOPPED if row["status"] == schema.STOPPED else schema.FAILED
    return Curve(row["key"], params, points, _time_taken(row["stretches"]) if ended_early else 0.0, status)


def _time_taken(stretches: Any) -> float:
    """Seconds of a trial on its slots, by its tag; 0 where that says nothing."""
    try:
        return sum(max(0.0, float(one["end"]) - float(one["start"])) for one in json.loads(stretches))
    except (TypeError, ValueError, KeyError):
        return 0.0
