"""Effects along training: what a trick does early and late."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from analysis.plots.style import COLOURS, QUIET, page_figure, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

    from analysis.effects.effect import Effect

MOST = 5


def along_info(paths: Sequence[Sequence[Effect]], most: int = MOST) -> pd.DataFrame:
    """The paths that say something, those that turn first.

    Args:
        paths: effects of one comparison along training, by kimg.
        most: comparisons to keep.

    Returns:
        ``comparison, kimg, estimate, low, high, unit, trials``: comparisons whose interval excludes no effect at one
        point or more; those that help at one point and hurt at another stand first, then those of which more is sure.
    """
    from analysis.effects.effect import comparison_text

    def sides(path: Sequence[Effect]) -> set[bool]:
        none = 1.0 if path[0].unit == "ratio" else 0.0
        return {effect.estimate > none for effect in path if effect.separable}

    telling = [path for path in paths if sides(path)]
    telling.sort(key=lambda path: (-len(sides(path)), -sum(effect.separable for effect in path)))
    rows = [
        (comparison_text(effect), effect.kimg, effect.estimate, effect.low, effect.high, effect.unit, effect.trials)
        for path in telling[:most]
        for effect in path
    ]
    return pd.DataFrame(rows, columns=["comparison", "kimg", "estimate", "low", "high", "unit", "trials"])


def draw_along(info: pd.DataFrame, score: str, unit: str = "kimg") -> go.Figure:
    """The page's figure for one score; the line across is no effect."""
    ratio = bool((info["unit"] == "ratio").all())
    label = score.replace("_", " ")
    figure = page_figure(f"training ({unit})", f"{label}, {'times' if ratio else 'change'}", height=400)
    for place, (name, rows) in enumerate(info.groupby("comparison", sort=False)):
        colour = COLOURS[place % len(COLOURS)]
        figure.add_scatter(
            x=rows["kimg"], y=rows["estimate"], mode="lines+markers", name=plain(name), line={"color": colour},
            error_y={"type": "data", "symmetric": False, "array": rows["high"] - rows["estimate"],
                     "arrayminus": rows["estimate"] - rows["low"], "thickness": 1, "width": 3},
            text=[f"{count} trials" for count in rows["trials"]],
            hovertemplate=f"%{{y:.3g}} at %{{x}} {unit}, %{{text}}<extra></extra>",
        )  # fmt: skip
    figure.add_hline(y=1.0 if ratio else 0.0, line={"width": 1, "dash": "dot", "color": QUIET})
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(type="log" if ratio else "linear", tickformat=".3~f" if ratio else "+.0%")
    # Below the figure: names of comparisons are long, and a narrow window has no room beside or above it.
    figure.update_layout(legend={"orientation": "v", "y": -0.25, "yanchor": "top"})
    return figure
