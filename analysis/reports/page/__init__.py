"""A page in one file: plotly.js, styles, figures and images inside, and nothing that is fetched."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

if TYPE_CHECKING:
    from collections.abc import Mapping

    import plotly.graph_objects as go


def render(content: Mapping[str, Any], figures: Mapping[str, go.Figure], thumbnails: Mapping[str, str]) -> str:
    """Give the page.

    Args:
        content: what ``report.html`` shows; every text is escaped there.
        figures: by the id of the element in which each is drawn.
        thumbnails: data URIs that figures show beside the point of a trial, by its key.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    drawn = {name: json.loads(figure.to_json()) for name, figure in figures.items()}
    return environment.from_string(_file("report.html")).render(
        **content,
        shown=set(figures),
        style=Markup(_file("report.css")),
        script=Markup(_file("report.js")),
        figures=embedded(drawn),
        thumbnails=embedded(thumbnails),
        plotly=_plotly(),
    )


def embedded(value: Any) -> Markup:
    """JSON that may stand inside a script element whatever it holds: nothing in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@cache
def _plotly() -> str:
    """plotly.js, compressed: a third of its size even as text."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode("ascii")


def _file(name: str) -> str:
    return (resources.files("analysis.reports.page") / name).read_text(encoding="utf-8")
