"""Collect what the page shows: sample grids of the best trials through training, and in what they differ."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment

from analysis import schema
from analysis.formatting import number, percent
from analysis.mlflow_reader.artifacts import Artifacts
from analysis.mlflow_reader.sweep import PARAMS, SCORES
from analysis.plots.grids import kimg_of, strip_of
from analysis.ranking.summary import winner_lines
from trainables.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analysis.ranking.ranking import Ranking

MOST_GRIDS = 12
"""Grids of one trial on the page, spread evenly over its training, so that pages stay a few MiB."""


@dataclass(frozen=True)
class ComparedTrial:
    """A trial on the page: its scores as text, its parameters, and its sample grids (kimg, PNG), ascending."""

    key: str
    scores: str
    params: Mapping[str, str]
    grids: Sequence[tuple[int, bytes]]
    unit: str = "kimg"
    """Of the grids' training."""


def collect_trials(ranking: Ranking, top: int) -> list[ComparedTrial]:
    """Return the best trial, then the Pareto front, then the next in the ranking, ``top`` in total and the recipe.

    Raises:
        UserError: fewer than two trials have sample grids that can be read.
    """
    ranked = ranking.trials[ranking.trials["rank"].notna()]
    order = list(dict.fromkeys([*filter(None, [ranking.best]), *ranking.pareto, *ranked["key"]]))[:top]
    order += [key for key in ranked.loc[ranked["recipe"].astype(bool), "key"] if key not in order]
    rows = {row["key"]: row for row in ranked.to_dict("records")}
    artifacts = Artifacts(ranking.sweep)
    dimensions = [dimension["name"] for dimension in ranking.sweep.space.get("dimensions", ())]
    names = [name for name in ranking.sweep.params if name in dimensions]
    unit = schema.budget_unit(ranking.sweep.settings)
    trials = [_read_trial(rows[key], names, artifacts, unit) for key in order if key in rows]
    shown = [trial for trial in trials if trial.grids]
    if len(shown) < 2:
        raise UserError(
            f"{len(shown)} of {len(trials)} ranked trials of sweep {ranking.sweep.name!r} have readable images; "
            "two are needed to compare"
        )
    return _varying_only(shown)


def _read_trial(row: Mapping[Any, Any], params: Sequence[str], artifacts: Artifacts, unit: str) -> ComparedTrial:
    texts = [f"distance {number(row[SCORES + schema.DISTANCE])}"]
    accuracy = row.get(SCORES + schema.TAG_ACCURACY)
    if accuracy is not None and not math.isnan(accuracy):
        texts.append(f"tags {percent(accuracy)}")
    grids = []
    names = artifacts.names(row["mlflow_run_id"], schema.SAMPLES_FOLDER)
    for name in strip_of(names, MOST_GRIDS):
        kimg, image = kimg_of(name), artifacts.content(row["mlflow_run_id"], name)
        if kimg is not None and image and image.startswith(b"\x89PNG"):
            grids.append((kimg, image))
    given = {name: str(row[PARAMS + name]) for name in params if str(row[PARAMS + name]) not in ("nan", "None", "<NA>")}
    return ComparedTrial(str(row["key"]), ", ".join(texts), given, grids, unit)


def _varying_only(trials: Sequence[ComparedTrial]) -> list[ComparedTrial]:
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    varying = [name for name in names if len({trial.params.get(name) for trial in trials}) > 1]
    return [
        dataclasses.replace(trial, params={name: trial.params[name] for name in varying if name in trial.params})
        for trial in trials
    ]


def describe_winner(ranking: Ranking) -> str:
    """Return the winner and the rule by which it was chosen; empty without a winner."""
    lines = winner_lines(ranking)
    return f"Winner: {ranking.best}, {lines['rule']}." if lines else ""


def render_page(sweep: str, winner: str, trials: Sequence[ComparedTrial], *, token: str | None) -> str:
    """Return the page as one HTML text that fetches nothing from elsewhere.

    Args:
        sweep: name of the sweep.
        winner: the winner and its rule, in words.
        trials: what it shows.
        token: what the server expects with a choice; ``None`` for a page without a server, which takes no choices.
    """
    content = {
        "sweep": sweep,
        "token": token,
        "trials": [
            {
                "key": trial.key,
                "scores": trial.scores,
                "unit": trial.unit,
                "params": dict(trial.params),
                "grids": [
                    {"kimg": kimg, "png": f"data:image/png;base64,{base64.b64encode(png).decode()}"}
                    for kimg, png in trial.grids
                ],
            }
            for trial in trials
        ],
    }
    folder = files("pipeline.compare").joinpath("page")
    parts = {name: folder.joinpath(f"compare.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    # Inside a script element only "</" could end it; JSON allows the escaped form.
    data = json.dumps(content).replace("<", "\\u003c")
    template = Environment(autoescape=True).from_string(parts["html"])
    return template.render(sweep=sweep, winner=winner, css=parts["css"], js=parts["js"], data=data)
