"""Timeline of trials by node and slot."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.formatting import duration, number
from analysis.mlflow_reader.run_table import epoch_seconds
from analysis.plots.select import thin
from analysis.plots.style import ACCENT, STATUS_COLOURS, page_figure, plain, sheet, time_unit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    from analysis.ranking.ranking import Ranking

MOST = 2000
"""Maximum number of intervals in a figure."""


def timeline_info(ranking: Ranking) -> pd.DataFrame:
    """One row per stretch of a trial, in the order of their starts.

    Returns:
        ``key, status, kimg, node, slot, lane, start, end``, hours since the first start. A trial that was tracked
        without its stretches has one from the start of its run to its end, on the first lane that is free then; its
        ``node`` is ''. One whose end is not known ends with the sweep, or before the next on its slot begins.
    """
    trials = ranking.trials
    trials = trials.assign(started=epoch_seconds(trials["started"]), ended=epoch_seconds(trials["ended"]))
    rows = []
    for trial in trials[["key", "status", "kimg", "started", "ended", "stretches"]].to_dict("records"):
        about = {name: trial[name] for name in ("key", "status", "kimg")}
        stretches = _parsed(trial["stretches"])
        if not stretches and not math.isnan(trial["started"]):
            stretches = [{"node": "", "slot": -1, "start": trial["started"], "end": trial["ended"]}]
        rows += [{**about, **stretch} for stretch in stretches]
    table = pd.DataFrame(rows, columns=["key", "status", "kimg", "node", "slot", "start", "end"])
    if table.empty:
        return table.assign(lane="")
    zero, last = table["start"].min(), table[["start", "end"]].max().max()
    table = table.assign(start=(table["start"] - zero) / 3600, end=(table["end"].fillna(last) - zero) / 3600)
    table = table.sort_values("start", kind="stable", ignore_index=True)
    _give_lanes(table)
    # A stretch whose end nobody noted, as in a power cut, ended before the next on its slot began.
    following = table.groupby(["node", "slot"])["start"].shift(-1)
    table["end"] = table["end"].where(table["end"].le(following) | following.isna(), following)
    several = table["node"].nunique() > 1
    table["lane"] = [f"{node} {slot + 1}" if several and node else f"slot {slot + 1}"
                     for node, slot in zip(table["node"], table["slot"], strict=True)]  # fmt: skip
    return table


def _parsed(text: Any) -> list[dict[str, Any]]:
    """Parse the intervals of a tag; invalid content gives none."""
    try:
        intervals = json.loads(text) if isinstance(text, str) else []
        return [
            {"node": str(item["node"]), "slot": int(item["slot"]), "start": float(item["start"]),
             "end": math.nan if item.get("end") is None else float(item["end"])}
            for item in intervals
        ]  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _give_lanes(table: pd.DataFrame) -> None:
    """Assign the lowest free lane to each interval without a slot."""
    free: list[float] = []
    unplaced = table[table["slot"] < 0]
    for row, start, end in zip(unplaced.index, unplaced["start"], unplaced["end"], strict=True):
        slot = next((place for place, until in enumerate(free) if until <= start + 1e-9), len(free))
        free[slot : slot + 1] = [end]
        table.at[row, "slot"] = slot


def draw_timeline(info: pd.DataFrame) -> go.Figure:
    """The page's figure."""
    lanes = _lanes(info)
    unit, scale = time_unit(float(info["end"].max()))
    figure = page_figure(f"{unit} since the sweep began", "", height=90 + 30 * len(lanes))
    shown, _ = thin(info, MOST)
    for status, rows in shown.groupby("status", sort=False):
        figure.add_bar(
            base=rows["start"] * scale, x=(rows["end"] - rows["start"]) * scale,
            y=[plain(lane) for lane in rows["lane"]], orientation="h", name=str(status), width=0.7,
            hoverinfo="text", textposition="none",
            marker={"color": STATUS_COLOURS.get(str(status), ACCENT), "line": {"color": "#FFFFFF", "width": 1}},
            text=[_hover(row) for row in rows.to_dict("records")],
        )  # fmt: skip
    figure.update_layout(barmode="overlay")
    figure.update_yaxes(categoryorder="array", categoryarray=lanes[::-1], ticks="")
    return figure


def timeline_matplotlib(info: pd.DataFrame) -> Figure:
    """The figure for a PNG."""
    lanes = _lanes(info)
    size = (7.5, min(14.0, 1.4 + 0.35 * len(lanes)))
    unit, scale = time_unit(float(info["end"].max()))
    figure, (axes,) = sheet(f"{unit} since the sweep began", [""], "What ran where", size)
    for status, rows in info.groupby("status", sort=False):
        axes.barh(
            rows["lane"].map(lanes.index), (rows["end"] - rows["start"]) * scale, left=rows["start"] * scale,
            height=0.7, color=STATUS_COLOURS.get(str(status), ACCENT), edgecolor="white", linewidth=0.6,
            label=str(status),
        )  # fmt: skip
    axes.set_yticks(range(len(lanes)), lanes)
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    figure.legend(frameon=False, fontsize=8, ncols=5, loc="outside lower left")
    return figure


def _hover(row: Mapping[Any, Any]) -> str:
    took = duration((row["end"] - row["start"]) * 3600)
    return (
        f"<b>{plain(row['key'])}</b>, {row['status']} at {number(row['kimg'])} kimg<br>"
        f"{took} on {plain(row['node'] or row['lane'])}"
    )


def _lanes(info: pd.DataFrame) -> list[str]:
    """Nodes in the order of their names, their slots below each other."""
    return list(info.sort_values(["node", "slot"], kind="stable")["lane"].drop_duplicates())
