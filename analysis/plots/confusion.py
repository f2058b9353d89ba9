"""Confusion matrices: the classes that the tag classifier predicts for each requested class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.plots.style import ACCENT, page_figure, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    import plotly.graph_objects as go
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Confusion:
    """One tag group: ``shares`` ``(classes, classes)`` of each row's images; rows requested, columns predicted."""

    group: str
    classes: list[str]
    shares: NDArray[np.float64]
    """NaN in the rows of classes that were never requested."""


def confusion_info(logged: Mapping[str, Any]) -> list[Confusion]:
    """Read the matrices of a trial's ``confusion.json``: ``{group: {"classes": [...], "confusion": [[...]]}}``."""
    matrices = []
    for group, content in logged.items():
        counts = np.asarray(content["confusion"], dtype=np.float64)
        requested = counts.sum(axis=1)
        shares = np.divide(counts, requested[:, None], out=np.full_like(counts, np.nan), where=requested[:, None] > 0)
        matrices.append(Confusion(group, list(content["classes"]), shares))
    return matrices


def draw_confusion(info: Confusion) -> go.Figure:
    """The page's figure of one group."""
    figure = page_figure(
        "seen by the tag classifier", f"asked for ({plain(info.group)})", height=150 + 24 * len(info.classes)
    )
    classes = [plain(name) for name in info.classes]
    figure.add_heatmap(
        z=info.shares, x=classes, y=classes, zmin=0, zmax=1, showscale=False, xgap=1, ygap=1,
        colorscale=[[0, "rgba(0,114,178,0.04)"], [1, ACCENT]],
        texttemplate="%{text}", textfont={"size": 10},
        text=[["" if np.isnan(share) or share < 0.005 else f"{100 * share:.0f}" for share in row]
              for row in info.shares],
        hovertemplate="asked %{y}, seen %{x}: %{z:.1%}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", ticks="", showgrid=False)
    figure.update_xaxes(ticks="", showgrid=False, tickangle=-45)
    return figure
