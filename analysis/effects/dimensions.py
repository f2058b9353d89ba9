"""The dimensions of a sweep as ``space.json`` describes them, and its trials as numbers for statistics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.mlflow_reader.sweep import PARAMS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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


class Encoding:
    """The dimensions of some trials as arrays, made once for all the effects that are estimated on these trials.

    Args:
        trials: of a sweep.
        axes: its dimensions.
    """

    def __init__(self, trials: pd.DataFrame, axes: Sequence[Axis]) -> None:
        self.trials, self.axes = trials, axes
        self.active = {axis.name: axis.active(trials) for axis in axes}
        self._columns = {axis.name: self._encode(axis, trials) for axis in axes}

    def _encode(self, axis: Axis, trials: pd.DataFrame) -> NDArray[np.float64]:
        """Marks of each choice ``(n, k)``, 0 in inactive trials, or numbers ``(n, 1)``."""
        if not axis.choices:
            return axis.numbers(trials)[:, None]
        values = list(zip(axis.values(trials), self.active[axis.name], strict=True))
        marks = [[on and value == choice for value, on in values] for choice in axis.choices]
        return np.array(marks, dtype=np.float64).T

    def mark(self, axis: Axis, values: Collection[Any]) -> NDArray[np.bool_]:
        """Mark the trials in which a dimension was active and had one of these values; those of ranges, too."""
        if axis.choices:
            places = [place for place, choice in enumerate(axis.choices) if choice in values]
            return np.asarray(self._columns[axis.name][:, places].any(axis=1), dtype=np.bool_)
        given = zip(axis.values(self.trials), self.active[axis.name], strict=True)
        return np.array([on and value in values for value, on in given], dtype=np.bool_)

    def covariates(self, rows: NDArray[np.bool_], axis: Axis | None = None) -> NDArray[np.float64]:
        """Encode the other dimensions as columns to adjust the effect of one for.

        An indicator for each choice but the most frequent, and of numbers the standardised value and its square. Where
        a dimension is conditional they are centred, 0 where it is inactive, and an indicator of its own says where it
        is active; but not when that follows from the dimension whose effect is sought, which acts through it.

        Args:
            rows: ``(n,)``, marks the trials to encode.
            axis: the dimension whose effect is sought.

        Returns:
            ``(rows.sum(), p)``, p as many as needed.
        """
        follow = dependents(axis, self.axes) if axis else set()
        columns = []
        for other in self.axes:
            if axis is not None and other.name == axis.name:
                continue
            active = self.active[other.name][rows]
            if not active.all() and other.name not in follow:
                columns.append(active.astype(np.float64)[:, None])
            columns.append(_centre(self._select(other, rows, active), active))
        joined = np.hstack([np.empty((int(rows.sum()), 0)), *columns])
        return joined[:, _informative(joined)]

    def _select(self, axis: Axis, rows: NDArray[np.bool_], active: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the columns of a dimension in some trials, without the most frequent choice."""
        columns = self._columns[axis.name][rows]
        if axis.choices:
            return columns[:, np.argsort(columns.sum(axis=0), kind="stable")[:-1]]
        if active.sum() < _LEAST:
            return columns[:, :0]
        numbers = np.where(active[:, None], columns, 0.0)
        standard = (numbers - numbers[active].mean()) / (float(numbers[active].std()) or 1.0)
        return np.hstack([standard, standard**2])


def _centre(columns: NDArray[np.float64], active: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not active.any():
        return np.zeros_like(columns)
    return np.where(active[:, None], columns - columns[active].mean(axis=0), 0.0)


def _informative(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the columns in which enough trials are not 0, and enough have another value than the most frequent one."""
    marks: NDArray[np.bool_] = np.count_nonzero(columns, axis=0) >= _LEAST
    for place in np.flatnonzero(marks):
        _, counts = np.unique(columns[:, place], return_counts=True)
        marks[place] = len(columns) - int(counts.max()) >= _LEAST
    return marks
