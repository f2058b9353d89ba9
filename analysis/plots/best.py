"""The best scores so far, against the hours since the sweep began and against all training done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis import schema
from analysis.formatting import score as score_text
from analysis.mlflow_reader.run_table import costs, epoch_seconds
from analysis.mlflow_reader.sweep import SCORES
from analysis.plots.select import thin
from analysis.plots.style import ACCENT, QUIET, faint, page_figure, plain, sheet, time_unit
from analysis.ranking.filters import comparable_mask

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    from analysis.ranking.ranking import Ranking

TITLES = {schema.DISTANCE: "distance", schema.TAG_ACCURACY: "tag accuracy"}
MOST = 1500


def best_info(ranking: Ranking) -> pd.DataFrame:
    """One row per ended trial in the order in which they ended.

    Returns:
        ``key, hours, total_kimg``, each objective that was measured and its ``best_<objective>`` so far. Hours count
        from the first start; ``total_kimg`` sums what every trial that ended until then, failed ones too, used of its
        budget. A score that does not compare with the final ones (failed, or scored on fewer images) is NaN.
    """
    trials = ranking.trials[ranking.trials["ended"].notna()].sort_values("ended", kind="stable")
    compare = comparable_mask(ranking.trials, [schema.DISTANCE])
    table = pd.DataFrame(
        {
            "key": trials["key"],
            "hours": (epoch_seconds(trials["ended"]) - epoch_seconds(ranking.trials["started"]).min()) / 3600,
            "total_kimg": costs(trials).fillna(0.0).cumsum(),
        }
    )
    table.attrs["unit"] = schema.budget_unit(ranking.sweep.settings)
    for name, way in schema.OBJECTIVES.items():
        if f"{SCORES}{name}" in trials:
            values = trials[f"{SCORES}{name}"].astype(float)
            table[name] = values.where(compare & (values.abs() < float("inf")))
            so_far = table[name].cummin() if way == "minimize" else table[name].cummax()
            table[f"best_{name}"] = so_far.ffill()
    return table.reset_index(drop=True)


def draw_best(info: pd.DataFrame, objective: str, against: str) -> go.Figure:
    """The page's figure of one objective against ``hours`` or ``total_kimg``."""
    title, scale = _axis(info, against)
    figure = page_figure(title, TITLES[objective], height=280)
    known = info[info[objective].notna()]
    points, _ = thin(known, MOST, known[objective] == known[f"best_{objective}"])
    figure.add_scatter(
        x=points[against] * scale, y=points[objective], mode="markers",
        marker={"color": QUIET, "size": 6, "opacity": faint(len(points))},
        text=[f"{plain(key)}: {score_text(objective, value)}" for key, value in points[["key", objective]].values],
        hoverinfo="text",
    )  # fmt: skip
    figure.add_scatter(
        x=points[against] * scale, y=points[f"best_{objective}"], mode="lines", hoverinfo="skip",
        line={"color": ACCENT, "width": 2, "shape": "hv"},
    )  # fmt: skip
    figure.update_layout(showlegend=False, yaxis_tickformat=".0%" if objective == schema.TAG_ACCURACY else "")
    return figure


def best_matplotlib(info: pd.DataFrame, against: str = "hours") -> Figure:
    """The figure for a PNG: the objectives below each other."""
    names = [name for name in schema.OBJECTIVES if name in info]
    titles = [TITLES[name] for name in names]
    title, scale = _axis(info, against)
    figure, panels = sheet(title, titles, "Best so far", size=(7.5, 1 + 2.5 * len(names)))
    for name, panel in zip(names, panels, strict=True):
        panel.plot(info[against] * scale, info[name], ".", color=QUIET, alpha=0.5)
        panel.step(info[against] * scale, info[f"best_{name}"], where="post", color=ACCENT)
    return figure


def _axis(info: pd.DataFrame, against: str) -> tuple[str, float]:
    """The title of the axis, and what its values are multiplied by."""
    if against != "hours":
        return f"training of all trials ({info.attrs.get('unit', 'kimg')})", 1.0
    unit, scale = time_unit(float(info["hours"].max()))
    return f"{unit} since the sweep began", scale
