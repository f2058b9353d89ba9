"""How much each parameter matters, as bars with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.plots.style import ACCENT, QUIET, brief, page_figure, plain

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

MOST = 15


def importance_info(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """The most important parameters, the most important first.

    Args:
        table: ``parameter, importance, low, high, above_chance``: shares of the variance with their intervals, NaN
            where none, and whether each is larger than chance gives.
        most: rows to keep.

    Returns:
        Its first rows, with ``below`` and ``above``, the lengths of the error bars; an interval that is not known or
        does not hold the importance has length 0 there.
    """
    rows = table.sort_values("importance", ascending=False, kind="stable", ignore_index=True).head(most)
    return rows.assign(
        below=(rows["importance"] - rows["low"]).clip(lower=0.0).fillna(0.0),
        above=(rows["high"] - rows["importance"]).clip(lower=0.0).fillna(0.0),
    )


def draw_importance(info: pd.DataFrame, score: str) -> go.Figure:
    """The page's figure for one score."""
    figure = page_figure("", "", height=96 + 26 * len(info))
    figure.add_bar(
        x=info["importance"], y=[brief(name, 32) for name in info["parameter"]], orientation="h",
        marker={"color": _colours(info)}, width=0.55, hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        error_x={"type": "data", "symmetric": False, "array": info["above"], "arrayminus": info["below"],
                 "thickness": 1.2, "width": 3, "color": "#8A8F98"},
    )  # fmt: skip
    title = (
        f"share of the variance<br>of the {plain(score.replace('_', ' '))}"  # narrow windows have no room for a line
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", title_text=title)
    figure.update_yaxes(autorange="reversed", ticks="")
    return figure


def _colours(info: pd.DataFrame) -> list[str]:
    return [ACCENT if above else QUIET for above in info["above_chance"]]
