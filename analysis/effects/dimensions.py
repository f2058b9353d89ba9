"""The dimensions of a sweep as ``space.json`` describes them, and its trials as numbers for statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.mlflow_reader.sweep import PARAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from analysis.mlflow_reader.sweep import Sweep

_LEAST: Final = 3
"""Trials on either side of an indicator; with fewer it says nothing and takes a degree of freedom."""


@dataclass(frozen=True)
class Axis:
    """One dimension: ``choices``, or a range from ``low`` to ``high``, on a logarithmic scale with ``log``."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False
    """Whether the values of a range are whole numbers."""
    default: Any = None
    when: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Other parameters and their values under which this dimension has any effect."""

    @property
    def is_number(self) -> bool:
        """Whether its values have an order: a range, or choices that are all numbers."""
        return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in self.choices)

    @property
    def is_ratio(self) -> bool:
        """Whether doublings are its natural steps: a logarithmic range, or numeric choices above 0."""
        return self.log if not self.choices else self.is_number and min(self.choices) > 0

    def active(self, trials: pd.DataFrame) -> NDArray[np.bool_]:
        """Mark the trials in which the dimension had an effect and a known value."""
        marks = trials[f"{PARAMS}{self.name}"].notna().to_numpy(dtype=bool, copy=True)
        for name, allowed in self.when.items():
            column = trials.get(f"{PARAMS}{name}")
            marks &= column.isin(list(allowed)).to_numpy(dtype=bool) if column is not None else False
        return marks

    def values(self, trials: pd.DataFrame) -> list[Any]:
        """Give each trial's value."""
        return trials[f"{PARAMS}{self.name}"].tolist()

    def numbers(self, trials: pd.DataFrame) -> NDArray[np.float64]:
        """Give each trial's value as a number: doublings where they are its natural steps, else itself."""
        column = trials[f"{PARAMS}{self.name}"].to_numpy(dtype=np.float64, na_value=np.nan)
        return np.log2(column) if self.is_ratio else column


def axes_of(sweep: Sweep) -> list[Axis]:
    """Give the dimensions that the sweep searched; none where it has no ``space.json``."""
    return [
        Axis(
            name=dimension["name"],
            choices=tuple(dimension.get("choices") or ()),
            low=dimension.get("low") or 0.0,
            high=dimension.get("high") or 0.0,
            log=dimension.get("log", False),
            whole=dimension["kind"] == "int",
            default=dimension.get("default"),
            when=dimension.get("when") or {},
        )
        for dimension in sweep.space.get("dimensions", ())
        if f"{PARAMS}{dimension['name']}" in sweep.trials
    ]


def dependents(axis: Axis, axes: Sequence[Axis]) -> set[str]:
    """Give the names of the dimensions that are conditional on this one, and of those conditional on them."""
    names = {axis.name}
    while added := {other.name for other in axes if names & set(other.when)} - names:
        names |= added
    return names - {axis.name}


def covariates(trials: pd.DataFrame, axes: Sequence[Axis], axis: Axis | None = None) -> NDArray[np.float64]:
    """Encode the other dimensions as columns to adjust the effect of one for; ``(n, p)``, p as many as needed.

    An indicator for each choice but the most frequent, and of numbers the standardised value and its square. Where a
    dimension is conditional they are centred, 0 where it is inactive, and an indicator of its own says where it is
    active; but not when that follows from the dimension whose effect is sought, which acts through it.
    """
    follow = dependents(axis, axes) if axis else set()
    columns: list[NDArray[np.float64]] = []
    for other in axes:
        if axis is not None and other.name == axis.name:
            continue
        active = other.active(trials)
        if not active.all() and other.name not in follow:
            columns.append(active.astype(np.float64))
        columns += [_centred(column, active) for column in _encoded(other, trials, active)]
    informative = [column for column in columns if np.count_nonzero(column) >= _LEAST and _varies(column)]
    return np.column_stack(informative) if informative else np.empty((len(trials), 0))


def _encoded(axis: Axis, trials: pd.DataFrame, active: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    if axis.choices:
        values = axis.values(trials)
        columns = [np.array([value == choice for value in values]) & active for choice in axis.choices]
        columns.sort(key=np.count_nonzero)
        return [marks.astype(np.float64) for marks in columns[:-1]]
    if active.sum() < _LEAST:
        return []
    numbers = np.where(active, axis.numbers(trials), 0.0)
    standard = (numbers - numbers[active].mean()) / (float(numbers[active].std()) or 1.0)
    return [standard, standard**2]


def _centred(column: NDArray[np.float64], active: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(active, column - column[active].mean(), 0.0) if active.any() else np.zeros(len(column))


def _varies(column: NDArray[np.float64]) -> bool:
    """Whether enough trials have another value than the most frequent one."""
    _, counts = np.unique(column, return_counts=True)
    return len(column) - int(counts.max()) >= _LEAST
