"""The distance of every trial against one parameter at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import schema
from analysis.formatting import parameter
from analysis.formatting import score as score_text
from analysis.mlflow_reader.sweep import PARAMS, SCORES
from analysis.plots.parallel import axis, label
from analysis.plots.select import thin
from analysis.plots.style import ACCENT, QUIET, brief, faint, page_figure, plain
from analysis.ranking.filters import comparable_mask, varied_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import plotly.graph_objects as go

    from analysis.ranking.ranking import Ranking

MOST, SLICES, TICKS = 600, 8, 3
TITLE = 22
"""Maximum number of characters of a name on one line below the smallest figure."""


@dataclass(frozen=True)
class Slice:
    """One parameter: a row of ``points`` per trial with ``key, place, value, distance, best``."""

    name: str
    points: pd.DataFrame
    ticks: list[float]
    texts: list[str]
    left_out: int


def slices_info(ranking: Ranking, names: Sequence[str] | None = None) -> list[Slice]:
    """Compute a slice for each of ``names``; default: the first parameters that vary.

    Empty for fewer than two comparable trials.
    """
    trials = ranking.trials[comparable_mask(ranking.trials, [schema.DISTANCE])]
    if len(trials) < 2:
        return []
    rows, left_out = thin(trials, MOST, trials["key"] == ranking.best)
    logarithmic = {dimension["name"] for dimension in ranking.sweep.space.get("dimensions", ()) if dimension.get("log")}
    slices = []
    for name in list(varied_parameters(ranking) if names is None else names)[:SLICES]:
        column = rows[PARAMS + name]
        layout = axis(name, column, log=name in logarithmic, count=TICKS)
        points = rows[["key"]].assign(
            place=layout.values,
            value=[parameter(value) for value in column],
            distance=rows[f"{SCORES}{schema.DISTANCE}"].astype(float),
            best=rows["key"] == ranking.best,
        )
        slices.append(Slice(name, points.reset_index(drop=True), layout.ticks, layout.texts, left_out))
    return slices


def draw_slice(info: Slice) -> go.Figure:
    """The page's figure of one parameter."""
    figure = page_figure("", "distance", height=240)
    for best, colour, symbol, size in ((False, QUIET, "circle", 6), (True, ACCENT, "star", 14)):
        rows = info.points[info.points["best"] == best]
        figure.add_scatter(
            x=rows["place"], y=rows["distance"], mode="markers", hoverinfo="text",
            marker={"color": colour, "symbol": symbol, "size": size, "opacity": 1 if best else faint(len(rows))},
            text=[
                f"{plain(key)}<br>{plain(value)}: {score_text(schema.DISTANCE, distance)}"
                for key, value, distance in rows[["key", "value", "distance"]].values
            ],
        )  # fmt: skip
    figure.update_layout(showlegend=False)
    figure.update_xaxes(
        title_text=_title(info.name), tickvals=info.ticks, ticktext=[brief(text) for text in info.texts]
    )
    return figure


def _title(name: str) -> str:
    """Split a dotted name that is too long for one line."""
    group, dot, last = name.rpartition(".")
    if len(name) <= TITLE or not dot:
        return plain(label(name))
    return f"{plain(label(group + dot))}<br>{plain(label(last))}"
