"""Scores over training, trial by trial, with what was stopped at each rung and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis import schema
from analysis.formatting import number
from analysis.formatting import score as score_text
from analysis.mlflow_reader.run_table import costs
from analysis.plots.select import thin
from analysis.plots.style import ACCENT, STATUS_COLOURS, faint, page_figure, plain, sheet

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    from analysis.ranking.ranking import Ranking

MOST = 150
"""Curves in a figure."""


@dataclass(frozen=True)
class CurvesInfo:
    """The curves of a score and what became of the trials."""

    score: str
    points: pd.DataFrame
    """``key, kimg, value, status, reason, best``, sorted by the first two; ``reason`` is '' where there is none."""
    ends: pd.DataFrame
    """``kimg, status, reason, trials``: how many trials ended where, and why; all trials, ascending kimg."""
    left_out: int
    """Trials whose curves were thinned away."""
    unit: str = "kimg"
    """Of ``kimg``, in words."""


def curves_info(ranking: Ranking, history: pd.DataFrame, score: str = schema.DISTANCE) -> CurvesInfo:
    """What the figure shows.

    Args:
        ranking: of the sweep.
        history: ``key, kimg, name, value``, as ``analysis.mlflow_reader.sweep.curves`` gives it.
        score: which of its names to show.
    """
    trials = ranking.trials[["key", "status", "reason", "recipe"]].assign(kimg=costs(ranking.trials))
    trials["reason"] = trials["reason"].fillna("").astype(str)
    trials = trials.astype({"key": object})
    points = history.loc[
        (history["name"] == score) & (history["value"].abs() < float("inf")), ["key", "kimg", "value"]
    ].astype({"key": object})
    drawn = trials[trials["key"].isin(points["key"])]
    chosen, left_out = thin(drawn, MOST, drawn["recipe"] | (drawn["key"] == ranking.best))
    points = points.merge(chosen[["key", "status", "reason"]], on="key").sort_values(["key", "kimg"], ignore_index=True)
    points["best"] = points["key"] == ranking.best
    ended = trials[trials["status"] != schema.RUNNING]
    groups = ended.assign(kimg=ended["kimg"].fillna(0.0)).groupby(["kimg", "status", "reason"], as_index=False)
    ends = groups.agg(trials=("key", "size")).sort_values(["kimg", "trials"], ascending=[True, False])
    return CurvesInfo(score, points, ends.reset_index(drop=True), left_out, schema.budget_unit(ranking.sweep.settings))


def draw_curves(info: CurvesInfo) -> go.Figure:
    """The page's figure: a mark shows where a trial ended, its colour how."""
    figure = page_figure(f"training ({info.unit})", info.score.replace("_", " "), height=400)
    named, drawn = set[str](), int(info.points["key"].nunique())
    unit = info.unit
    for key, rows in sorted(info.points.groupby("key"), key=lambda one: bool(one[1]["best"].iloc[0])):
        last = rows.iloc[-1]
        status, best = str(last["status"]), bool(last["best"])
        reason = f"<br>{plain(last['reason'])}" if last["reason"] else ""
        figure.add_scatter(
            x=rows["kimg"], y=rows["value"], mode="lines+markers", name=status, legendgroup=status,
            showlegend=status not in named, hoverinfo="text", opacity=1 if best else faint(drawn),
            line={"color": STATUS_COLOURS.get(status, ACCENT), "width": 3 if best else 1.2},
            marker={"size": [3] * (len(rows) - 1) + [8], "symbol": ["circle"] * (len(rows) - 1) + [_mark(status)]},
            text=[f"<b>{plain(key)}</b>, {status}{reason}<br>{score_text(info.score, value)} at {number(kimg)} {unit}"
                  for kimg, value in rows[["kimg", "value"]].to_numpy()],
        )  # fmt: skip
        named.add(status)
    for kimg in sorted(set(info.ends.loc[info.ends["status"] == schema.STOPPED, "kimg"]))[:8]:
        figure.add_vline(x=kimg, line={"width": 1, "dash": "dot", "color": "#8A8F98"})
    if info.score.startswith(schema.TAG_ACCURACY):
        figure.update_yaxes(tickformat=".0%")
    figure.update_xaxes(rangemode="tozero")
    return figure


def curves_matplotlib(info: CurvesInfo) -> Figure:
    """The figure for a PNG."""
    figure, (axes,) = sheet(f"training ({info.unit})", [info.score.replace("_", " ")], "Learning curves")
    named: set[str] = set()
    for _, rows in info.points.groupby("key"):
        status, best = str(rows["status"].iloc[-1]), bool(rows["best"].iloc[-1])
        axes.plot(
            rows["kimg"], rows["value"], color=STATUS_COLOURS.get(status, ACCENT), linewidth=2.5 if best else 1,
            alpha=1 if best else 0.6, label=None if status in named else status,
            marker="x" if status == schema.FAILED else "o", markevery=[len(rows) - 1], markersize=4,
        )  # fmt: skip
        named.add(status)
    if named:
        axes.legend(frameon=False, fontsize=8)
    return figure


def _mark(status: str) -> str:
    return {schema.COMPLETE: "circle", schema.FAILED: "x"}.get(status, "circle-open")
