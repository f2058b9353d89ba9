"""A sweep on one run's page of MLflow: a description with the ranking, the metrics that matter, and PNG figures."""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.cells import number
from analysis.cells import score as score_text
from analysis.report_confirmed import against_recipe as against_confirmed
from analysis.report_confirmed import confirmed_best, in_search, means, seeds_text
from analysis.report_data import confirmations
from analysis.report_text import against_recipe, commands, counted, ranking_table, subtitle
from analysis.runs import SCORES
from analysis.verdict import caveats

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure
    from PIL import Image

    from analysis.rank import Ranking

TOP = 10
LETTERS = 5000
"""Of a description; older servers take no more."""


def description(ranking: Ranking) -> str:
    """Markdown: the answer, what stands against it, the first trials, and how to export."""
    # MLflow folds a description after a few lines: the answer is above that.
    lines = [f"**{_plain(ranking.sweep.name)}**: {subtitle(ranking)}"]
    if ranking.best is not None:
        row = ranking.trials.iloc[0]
        names = [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
        scores = ", ".join(f"{name.replace('_', ' ')} **{score_text(name, row[SCORES + name])}**" for name in names)
        first = f"Best of {counted(ranking)}: **{_plain(ranking.best)}**"
        if ranking.confirmation is not None and confirmed_best(ranking):
            again = means(ranking, confirmations(ranking)).items()
            scores = ", ".join(f"{name.replace('_', ' ')} **{mean}**" for name, mean in again)
            lines.append(
                f"{first}, {scores} over {seeds_text(ranking.confirmation)}; in the search {in_search(ranking)}."
            )
            lines.append(_plain(against_confirmed(ranking)))
        else:
            lines.append(f"{first}, {scores} at {number(row['kimg'])} kimg.")
            lines.append(_plain(against_recipe(ranking)))
    space = ranking.sweep.space
    lines.append(f"Space `{_code(space.get('name', '?'))}`: {_plain(space.get('summary', ''))}." if space else "")
    notes = [f"- **{one.label}**: {_plain(one.reason)}" for one in caveats(ranking)]
    lines += ["\n".join(notes), _table(ranking)]
    if ranking.best is not None:
        report = f"gansweep report {shlex.quote(ranking.sweep.name)} -o report.html"
        lines.append(f"```sh\n{commands(ranking)}\n{report}\n```")
    where = f"`{schema.SAMPLES_FOLDER}/` and `{schema.PANELS_FOLDER}/`"
    lines.append(
        f"Pictures of the sweep: Artifacts, `{schema.FIGURES_FOLDER}/`; of a trial: those of its run, {where}."
    )
    return "\n\n".join(line for line in lines if line)[:LETTERS]


def headline(ranking: Ranking) -> dict[str, float]:
    """Metrics of the parent run: the best scores, and counts of trials by status."""
    found: dict[str, float] = {}
    for name in schema.OBJECTIVES:
        key = ranking.best_by(name) if name in ranking.sweep.scores else None
        if key is not None:
            row = ranking.trials[ranking.trials["key"] == key].iloc[0]
            found[f"best_{name}"] = float(row[SCORES + name])
    found = {name: value for name, value in found.items() if math.isfinite(value)}  # one not known yet is no metric
    if ranking.confirmation is not None and confirmed_best(ranking):
        found[f"confirmed_{ranking.by}"] = ranking.confirmation.configurations[0].summary.mean
    trials = ranking.trials
    counts = {f"trials_{name}": float((trials["status"] == name).sum()) for name in schema.STATUSES}
    return found | counts | {"total_kimg": float(trials["kimg"].fillna(0.0).sum())}


def figures(ranking: Ranking, history: pd.DataFrame, samples: Mapping[str, Image.Image]) -> dict[str, Any]:
    """Figures by file name, each with a ``save(file)`` or ``savefig(file)``.

    Args:
        ranking: of the sweep.
        history: of the distance, as ``analysis.runs.curves`` gives it.
        samples: sample grids of the best trials by key, the best first.
    """
    from analysis.plots.best import best_info, paint_best
    from analysis.plots.curves import curves_info, paint_curves
    from analysis.plots.front import front_info, paint_front
    from analysis.plots.grids import side_by_side
    from analysis.plots.timeline import paint_timeline, timeline_info

    found: dict[str, Figure | Image.Image] = {}
    if samples:
        found["best-samples.png"] = side_by_side(list(samples.items()))
    if (front := front_info(ranking)) is not None:
        found["front.png"] = paint_front(front)
    best = best_info(ranking)
    if schema.DISTANCE in best and best[schema.DISTANCE].notna().any():
        found["best-so-far-by-time.png"] = paint_best(best, "hours")
        found["best-so-far-by-training.png"] = paint_best(best, "total_kimg")
    curves = curves_info(ranking, history)
    if len(curves.points):
        found["learning-curves.png"] = paint_curves(curves)
    timeline = timeline_info(ranking)
    if len(timeline):
        found["timeline.png"] = paint_timeline(timeline)
    return found


def _table(ranking: Ranking) -> str:
    table = ranking_table(ranking, TOP)
    if table is None:
        return ""
    line = "|".join("---:" if place in table.numbers else "---" for place in range(len(table.headers)))
    rows = ["|".join(_plain(cell) for cell in row) for row in (table.headers, *table.rows)]
    return "\n".join(f"|{row}|" for row in (rows[0], line, *rows[1:]))


def _plain(text: object) -> str:
    """Text that markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#|!~])", r"\\\1", " ".join(str(text).split()))


def _code(text: object) -> str:
    return str(text).replace("`", "'")
