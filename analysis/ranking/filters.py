"""Select the trials to rank: under a budget, by parameter values, from several sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.ranking.ranking import Ranking

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Final

from analysis import schema
from analysis.errors import AnalysisUsageError
from analysis.mlflow_reader.run_table import costs
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES, Sweep, curves, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

PROGRESS: Final = (schema.KIMG, schema.SECONDS, schema.COST_KIMG)
"""Budgets along training: a trial counts with the score that it had there."""
ALIASES: Final = {
    "parameters": f"{METRICS}generator_parameters",
    "latency": f"{METRICS}{schema.GENERATOR_LATENCY}",
    "flops": f"{METRICS}{schema.FLOPS}",
}
"""Short names of limits; parameters and latency refer to the generator, which alone is deployed."""


def merge_sweeps(sweeps: Sequence[Sweep]) -> Sweep:
    """Merge the trials of several sweeps into one table; their keys are unique.

    Space, data and settings are taken from the first sweep; the ranking refuses scores with different fingerprints.
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
        trials=_concatenate([sweep.trials for sweep in sweeps]),
        repeats=_concatenate([sweep.repeats for sweep in sweeps])
        if any(len(s.repeats) for s in sweeps)
        else first.repeats,
        space={**first.space, "dimensions": list(dimensions.values())},
        sweeps=tuple(sweeps),
    )


def select_trials(
    sweep: Sweep, *, under: Sequence[str] = (), where: Sequence[str] = (), status: str | None = None, by: str = ""
) -> Sweep:
    """Select trials and their repeats.

    Args:
        sweep: the sweep.
        under: ``NAME=VALUE``: keep trials whose logged number is at most that value. ``kimg``, ``seconds`` and
            ``cost_kimg`` (used of the budget) keep every trial, with the scores of its last evaluation within them;
            other limits then apply to the values there. The order of limits does not matter.
        where: ``NAME=VALUE``: keep trials with that value of a parameter, or of ``system``.
        status: keep trials of that status.
        by: the score to rank by.

    Raises:
        AnalysisUsageError: an unknown name or status, a value that is not a number, or no trial left.
    """
    if status is not None and status not in schema.STATUSES:
        raise AnalysisUsageError(f"--status {status}; allowed: {', '.join(schema.STATUSES)}")
    for text in where:
        sweep = _where(sweep, *_split("where", text))
    if status is not None:
        sweep = _keep_rows(sweep, sweep.trials["status"] == status)
    sweep = _limited(sweep, [_limit(text) for text in under], by)
    if sweep.trials.empty and not (where or under or status):
        state = "" if sweep.sweeps else f"; `gansweep status {sweep.name}` shows its state"
        raise AnalysisUsageError(f"no trial of sweep {sweep.name!r} has begun{state}")
    if sweep.trials.empty:
        options = [
            *(f"--where {w}" for w in where),
            *(f"--under {u}" for u in under),
            *([f"--status {status}"] * bool(status)),
        ]
        raise AnalysisUsageError(f"no trial of sweep {sweep.name!r} is left by {' '.join(options)}")
    return sweep


def split_by_conditioning(sweep: Sweep) -> list[Sweep]:
    """Split a sweep with both kinds into a conditional and an unconditional part, whose distances do not compare.

    If sweeps were merged, each part keeps only the sweeps whose trials it contains, with their names, data and tag
    classifier.
    """
    column = f"{PARAMS}generator.conditioning"
    if column not in sweep.trials:
        return [sweep]
    without = (sweep.trials[column] == "none").fillna(False).astype(bool)
    if without.all() or not without.any():
        return [sweep]
    return [_drop_other_sweeps(_keep_rows(sweep, ~without)), _drop_other_sweeps(_keep_rows(sweep, without))]


def _drop_other_sweeps(part: Sweep) -> Sweep:
    """Reduce merged sweeps to those whose trials the part contains."""
    merged = merge_sweeps(part.holding(part.trials["key"]))
    return dataclasses.replace(merged, trials=part.trials, repeats=part.repeats)


def _where(sweep: Sweep, name: str, value: str) -> Sweep:
    columns = {"system": "system", **{param: f"{PARAMS}{param}" for param in sweep.params}}
    if name not in columns:
        raise AnalysisUsageError(
            f"--where {name}={value}: sweep {sweep.name!r} has no parameter {name!r}{nearest(name, columns)}"
        )
    column = sweep.trials[columns[name]]
    return _keep_rows(sweep, column.map(lambda cell: _equal(cell, value)).astype(bool))


