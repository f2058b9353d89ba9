"""How figures look: one accent, Okabe and Ito's colour-blind-safe colours for the rest, thin lines, no frame."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

import plotly.graph_objects as go
from matplotlib.figure import Figure

from analysis import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

ACCENT: Final = "#0072B2"
QUIET: Final = "#8A8F98"
"""Readable on white and on near-black."""
WARM: Final = "#D55E00"
COLOURS: Final = (ACCENT, "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", WARM)
STATUS_COLOURS: Final = {
    schema.COMPLETE: ACCENT,
    schema.STOPPED: "#E69F00",
    schema.FAILED: WARM,
    schema.INTERRUPTED: "#CC79A7",
    schema.RUNNING: "#56B4E9",
}
FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"


def time_unit(hours: float) -> tuple[str, float]:
    """Return a suitable unit for a duration, and the number of units per hour."""
    if hours < 1 / 20:
        return "seconds", 3600.0
    return ("minutes", 60.0) if hours < 3 else ("hours", 1.0)


def plain(text: Any) -> str:
    """Escape text for plotly, which interprets tags and entities in every label."""
    return html.escape(str(text), quote=False)


def brief(text: str, most: int = 22) -> str:
    """Truncate a text that does not fit beside an axis; plotly fails if a label leaves no room."""
    return plain(text if len(text) <= most else f"{text[: most - 1]}…")


def faint(count: int) -> float:
    """Return the opacity at which this many marks stay distinguishable."""
    return 0.9 if count <= 60 else 0.65 if count <= 300 else 0.4


def page_figure(x: str, y: str, height: int = 380) -> go.Figure:
    """An empty plotly figure with named axes; width and the colours of the theme are the page's."""
    axis = {"automargin": True, "zeroline": False, "title_standoff": 8, "ticks": "outside", "ticklen": 4}
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 8, "b": 8},
            "font": {"family": FONT, "size": 12},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hoverlabel": {"align": "left", "namelength": -1},
            "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "title": {"text": ""}},
            "xaxis": {**axis, "title": {"text": plain(x)}},
            "yaxis": {**axis, "title": {"text": plain(y)}},
            "dragmode": False,  # a finger that scrolls the page must not zoom
            "template": "none",
        }
    )


def sheet(x: str, ys: Sequence[str], title: str, size: tuple[float, float] = (7.5, 4.5)) -> tuple[Figure, list[Axes]]:
    """An empty matplotlib figure, a panel for each of ``ys``: no pyplot, so that it may be drawn on any thread."""
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(len(ys), 1, squeeze=False, sharex=True)[:, 0])
    for axes, y in zip(panels, ys, strict=True):
        axes.set_ylabel(y)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2, linewidth=0.6)
    panels[0].set_title(title, loc="left", fontsize=11)
    panels[-1].set_xlabel(x)
    return figure, panels
