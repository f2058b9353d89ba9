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
            keep every trial, with the scores of its last evaluation within them; other limits then hold for what it
            had there. The order of limits does not matter.
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
    sweep = _limited(sweep, [_limit(text) for text in under], by)
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


def _limited(sweep: Sweep, limits: Sequence[tuple[str, float]], by: str) -> Sweep:
    budgets = [(name, limit) for name, limit in limits if name in PROGRESS]
    others = [(_column(sweep, name), limit) for name, limit in limits if name not in PROGRESS]
    if budgets:
        sweep = _within(sweep, budgets, [*([f"{SCORES}{by}"] if by else []), *(column for column, _ in others)])
    for column, limit in others:
        sweep = _kept(sweep, sweep.trials[column].astype(float) <= limit)
    return sweep


def _column(sweep: Sweep, name: str) -> str:
    """The column of a number that was logged."""
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
    return numbers[name]


def _within(sweep: Sweep, budgets: Sequence[tuple[str, float]], wanted: Sequence[str]) -> Sweep:
    """Every trial as it was at its last evaluation within all budgets; those that had none by then are left out.

    Of its metrics the objectives and the ``wanted`` columns are read again. The others are not known there.
    """
    trials = sweep.trials.copy()
    longer = ~_inside(trials, budgets) & trials[[name for name, _ in budgets]].notna().all(axis=1)
    if longer.any():
        measured = {
            column.partition(".")[2]: column
            for column in (*(f"{SCORES}{name}" for name in schema.OBJECTIVES), *wanted)
            if column in trials and column.startswith((SCORES, METRICS))
        }
        measured |= {name: name for name in (schema.SECONDS, schema.SAMPLES)}
        last, values = _as_they_were(dataclasses.replace(sweep, trials=trials[longer]), budgets, list(measured))
        unknown = [column for column in map(str, trials.columns) if column.startswith((SCORES, METRICS))]
        trials[unknown] = trials[unknown].astype(float).mask(longer)
        keys = trials.loc[longer, "key"]
        trials["kimg"] = trials["kimg"].astype(float)
        trials.loc[longer, "kimg"] = keys.map(last)
        for name, column in measured.items():
            if name in values:
                trials.loc[longer, column] = keys.map(values[name])
    repeats = sweep.repeats[_inside(sweep.repeats, budgets)]
    return _kept(dataclasses.replace(sweep, trials=trials, repeats=repeats), _inside(trials, budgets))


def _as_they_were(
    sweep: Sweep, budgets: Sequence[tuple[str, float]], names: Sequence[str]
) -> tuple[pd.Series[float], pd.DataFrame]:
    """By key, the last kimg within all budgets, and what each metric had last been by then, one column for each."""
    table = curves(sweep, names)
    seconds = table[table["name"] == schema.SECONDS].set_index(["key", "kimg"])["value"].rename(schema.SECONDS)
    points = table[["key", "kimg"]].drop_duplicates().join(seconds, on=["key", "kimg"])
    last = points[_inside(points, budgets)].groupby("key")["kimg"].max()
    before = table[table["kimg"] <= table["key"].map(last)]
    values = before.groupby(["key", "name"]).tail(1).pivot(index="key", columns="name", values="value")
    return last, values


def _inside(table: pd.DataFrame, budgets: Sequence[tuple[str, float]]) -> pd.Series[bool]:
    """Which rows are within all budgets; those without a value are not."""
    inside = table["key"].notna()
    for name, limit in budgets:
        inside &= table[name].astype(float) <= limit
    return inside


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


def _limit(text: str) -> tuple[str, float]:
    name, value = _split("under", text)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise AnalysisUsageError(f"--under {text}: {value!r} is no number")
    return name, number


def _is_number(column: pd.Series[Any]) -> bool:
    return column.dtype.kind in "iuf" and not column.isna().all()


def _equal(cell: Any, text: str) -> bool:
    if str(cell).lower() == text.lower():
        return True
    try:
        return not isinstance(cell, (bool, str)) and float(cell) == float(text)
    except (TypeError, ValueError):
        return False