def _limited(sweep: Sweep, limits: Sequence[tuple[str, float]], by: str) -> Sweep:
    budgets = [(name, limit) for name, limit in limits if name in PROGRESS]
    limited = [(_column(sweep, name), limit) for name, limit in limits if name not in PROGRESS]
    if budgets:
        sweep = _within(sweep, budgets, [*([f"{SCORES}{by}"] if by else []), *(column for column, _ in limited)])
    for column, limit in limited:
        sweep = _keep_rows(sweep, sweep.trials[column].astype(float) <= limit)
    return sweep


def _column(sweep: Sweep, name: str) -> str:
    """Return the column of a logged number."""
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
    """Return every trial as of its last evaluation within all budgets, without trials that had none by then.

    The objectives and the ``wanted`` columns are read from the histories; all other metrics become missing.
    """
    trials = sweep.trials.copy()
    longer = ~_is_within(trials, budgets) & _spent(trials)[[name for name, _ in budgets]].notna().all(axis=1)
    if longer.any():
        measured = {
            column.partition(".")[2]: column
            for column in (*(f"{SCORES}{name}" for name in schema.OBJECTIVES), *wanted)
            if column in trials and column.startswith((SCORES, METRICS))
        }
        measured |= {name: name for name in (schema.KIMG, schema.SECONDS, schema.SAMPLES)}
        if (cost := METRICS + schema.COST_KIMG) in trials:
            measured[schema.COST_KIMG] = cost
        values = _values_within(dataclasses.replace(sweep, trials=trials[longer]), budgets, list(measured))
        unknown = [column for column in map(str, trials.columns) if column.startswith((SCORES, METRICS))]
        trials[unknown] = trials[unknown].astype(float).mask(longer)
        keys = trials.loc[longer, "key"]
        trials["kimg"] = trials["kimg"].astype(float)
        for name, column in measured.items():
            if name in values:
                trials.loc[longer, column] = keys.map(values[name])
    repeats = sweep.repeats[_is_within(sweep.repeats, budgets)]
    return _keep_rows(dataclasses.replace(sweep, trials=trials, repeats=repeats), _is_within(trials, budgets))


def _values_within(sweep: Sweep, budgets: Sequence[tuple[str, float]], names: Sequence[str]) -> pd.DataFrame:
    """Return by key the last value of each metric within all budgets, in columns; ``kimg`` is always among them."""
    table = curves(sweep, names).rename(columns={"kimg": "step"})
    progress = table[table["name"].isin((schema.KIMG, schema.SECONDS))]
    points = table[["key", "step"]].drop_duplicates().join(
        progress.pivot(index=["key", "step"], columns="name", values="value"), on=["key", "step"]
    ).reindex(columns=["key", "step", schema.KIMG, schema.SECONDS])  # fmt: skip
    points[METRICS + schema.COST_KIMG] = points["step"]
    points["kimg"] = points["kimg"].fillna(points["step"])
    inside = points[_is_within(points, budgets)].groupby("key").tail(1).set_index("key")
    before = table[table["step"] <= table["key"].map(inside["step"])]
    values = before.groupby(["key", "name"]).tail(1).pivot(index="key", columns="name", values="value")
    return values.assign(kimg=inside["kimg"])


def _is_within(table: pd.DataFrame, budgets: Sequence[tuple[str, float]]) -> pd.Series[bool]:
    """Mark the rows within all budgets; rows without a value are not."""
    inside, spent = table["key"].notna(), _spent(table)
    for name, limit in budgets:
        inside &= spent[name].astype(float) <= limit
    return inside


def _spent(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with all columns of ``PROGRESS``."""
    return table.assign(**{schema.COST_KIMG: costs(table)})


def _keep_rows(sweep: Sweep, rows: pd.Series[bool]) -> Sweep:
    trials = sweep.trials[rows].reset_index(drop=True)
    repeats = sweep.repeats[sweep.repeats["of"].isin(trials["key"])]
    return dataclasses.replace(sweep, trials=trials, repeats=repeats)


def _concatenate(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
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


def varied_parameters(ranking: Ranking) -> list[str]:
    """List the parameters of the space that differ between trials, in the order of the space."""
    searched = {dimension["name"] for dimension in ranking.sweep.space.get("dimensions", ())}
    names = [name for name in ranking.sweep.params if name in searched or (not searched and name != "seed")]
    return [name for name in names if ranking.trials[PARAMS + name].nunique() > 1]


def comparable_mask(trials: pd.DataFrame, scores: Sequence[str]) -> pd.Series[bool]:
    """Mark the trials of a ranking whose scores compare: ranked, with all of ``scores``, on the most images."""
    values = trials.reindex(columns=[f"{SCORES}{name}" for name in scores]).astype(float)
    complete = trials["rank"].notna() & (values.abs() < float("inf")).all(axis=1)
    compare: pd.Series[bool] = complete & ~(trials["samples"] < trials.loc[complete, "samples"].max())
    return compare
