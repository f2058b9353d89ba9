"""The MLflow page of a sweep's run: a description with the ranking, the main metrics, and PNG figures."""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING, Any

from analysis import schema
from analysis.formatting import number, parameter
from analysis.formatting import score as score_text
from analysis.mlflow_reader.run_table import costs
from analysis.mlflow_reader.sweep import PARAMS, SCORES
from analysis.ranking.caveats import caveats
from analysis.ranking.filters import varied_parameters
from analysis.ranking.summary import winner_differences
from analysis.reports.confirmed_section import against_recipe as against_confirmed
from analysis.reports.confirmed_section import confirmed_best, in_search, means, seeds_text
from analysis.reports.data import confirmations
from analysis.reports.sections import against_recipe, commands, counted, ranking_table, subtitle

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pandas as pd
    from matplotlib.figure import Figure
    from PIL import Image

    from analysis.ranking.ranking import Ranking

TOP = 10
MOST_COLUMNS = 24
"""Maximum number of columns in the table of runs."""
MOST_ROWS = 1000
"""Maximum number of trials in the logged table."""
LETTERS = 5000
"""Maximum length of a description in characters; older servers accept no more."""


def experiment_description(ranking: Ranking, experiment: str, parent: str, drawn: Collection[str] = ()) -> str:
    """Return Markdown for the experiment: the winner and links on the first line, then the first trials.

    MLflow shows the first line above the table of runs.

    Args:
        ranking: of the sweep.
        experiment: its id.
        parent: id of the sweep's run.
        drawn: names of the figures that the run has.
    """
    runs = ranking.trials.set_index("key")["mlflow_run_id"]
    links = {str(key): f"#/experiments/{experiment}/runs/{run}" for key, run in runs.items()}
    pages = f"#/experiments/{experiment}/runs/{parent}"
    first = f"**{_plain(ranking.sweep.name)}**: "
    if ranking.best is None:
        first += f"{subtitle(ranking)}; no winner yet"
    else:
        row = ranking.winner
        names = [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
        scores = ", ".join(f"{name.replace('_', ' ')} {score_text(name, row[SCORES + name])}" for name in names)
        first += f"the winner is [{_plain(ranking.best)}]({links[ranking.best]}), {scores}"
    shown = "front and images" if schema.TAG_ACCURACY in ranking.sweep.scores else "images"
    # The page of a run folds its description after 100 pixels, whatever stands there; that of a file shows it all.
    overview = f"/artifacts/{schema.FIGURES_FOLDER}/{schema.OVERVIEW_FILE}" if schema.OVERVIEW_FILE in drawn else ""
    first += f"; [{shown}]({pages}{overview}), [ranking as a table]({pages}/artifacts/{schema.RANKING_FILE})"
    differences = winner_differences(ranking)
    line = ", ".join(f"{_plain(name)} {_plain(parameter(value))}" for name, value in (differences or {}).items())
    changed = f"The winner differs from the recipe in: {line}." if line else ""
    rule = f"The rule: {_plain(ranking.rule.words)}." if ranking.rule and ranking.best is not None else ""
    parts = [first, changed, rule, _table(ranking, links)]
    return "\n\n".join(part for part in parts if part)[:LETTERS]


def ranking_content(ranking: Ranking) -> dict[str, Any]:
    """Return the first ``MOST_ROWS`` trials as a table: ``columns``, and ``data`` as rows of numbers and texts."""
    scores = dict.fromkeys([name for name in schema.OBJECTIVES if name in ranking.sweep.scores])
    columns = {
        "rank": "rank", "key": "trial", **{SCORES + name: name for name in scores}, "kimg": "kimg", "status": "status",
        **{PARAMS + name: name for name in varied_parameters(ranking)},
        **{SCORES + name: name for name in ranking.sweep.scores if name not in scores},
    }  # fmt: skip
    trials = ranking.trials.head(MOST_ROWS)
    rows = trials[list(columns)].astype(object).where(trials[list(columns)].notna(), None).to_numpy().tolist()
    keys = trials[["key", "pareto", "recipe"]].to_numpy()
    marks = [
        " ".join(["winner"] * (key == ranking.best) + ["front"] * bool(front) + ["recipe"] * bool(recipe))
        for key, front, recipe in keys
    ]
    data = [[*row[:2], mark, *row[2:]] for row, mark in zip(rows, marks, strict=True)]
    first, second, *others = columns.values()
    return {"columns": [first, second, "marks", *others], "data": data}


def runs_view(ranking: Ranking) -> dict[str, Any]:
    """Return a view of the table of runs, as MLflow's button Share stores one: sorted, with the columns that matter."""
    metrics = [f"metrics.`{name}`" for name in schema.OBJECTIVES if name in ranking.sweep.scores]
    params = [f"params.`{name}`" for name in list(winner_differences(ranking) or {}) + varied_parameters(ranking)]
    return {
        "orderByKey": f"metrics.`{schema.DISTANCE}`",
        "orderByAsc": True,
        "selectedColumns": [*metrics, f"metrics.`{schema.KIMG}`", *dict.fromkeys(params)][:MOST_COLUMNS],
    }


def description(ranking: Ranking, run: str = "", drawn: Collection[str] = ()) -> str:
    """Return Markdown: the result, its images, its caveats, the first trials, and how to export.

    Args:
        ranking: of the sweep.
        run: id of the sweep's run.
        drawn: names of the figures that the run has; the front and the samples among them are shown.
    """
    # MLflow folds a description after a few lines: the result must be above that.
    lines = [f"**{_plain(ranking.sweep.name)}**: {subtitle(ranking)}"]
    if ranking.best is not None:
        if ranking.rule and ranking.rule.warning:
            lines.append(f"**No trial follows its tags**: {_plain(ranking.rule.warning)}.")
        row = ranking.winner
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
        lines.append(_images(run, drawn))
        if ranking.rule and not ranking.rule.warning:
            lines.append(f"The rule: {_plain(ranking.rule.words)}.")
    space = ranking.sweep.space
    lines.append(f"Space `{_code(space.get('name', '?'))}`: {_plain(space.get('summary', ''))}." if space else "")
    notes = [f"- **{caveat.label}**: {_plain(caveat.reason)}" for caveat in caveats(ranking)]
    lines += ["\n".join(notes), _table(ranking)]
    if ranking.best is not None:
        report = f"gansweep report {shlex.quote(ranking.sweep.name)} -o report.html"
        lines.append(f"```sh\n{commands(ranking)}\n{report}\n```")
    where = f"`{schema.SAMPLES_FOLDER}/` and `{schema.PANELS_FOLDER}/`"
    lines.append(f"Images of the sweep: Artifacts, `{schema.FIGURES_FOLDER}/`; of a trial: those of its run, {where}.")
    return "\n\n".join(line for line in lines if line)[:LETTERS]


def headline(ranking: Ranking) -> dict[str, float]:
    """Return the metrics of the parent run: the best scores, and counts of trials by status."""
    metrics: dict[str, float] = {}
    for name in schema.OBJECTIVES:
        key = ranking.best_by(name) if name in ranking.sweep.scores else None
        if key is not None:
            row = ranking.trials[ranking.trials["key"] == key].iloc[0]
            metrics[f"best_{name}"] = float(row[SCORES + name])
    metrics = {
        name: value for name, value in metrics.items() if math.isfinite(value)
    }  # drop scores that no trial has yet
    again = ranking.confirmation.of(ranking.best) if ranking.confirmation and confirmed_best(ranking) else None
    if again is not None:
        metrics[f"confirmed_{ranking.by}"] = again.summary.mean
    trials = ranking.trials
    counts = {f"trials_{name}": float((trials["status"] == name).sum()) for name in schema.STATUSES}
    return metrics | counts | {"total_kimg": float(costs(trials).fillna(0.0).sum())}


def figures(ranking: Ranking, history: pd.DataFrame, samples: Mapping[str, Image.Image]) -> dict[str, Any]:
    """Draw figures by file name, each with a ``save(file)`` or ``savefig(file)`` method.

    Args:
        ranking: of the sweep.
        history: of the distance, as returned by ``analysis.mlflow_reader.sweep.curves``.
        samples: sample grids of the best trials by key, the best first.
    """
    from analysis.plots.best import best_info, best_matplotlib
    from analysis.plots.curves import curves_info, curves_matplotlib
    from analysis.plots.front import front_info, front_matplotlib
    from analysis.plots.grids import side_by_side
    from analysis.plots.timeline import timeline_info, timeline_matplotlib

    images: dict[str, Figure | Image.Image] = {}
    if samples:
        images["best-samples.png"] = side_by_side(list(samples.items()))
    if (front := front_info(ranking)) is not None:
        images["front.png"] = front_matplotlib(front)
    best = best_info(ranking)
    if schema.DISTANCE in best and best[schema.DISTANCE].notna().any():
        images["best-so-far-by-time.png"] = best_matplotlib(best, "hours")
        images["best-so-far-by-training.png"] = best_matplotlib(best, "total_kimg")
    curves = curves_info(ranking, history)
    if len(curves.points):
        images["learning-curves.png"] = curves_matplotlib(curves)
    timeline = timeline_info(ranking)
    if len(timeline):
        images["timeline.png"] = timeline_matplotlib(timeline)
    return images


def _images(run: str, drawn: Collection[str]) -> str:
    """Return the Pareto front and the best trials' samples, where they were drawn, as images of the run's artifacts."""
    return " ".join(
        f"![{title}](get-artifact?path={schema.FIGURES_FOLDER}/{name}&run_uuid={run})"
        for title, name in (("Pareto front", "front.png"), ("samples of the best trials", "best-samples.png"))
        if name in drawn
    )


def _table(ranking: Ranking, links: Mapping[str, str] | None = None) -> str:
    """Return the first trials as a Markdown table; keys with a link in ``links`` lead to their runs."""
    table = ranking_table(ranking, TOP)
    if table is None:
        return ""
    line = "|".join("---:" if column in table.numbers else "---" for column in range(len(table.headers)))
    linked = {key: f"[{_plain(key)}]({target})" for key, target in (links or {}).items()}
    rows = ["|".join(linked.get(cell, _plain(cell)) for cell in row) for row in (table.headers, *table.rows)]
    return "\n".join(f"|{row}|" for row in (rows[0], line, *rows[1:]))


def _plain(text: object) -> str:
    """Escape text for Markdown, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#|!~])", r"\\\1", " ".join(str(text).split()))


def _code(text: object) -> str:
    return str(text).replace("`", "'")
