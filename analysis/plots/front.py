"""Distance against tag accuracy, with the Pareto front of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import schema
from analysis.formatting import percent
from analysis.formatting import score as score_text
from analysis.mlflow_reader.sweep import METRICS, SCORES
from analysis.plots.select import thin
from analysis.plots.style import ACCENT, QUIET, WARM, faint, page_figure, plain, sheet
from analysis.ranking.filters import comparable_mask

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    from analysis.ranking.ranking import Ranking

MOST = 1500
"""Points in a figure."""


@dataclass(frozen=True)
class FrontInfo:
    """The trials that compare: scored on most images, not failed, with both objectives."""

    points: pd.DataFrame
    """``key, rank, distance, tag_accuracy, pareto, recipe, best``, best distance first; ``low`` and ``high`` bound the
    95% interval of the distance, NaN where none was logged."""
    incomparable: int
    """Scored trials that are not shown: failed, scored on fewer images, or with one objective alone."""
    left_out: int
    """Points that were thinned away."""


def front_info(ranking: Ranking) -> FrontInfo | None:
    """What the figure shows; ``None`` where no trial has both objectives, as in an unconditional sweep."""
    trials = ranking.trials
    distance, accuracy = (f"{SCORES}{name}" for name in schema.OBJECTIVES)
    low, high = (f"{METRICS}{schema.INTERVAL}{schema.DISTANCE}/{end}" for end in ("low", "high"))
    table = trials.reindex(columns=["key", "rank", "pareto", "recipe", distance, accuracy, low, high])
    table.columns = ["key", "rank", "pareto", "recipe", *schema.OBJECTIVES, "low", "high"]
    compare = comparable_mask(trials, list(schema.OBJECTIVES))
    if not compare.any():
        return None
    points = table[compare].sort_values(schema.DISTANCE, kind="stable", ignore_index=True)
    points["best"] = points["key"] == ranking.best
    rows, left_out = thin(points, MOST, points["pareto"] | points["recipe"] | points["best"])
    scored = table[list(schema.OBJECTIVES)].notna().any(axis=1)
    return FrontInfo(rows.reset_index(drop=True), int((scored & ~compare).sum()), left_out)


def draw_front(info: FrontInfo) -> go.Figure:
    """The page's figure; ``customdata`` holds the key of each point."""
    figure = page_figure("distance (lower is better)", "tag accuracy (higher is better)", height=420)
    front = info.points[info.points["pareto"]]
    figure.add_scatter(
        x=front[schema.DISTANCE], y=front[schema.TAG_ACCURACY], mode="lines", hoverinfo="skip", showlegend=False,
        line={"color": ACCENT, "width": 1, "shape": "hv"},
    )  # fmt: skip
    for name, chosen, colour, symbol, size in _groups(info.points):
        rows = info.points[chosen]
        if len(rows):
            figure.add_scatter(
                x=rows[schema.DISTANCE], y=rows[schema.TAG_ACCURACY], mode="markers", name=name,
                marker={"color": colour, "size": size, "symbol": symbol,
                        "opacity": faint(len(rows)) if colour == QUIET else 1},
                customdata=list(rows["key"]), text=[_hover(row) for _, row in rows.iterrows()], hoverinfo="text",
            )  # fmt: skip
    figure.update_yaxes(tickformat=".0%")
    return figure


def front_matplotlib(info: FrontInfo) -> Figure:
    """The figure for a PNG."""
    figure, (axes,) = sheet("distance (lower is better)", ["tag accuracy (higher is better)"], "Pareto front")
    front = info.points[info.points["pareto"]]
    axes.step(front[schema.DISTANCE], front[schema.TAG_ACCURACY], where="post", color=ACCENT, linewidth=1)
    for name, chosen, colour, symbol, size in _groups(info.points):
        rows = info.points[chosen]
        if len(rows):
            marker = {"circle": "o", "diamond": "D", "star": "*"}[symbol]
            axes.scatter(
                rows[schema.DISTANCE], rows[schema.TAG_ACCURACY], s=size**2 / 1.6, c=colour, marker=marker, label=name
            )
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _groups(points: pd.DataFrame) -> list[tuple[str, pd.Series[bool], str, str, int]]:
    """Name, rows, colour, symbol and size of each kind of point; each point belongs to one."""
    best, recipe, front = points["best"], points["recipe"] & ~points["best"], points["pareto"]
    return [
        ("other trials", ~best & ~recipe & ~front, QUIET, "circle", 7),
        ("on the front", front & ~best & ~recipe, ACCENT, "circle", 9),
        ("the recipe", recipe, WARM, "diamond", 10),
        ("the best", best, ACCENT, "star", 15),
    ]


def _hover(row: pd.Series) -> str:
    interval = "" if row[["low", "high"]].isna().any() else f" ({row['low']:.4g} to {row['high']:.4g})"
    return (
        f"<b>{plain(row['key'])}</b><br>rank {row['rank']}<br>"
        f"distance {score_text(schema.DISTANCE, row[schema.DISTANCE])}{interval}<br>"
        f"tag accuracy {percent(row[schema.TAG_ACCURACY])}"
    )
