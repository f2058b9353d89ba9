"""Which trials a ranking is of: under a budget, with certain values, of several sweeps."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.errors import AnalysisUsageError
from analysis.runs import METRICS, PARAMS, SCORES, Sweep, curves, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

PROGRESS: Final = (schema.KIMG, schema.SECONDS)
"""Budgets that a trial passes on its way: it counts with the score that it had there."""
ALIASES: Final = {
    "parameters": f"{METRICS}generator_parameters",
    "latency": f"{METRICS}{schema.GENERATOR_LATENCY}",
}
"""Of a model that is to be used the generator is what must fit."""


def merged(sweeps: Sequence[Sweep]) -> Sweep:
    """Put the trials of several sweeps into one table; keys tell them apart.

    What the first sweep says of space, data and settings stands for all: a ranking refuses scores that were measured in
    different ways.
    """
    first, *others = sweeps
    if not others:
        return first
    dimensions = {
        dimension["name"]: dimension for sweep in sweeps for dimension in sweep.space.get("dimensions", ())
    }  # fmt: skip
    return dataclasses.replace(
        first,
        name=" + ".join(sweep.name for sweep in sweeps),
        trials=_together([sweep.trials for sweep in sweeps]),
        repeats=_together([sweep.repeats for sweep in sweeps])
        if any(len(s.repeats) for s in sweeps)
        else first.repeats,
        space={**first.space, "dimensions": list(dimensions.values())},
        sweeps=tuple(sweeps),
    )


def selected(
    sweep: Sweep, *, under: Sequence[str] = (), where: Sequence[str] = (), status: str | None = None, by: str = ""
) -> Sweep:
    """Leave out trials, with their repeats.

    Args:
        sweep: as it was loaded.
        under: ``NAME=VALUE``: only trials with at most so much of a number that was logged. ``kimg`` and ``seconds``
            keep every trial, with the scores of its last evaluation within them.
        where: ``NAME=VALUE``: only trials with that value of a parameter, or of ``system``.
        status: only trials of that status.
        by: the score that will be ranked by.

    Raises:
        AnalysisUsageError: an unknown name or status, a value that is no number, or no trial left.
    """
    if status is not None and status not in schema.STATUSES:
        raise AnalysisUsageError(f"--status {status}; allowed: {', '.join(schema.STATUSES)}")
    for text in where:
        sweep = _where(sweep, *_split("where", text))
    if status is not None:
        sweep = _kept(sweep, sweep.trials["status"] == status)
    for text in under:
        name, value = _split("under", text)
        sweep = _under(sweep, name, _number(text, value), by)
    if sweep.trials.empty:
        asked = [
            *(f"--where {w}" for w in where),
            *(f"--under {u}" for u in under),
            *([f"--status {status}"] * bool(status)),
        ]
        raise AnalysisUsageError(f"no trial of sweep {sweep.name!r} is left by {' '.join(asked)}")
    return sweep


def by_kind(sweep: Sweep) -> list[Sweep]:
    """The sweep as one with tags and one without, where it holds both: their distances are those of other tasks.

    Of several sweeps in one, each part is of those alone whose trials it holds: their names, data and judge.
    """
    column = f"{PARAMS}generator.conditioning"
    if column not in sweep.trials:
        return [sweep]
    without = (sweep.trials[column] == "none").fillna(False).astype(bool)
    if without.all() or not without.any():
        return [sweep]
    return [_of_its_own(_kept(sweep, ~without)), _of_its_own(_kept(sweep, without))]


def _of_its_own(part: Sweep) -> Sweep:
    """A part of a sweep, which says nothing of sweeps whose trials it does not hold."""
    own = merged(part.holding(part.trials["key"]))
    return dataclasses.replace(own, trials=part.trials, repeats=part.repeats)


def _where(sweep: Sweep, name: str, value: str) -> Sweep:
    known = {"system": "system", **{param: f"{PARAMS}{param}" for param in sweep.params}}
    if name not in known:
        raise AnalysisUsageError(
            f"--where {name}={value}: sweep {sweep.name!r} has no parameter {name!r}{nearest(name, known)}"
        )
    column = sweep.trials[known[name]]
    return _kept(sweep, column.map(lambda cell: _equal(cell, value)).astype(bool))


def _under(sweep: Sweep, name: str, limit: float, by: str) -> Sweep:
    if name in PROGRESS:
        return _within(sweep, name, limit, by)
    numbers = {
        column.removeprefix(prefix): column
        for prefix in (PARAMS, METRICS, SCORES, "")
        for column in map(str, sweep.trials.columns)
        if (prefix or column == "samples") and column.startswith(prefix) and _is_number(sweep.trials[column])
    }
    numbers |= {alias: column for alias, column in ALIASES.items() if column in sweep.trials}
    if name not in numbers:
        allowed = [*PROGRESS, *numbers]
        raise AnalysisUsageError(
            f"--under {name}: sweep {sweep.name!r} logged no number {name!r}{nearest(name, allowed)}; "
            f"for instance {', '.join(allowed[:6])}"
        )
    return _kept(sweep, sweep.trials[numbers[name]].astype(float) <= limit)


def _within(sweep: Sweep, name: str, limit: float, by: str) -> Sweep:
    """Every trial as it was at its last evaluation within a budget; those that had none by then are left out."""
    trials = sweep.trials.copy()
    longer = trials[name].astype(float) > limit
    if longer.any():
        part = dataclasses.replace(sweep, trials=trials[longer])
        wanted = dict.fromkeys([*schema.OBJECTIVES, *([by] if by else []), schema.SECONDS, schema.SAMPLES])
        points = curves(part, list(wanted)).pivot(index=["key", "kimg"], columns="name", values="value").reset_index()
        points = points[points[name] <= limit] if name in points else points.iloc[:0]
        last = points.sort_values("kimg").groupby("key").tail(1).set_index("key")
        # What was not read again, for want of a reason to, is not known there.
        columns = [column for column in map(str, trials.columns) if column.startswith((SCORES, METRICS))]
        trials[columns] = trials[columns].astype(float).mask(longer)
        for key, point in last.iterrows():
            row = trials["key"] == key
            for metric, value in point.items():
                column = str(metric) if metric in (*PROGRESS, schema.SAMPLES) else f"{SCORES}{metric}"
                if column in trials:
                    trials.loc[row, column] = value
        trials = trials[~longer | trials["key"].isin(last.index)]
    repeats = sweep.repeats
    inside = repeats[name].astype(float) <= limit if len(repeats) else repeats["key"].notna()
    return _kept(
        dataclasses.replace(sweep, trials=trials, repeats=repeats[inside]), trials[name].astype(float) <= limit
    )


def _kept(sweep: Sweep, rows: pd.Series[bool]) -> Sweep:
    trials = sweep.trials[rows].reset_index(drop=True)
    repeats = sweep.repeats[sweep.repeats["of"].isin(trials["key"])]
    return dataclasses.replace(sweep, trials=trials, repeats=repeats)


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([table for table in tables if len(table)] or list(tables[:1]), ignore_index=True)


def _split(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise AnalysisUsageError(f"--{option} {text!r}; expected --{option} NAME=VALUE")
    return name.strip(), value.strip()


def _number(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise AnalysisUsageError(f"--under {text}: {value!r} is no number")
    return number


def _is_number(column: pd.Series[Any]) -> bool:
    return column.dtype.kind in "iuf" and not column.isna().all()


def _equal(cell: Any, text: str) -> bool:
    if str(cell).lower() == text.lower():
        return True
    try:
        return not isinstance(cell, (bool, str)) and float(cell) == float(text)
    except (TypeError, ValueError):
        return False
