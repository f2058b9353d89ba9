"""Every trial as a line through its parameters and scores."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import schema
from analysis.formatting import parameter
from analysis.formatting import score as score_text
from analysis.mlflow_reader.sweep import PARAMS, SCORES
from analysis.plots.select import thin
from analysis.plots.style import ACCENT, FONT, brief, plain
from analysis.ranking.filters import comparable_mask, varied_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analysis.ranking.ranking import Ranking

MOST, AXES = 800, 8


@dataclass(frozen=True)
class ParallelAxis:
    """One axis: the position of each trial, and tick positions with texts."""

    name: str
    values: list[float]
    ticks: list[float]
    texts: list[str]


@dataclass(frozen=True)
class ParallelInfo:
    """The axes, the distance that colours the lines, and how many trials were thinned away."""

    axes: list[ParallelAxis]
    distance: list[float]
    left_out: int


def parallel_info(ranking: Ranking, names: Sequence[str] | None = None, most: int = MOST) -> ParallelInfo | None:
    """Compute the data of the figure; ``None`` for fewer than two comparable trials.

    Args:
        ranking: of the sweep.
        names: parameters to show; default: the first that vary.
        most: lines in the figure.
    """
    trials = ranking.trials[comparable_mask(ranking.trials, [schema.DISTANCE])]
    names = list(varied_parameters(ranking) if names is None else names)[:AXES]
    if len(trials) < 2 or not names:
        return None
    rows, left_out = thin(trials, most, trials["pareto"] | trials["recipe"])
    logarithmic = {dimension["name"] for dimension in ranking.sweep.space.get("dimensions", ()) if dimension.get("log")}
    axes = [axis(name, rows[PARAMS + name], log=name in logarithmic) for name in names]
    for name in schema.OBJECTIVES:
        if f"{SCORES}{name}" in rows and rows[f"{SCORES}{name}"].notna().all():
            column = rows[f"{SCORES}{name}"].astype(float)
            axes.append(axis(name.replace("_", " "), column, shown=functools.partial(score_text, name)))
    return ParallelInfo(axes, rows[f"{SCORES}{schema.DISTANCE}"].astype(float).tolist(), left_out)


def axis(
    name: str,
    column: pd.Series[Any],
    log: bool = False,
    shown: Callable[[float], str] = parameter,
    count: int = 5,
) -> ParallelAxis:
    """Compute the positions of values on an axis: numbers or their logarithms, and other values side by side.

    A trial in which the parameter is inactive is placed at ``-``, below the others. Numbers have ``count`` ticks.
    """
    present = column.dropna()
    if (
        pd.api.types.is_numeric_dtype(present.infer_objects())
        and not pd.api.types.is_bool_dtype(present)
        and len(present)
    ):
        numbers = column.astype(float)
        log = log and bool((present.astype(float) > 0).all())
        numeric = pd.Series(np.log10(numbers)) if log else numbers
        low, high = float(numeric.min()), float(numeric.max())
        ticks = list(np.linspace(low, high, count)) if high > low else [low]
        texts = [shown(float(10**tick if log else tick)) for tick in ticks]
        if column.isna().any():
            ticks, texts = [low - (high - low or 1) / 8, *ticks], ["-", *texts]
        return ParallelAxis(name, numeric.fillna(ticks[0]).astype(float).tolist(), ticks, texts)
    texts = [*(["-"] if column.isna().any() else []), *sorted({parameter(value) for value in present})]
    positions = {text: float(index) for index, text in enumerate(texts)}
    return ParallelAxis(name, [positions[parameter(value)] for value in column], list(positions.values()), texts)


def draw_parallel(info: ParallelInfo) -> go.Figure:
    """The page's figure: drag along an axis to choose trials."""
    figure = go.Figure(
        go.Parcoords(
            line={"color": info.distance, "colorscale": [[0, ACCENT], [0.35, "#8FB8D6"], [1, "#C9CDD3"]],
                  "reversescale": False},
            dimensions=[
                {"label": plain(label(one.name)), "values": one.values, "tickvals": one.ticks,
                 "ticktext": [brief(text) for text in one.texts]}
                for one in info.axes
            ],
            labelangle=-18, labelside="top",
        )
    )  # fmt: skip
    figure.update_layout(
        height=420, margin={"l": 112, "r": 56, "t": 96, "b": 16}, font={"family": FONT, "size": 12},
        paper_bgcolor="rgba(0,0,0,0)", template="none",
    )  # fmt: skip
    return figure


def label(name: str) -> str:
    """Shorten a dotted name to its end if it is too long."""
    return name if len(name) <= 26 else f"…{name[-25:]}"
