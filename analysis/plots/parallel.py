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
from analysis.plots.style import ACCENT, FONT, brief, faint, plain
from analysis.ranking.filters import comparable_mask, varied_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from analysis.ranking.ranking import Ranking

MOST, AXES = 800, 8
_SCALE = [[0, ACCENT], [0.35, "#8FB8D6"], [1, "#C9CDD3"]]
_SHADES = 12
"""Maximum number of colours of ``draw_rows``, each of equally many trials."""
_ROW = 58
"""Height of a row in pixels."""
_CHARACTERS = 54
"""Characters below a row on the narrowest screens."""


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


def parallel_info(ranking: Ranking, names: Sequence[str] | None = None) -> ParallelInfo | None:
    """Compute the data of the figure; ``None`` for fewer than two comparable trials.

    Args:
        ranking: of the sweep.
        names: parameters to show; default: the first that vary.
    """
    trials = ranking.trials[comparable_mask(ranking.trials, [schema.DISTANCE])]
    names = list(varied_parameters(ranking) if names is None else names)[:AXES]
    if len(trials) < 2 or not names:
        return None
    rows, left_out = thin(trials, MOST, trials["pareto"] | trials["recipe"])
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
            line={"color": info.distance, "colorscale": _SCALE, "reversescale": False},
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


def draw_rows(info: ParallelInfo) -> go.Figure:
    """The same for narrow screens: one row per axis, and lines that run from the top to the bottom."""
    order = np.argsort(info.distance)[::-1]  # the best are drawn last, on top
    places = np.array([_places(one, one.values) for one in info.axes])
    rows = len(info.axes)
    down = np.arange(rows + 1, dtype=np.int8)
    figure = go.Figure()
    for part in np.array_split(order, min(len(order), _SHADES)):
        lines = np.vstack([places[:, part], np.full(len(part), np.nan)])  # a gap after each trial
        figure.add_scatter(
            x=lines.T.ravel().astype(np.float32), y=np.tile(down, len(part)), mode="lines", hoverinfo="skip",
            line={"width": 1.5, "color": _shade(info.distance, part)}, opacity=faint(len(order)), showlegend=False,
        )  # fmt: skip
    figure.update_layout(
        height=_ROW * rows + 24, margin={"l": 8, "r": 8, "t": 28, "b": 24}, font={"family": FONT, "size": 11},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", template="none", dragmode=False,
        xaxis={"visible": False, "range": [-0.01, 1.01], "fixedrange": True},
        yaxis={"range": [rows - 1, 0], "tickvals": list(range(rows)), "showticklabels": False, "zeroline": False,
               "fixedrange": True},
        annotations=[note for row, one in enumerate(info.axes) for note in _row_texts(row, one)],
    )  # fmt: skip
    return figure


def _places(one: ParallelAxis, values: Sequence[float]) -> NDArray[np.float64]:
    """Return positions in 0..1 along an axis; the middle where it has one value."""
    low, high = min(one.ticks), max(one.ticks)
    numbers = np.asarray(values, dtype=np.float64)
    return (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)


def _shade(distance: Sequence[float], part: NDArray[np.int64]) -> str:
    from plotly.colors import sample_colorscale

    low, high = min(distance), max(distance)
    mean = float(np.asarray(distance)[part].mean())
    return str(sample_colorscale(_SCALE, [(mean - low) / (high - low) if high > low else 0.0])[0])


def _row_texts(row: int, one: ParallelAxis) -> list[dict[str, Any]]:
    """Return annotations: the name above a row, the texts of its ticks below, those at the ends inside the figure."""
    text = {"y": row, "showarrow": False, "borderpad": 0, "bgcolor": "#ffffff"}  # the page has its own
    below = {**text, "yanchor": "top", "yshift": -3}
    name = {
        **text,
        "x": 0,
        "text": f"<b>{brief(one.name, 44)}</b>",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 3,
    }
    most = max(4, _CHARACTERS // len(one.ticks))
    anchors = {0.0: "left", 1.0: "right"}
    ticks = [
        {**below, "x": place, "text": brief(text, most), "xanchor": anchors.get(place, "center")}
        for place, text in zip(_places(one, one.ticks).tolist(), one.texts, strict=True)
    ]
    return [name, *ticks]


def label(name: str) -> str:
    """Shorten a dotted name to its end if it is too long."""
    return name if len(name) <= 26 else f"…{name[-25:]}"
