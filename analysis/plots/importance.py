"""How much each parameter matters by each method, as bars with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.plots.style import COLOURS, QUIET, brief, page_figure, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MOST = 15
PALE = 0.3
"""Opacity of a bar that is no larger than chance gives."""


def importance_info(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """The most important parameters, the most important by any method first.

    Args:
        table: ``parameter, method, importance, low, high, above_chance``: shares with their intervals, NaN where none,
            and whether each is larger than chance gives; a row for each parameter and method.
        most: parameters to keep.

    Returns:
        Their rows, with ``below`` and ``above``, the lengths of the error bars; an interval that is not known or does
        not hold the importance has length 0 there.
    """
    order = important_first(table)
    rows = table[table["parameter"].isin(order[:most])]
    rows = rows.sort_values("parameter", key=lambda names: names.map(order.index), kind="stable", ignore_index=True)
    return rows.assign(
        below=(rows["importance"] - rows["low"]).clip(lower=0.0).fillna(0.0),
        above=(rows["high"] - rows["importance"]).clip(lower=0.0).fillna(0.0),
    )


def important_first(table: pd.DataFrame) -> list[str]:
    """Parameters of such a table in the order of the largest importance that a method gives each."""
    largest = table.groupby("parameter", sort=False)["importance"].max()
    return [str(name) for name in largest.sort_values(ascending=False, kind="stable").index]


def draw_importance(info: pd.DataFrame, score: str) -> go.Figure:
    """The page's figure for one score: a bar for each method, pale where chance gives as much."""
    figure = page_figure("", "", height=116 + 38 * info["parameter"].nunique())
    for (method, rows), colour in zip(info.groupby("method", sort=False), COLOURS, strict=False):
        figure.add_bar(
            x=rows["importance"], y=[brief(name, 32) for name in rows["parameter"]], orientation="h", name=method,
            marker={"color": colour, "opacity": [1.0 if above else PALE for above in rows["above_chance"]]},
            hovertemplate=f"%{{y}}, {method}: %{{x:.0%}}<extra></extra>",
            error_x={"type": "data", "symmetric": False, "array": rows["above"], "arrayminus": rows["below"],
                     "thickness": 1.2, "width": 3, "color": QUIET},
        )  # fmt: skip
    figure.update_layout(barmode="group", bargap=0.35, bargroupgap=0.1, showlegend=True)
    title = f"importance for<br>the {plain(score.replace('_', ' '))}"  # narrow windows have no room for a line
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", title_text=title)
    figure.update_yaxes(autorange="reversed", ticks="")
    return figure
