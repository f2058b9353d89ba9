"""A sweep as one page: ``python -m analysis.report NAME -o report.html``.

The answer comes first, then the front, the reasons, the claims, the failures and the method. The file needs nothing
else: no server, no network.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from analysis import schema
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import plotly.graph_objects as go

    from analysis.artifacts import Artifacts
    from analysis.rank import Ranking
    from analysis.report_data import ReportData

THUMBNAILS, GRIDS = 40, 10
CONTENTS = (
    ("answer", "The answer"), ("front", "The front"), ("why", "Why"), ("claims", "The claims"),
    ("failures", "Failures"), ("method", "Method"),
)  # fmt: skip


@dataclass(frozen=True)
class ReportOptions:
    """Write a sweep as one HTML page: the answer, the front, why, the claims, the failures, the method."""

    name: tyro.conf.Positional[str]
    """The sweep."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """File to write; one that is there is replaced."""
    home: Path | None = None
    """Folder of the sweeps; default: $GANSWEEP_HOME or ./gansweep-runs."""
    tracking: str | None = None
    """MLflow tracking URI, where the sweep was not tracked in its home."""
    allow_mixed: bool = False
    """Rank scores together that were measured in different ways, although they do not compare."""
    json: bool = False
    """Print one JSON object."""


def run(options: ReportOptions) -> int:
    """Carry out ``gansweep report``: the name and size of the file on stdout."""
    from analysis.rank import rank
    from analysis.report_data import collect
    from analysis.runs import load
    from analysis.script import print_answer

    output = options.output
    # Reading takes long: what can be refused is refused before.
    if output.is_dir() or not _nearest_above(output).is_dir():
        raise AnalysisError(f"cannot write {output}: -o names a file in a folder, which is made where it is missing")
    ranking = rank(load(options.name, home=options.home, tracking=options.tracking), allow_mixed=options.allow_mixed)
    page = make_page(collect(ranking))
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(page, encoding="utf-8")
            partial.replace(output)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise AnalysisError(f"cannot write {output}: {error.strerror or error}") from error
    size = len(page.encode())
    about = {"sweep": ranking.sweep.name, "best": ranking.best, "output": str(output), "bytes": size}
    print_answer(about, f"wrote {output}, {size / 2**20:.1f} MiB", as_json=options.json)
    return 0


def _nearest_above(path: Path) -> Path:
    """The first of the folders above a path that is there, or the file that stands in its place."""
    return next(above for above in path.absolute().parents if above.exists())


def make_page(data: ReportData) -> str:
    """The page as text."""
    from analysis import report_confirmed, report_evidence
    from analysis import report_text as text
    from analysis.artifacts import Artifacts
    from analysis.importance import METHODS
    from analysis.page import render
    from analysis.verdict import caveats

    ranking, evidence = data.ranking, data.evidence
    artifacts = Artifacts(ranking.sweep) if ranking.sweep.tracking else None
    figures, notes, slices = _figures(data)
    pictures = _pictures(ranking, artifacts)
    confusions, drawn = _confusions(ranking, artifacts)
    winner = _winner(data, pictures)
    content = {
        "name": ranking.sweep.name,
        "subtitle": text.subtitle(ranking),
        "contents": CONTENTS,
        "counted": text.counted(ranking),
        "winner": winner,
        "caveats": caveats(ranking),
        "commands": text.commands(ranking),
        "shared_inputs": text.shared_inputs(ranking),
        "thumbs": bool(pictures),
        "ranking": text.ranking_table(ranking),
        "grids": _grids(ranking, pictures),
        "front_text": text.front_text(ranking),
        "seeds": report_confirmed.seeds_table(ranking, evidence.confirmed),
        "effects": report_evidence.effects_table(evidence.effects),
        "importance_methods": METHODS.values(),
        "ablations": [report_evidence.ablation_table(one) for one in evidence.ablations],
        "claims": report_evidence.claims_table(evidence.claims, ranking.sweep.name),
        "questions": report_evidence.questions_table(ranking.sweep),
        "failing": report_evidence.failing_table(evidence.failing),
        "slices": slices,
        "strip": _strip(ranking, artifacts),
        "confusions": list(confusions),
        "confusion_picture": drawn,
        "reasons": text.reasons_table(ranking),
        "method": text.method(ranking),
        "method_notes": _unread(artifacts),
        **notes,
    }
    thumbnails = {key: _uri(picture, 208, 60) for key, picture in pictures.items()}
    return render(content, figures | confusions, thumbnails)


# Figures -----------------------------------------------------------------------------------------------------
def _figures(data: ReportData) -> tuple[dict[str, go.Figure], dict[str, list[str]], list[str]]:
    """Figures by their place on the page, notes by theirs, and the places of the slices."""
    from analysis.plots.along import along_info, draw_along
    from analysis.plots.best import best_info, draw_best
    from analysis.plots.importance import draw_importance, importance_info
    from analysis.plots.parallel import draw_parallel, parallel_info
    from analysis.plots.slices import draw_slice, slices_info
    from analysis.plots.timeline import draw_timeline, timeline_info
    from analysis.report_evidence import importance_notes, importance_table

    ranking, evidence = data.ranking, data.evidence
    figures: dict[str, go.Figure] = {}
    front, front_notes = _front(ranking)
    figures |= front
    best = best_info(ranking)
    for name, short in ((schema.DISTANCE, "distance"), (schema.TAG_ACCURACY, "accuracy")):
        if name in best and best[name].notna().any():
            for against, axis in (("hours", "hours"), ("total_kimg", "kimg")):
                figures[f"best-{short}-{axis}"] = draw_best(best, name, against)
    bars = {one.score: table for one in evidence.importances if (table := importance_table(one)) is not None}
    order = _order(ranking, bars.get(schema.DISTANCE))
    if parallel := parallel_info(ranking, order):
        figures["parallel"] = draw_parallel(parallel)
        front_notes += _thinned(parallel.left_out, "lines")
    for score, table in bars.items():
        figures[f"importance-{score.replace('_', '-')}"] = draw_importance(importance_info(table), score)
    for score, paths in evidence.along.items():
        if len(info := along_info(paths)):
            figures[f"along-{score.replace('_', '-')}"] = draw_along(info, score)
    slices = slices_info(ranking, order)
    drawn = {f"slice-{place}": draw_slice(one) for place, one in enumerate(slices)}
    curves, curve_notes = _curves(data)
    timeline = timeline_info(ranking)
    if len(timeline):
        figures["timeline"] = draw_timeline(timeline)
    unplaced = bool(len(timeline)) and bool((timeline["node"] == "").any())
    told = "Where trials ran was not recorded: they are laid on the fewest slots that hold them." if unplaced else ""
    notes = {
        "front_notes": front_notes,
        "why_notes": evidence.notes,
        "importance_notes": importance_notes(evidence.importances),
        "curve_notes": curve_notes,
        "timeline_notes": [told] if told else [],
    }
    return figures | drawn | curves, notes, list(drawn)


def _front(ranking: Ranking) -> tuple[dict[str, go.Figure], list[str]]:
    from analysis.plots.front import draw_front, front_info

    info = front_info(ranking)
    if info is None:
        one_objective = ranking.best is not None and schema.TAG_ACCURACY not in ranking.sweep.scores
        return {}, ["This system takes no tags: the distance is the one objective."] if one_objective else []
    notes = _thinned(info.left_out, "points")
    if info.incomparable:
        why = "they failed, or were stopped early and scored on fewer pictures, which does not compare"
        notes.append(f"{info.incomparable:,} scored trials are not shown: {why}.")
    return {"front-figure": draw_front(info)}, notes


def _curves(data: ReportData) -> tuple[dict[str, go.Figure], list[str]]:
    from analysis.plots.curves import curves_info, draw_curves

    figures, left_out = {}, 0
    for name, short in ((schema.DISTANCE, "distance"), (schema.TAG_ACCURACY, "accuracy")):
        info = curves_info(data.ranking, data.history, name)
        if len(info.points):
            figures[f"curves-{short}"] = draw_curves(info)
            left_out = max(left_out, info.left_out)
    notes = _thinned(left_out + data.curves_left_out, "curves") if figures else []
    if data.ranking.trials["samples"].nunique() > 1:
        notes.append("Early scores were measured on fewer pictures, which makes a distance larger.")
    return figures, notes


def _thinned(left_out: int, what: str) -> list[str]:
    return [f"{left_out:,} more {what} are left out, evenly along the ranking."] if left_out else []


def _order(ranking: Ranking, importance: pd.DataFrame | None) -> list[str] | None:
    """Parameters that vary, the most important first, where that is known."""
    from analysis.plots.importance import important_first
    from analysis.plots.parallel import varied

    if importance is None:
        return None
    known, names = important_first(importance), varied(ranking)
    return [name for name in known if name in names] + [name for name in names if name not in known]


# Pictures ----------------------------------------------------------------------------------------------------
def _uri(picture: Any, width: int, quality: int = 80) -> str:
    from analysis.plots.grids import data_uri

    return data_uri(picture, width, quality)


def _pictures(ranking: Ranking, artifacts: Artifacts | None) -> dict[str, Any]:
    """The last sample grids of the best trials, the front and the recipe, by key."""
    if artifacts is None:
        return {}
    trials = ranking.trials
    rows = trials[trials["rank"].notna() & ((trials.index < THUMBNAILS // 2) | trials["pareto"] | trials["recipe"])]
    found = {}
    for key, run_id in rows[["key", "mlflow_run_id"]].head(THUMBNAILS).itertuples(index=False):
        picture = artifacts.last_sample(str(run_id))
        if picture is not None:
            found[str(key)] = picture
    return found


def _winner(data: ReportData, pictures: dict[str, Any]) -> dict[str, Any] | None:
    from analysis import report_confirmed as again
    from analysis import report_text as text

    ranking, confirmed = data.ranking, data.evidence.confirmed
    if ranking.best is None:
        return None
    row = text.best_row(ranking)
    ended = "" if row["status"] == schema.COMPLETE else f", which ended early ({row['status']})"
    what, tiles, against = f", system {row['system']}{ended}", text.tiles(ranking), text.against_recipe(ranking)
    if again.confirmed_best(ranking) and ranking.confirmation is not None:
        what += f", by its mean over {again.seeds_text(ranking.confirmation)}. Its one run in the search had "
        what += again.in_search(ranking)
        tiles, against = again.tiles(ranking, confirmed), again.against_recipe(ranking)
    return {
        "key": ranking.best,
        "what": what,
        "tiles": tiles,
        "against": against,
        "changes": text.changes(ranking),
        "picture": _uri(pictures[ranking.best], 720, 82) if ranking.best in pictures else "",
    }


def _grids(ranking: Ranking, pictures: dict[str, Any]) -> list[dict[str, str]]:
    from analysis.cells import score as score_text
    from analysis.runs import SCORES

    found = []
    for _, row in ranking.trials[ranking.trials["rank"] <= GRIDS].iterrows():
        if row["key"] in pictures:
            names = [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
            scores = ", ".join(score_text(name, row[SCORES + name]) for name in names)
            found.append({"key": row["key"], "picture": _uri(pictures[row["key"]], 400, 72),
                          "caption": f"{row['rank']}. {row['key']}: {scores}"})  # fmt: skip
    return found if len(found) > 1 else []


def _strip(ranking: Ranking, artifacts: Artifacts | None) -> list[dict[str, str]]:
    from analysis import report_text as text
    from analysis.plots.grids import kimg_of, strip_of

    if artifacts is None or ranking.best is None:
        return []
    run_id = str(text.best_row(ranking)["mlflow_run_id"])
    names = strip_of(artifacts.names(run_id, schema.SAMPLES_FOLDER))
    shown = [(name, artifacts.picture(run_id, name)) for name in names] if len(names) > 1 else []
    return [
        {"picture": _uri(picture, 400, 72), "caption": f"{kimg_of(name)} kimg"} for name, picture in shown if picture
    ]


def _confusions(ranking: Ranking, artifacts: Artifacts | None) -> tuple[dict[str, go.Figure], str]:
    """The winner's confusion matrices as figures; as the picture that was logged, where the counts were not."""
    from analysis import report_text as text
    from analysis.plots.confusion import confusion_info, draw_confusion

    if artifacts is None or ranking.best is None:
        return {}, ""
    run_id = str(text.best_row(ranking)["mlflow_run_id"])
    names = artifacts.names(run_id, schema.PANELS_FOLDER)
    counts, picture = (f"{schema.PANELS_FOLDER}/{name}" for name in (schema.CONFUSION_FILE, "confusion.png"))
    if counts in names:
        infos = confusion_info(artifacts.json(run_id, counts))
        return {f"confusion-{place}": draw_confusion(info) for place, info in enumerate(infos)}, ""
    logged = artifacts.picture(run_id, picture) if picture in names else None
    return {}, _uri(logged, 1400) if logged is not None else ""


def _unread(artifacts: Artifacts | None) -> list[str]:
    if artifacts is None or not artifacts.unreadable:
        return []
    return [f"{artifacts.unreadable} pictures or files of the sweep could not be read and are missing here."]


def main(argv: Sequence[str] | None = None) -> int:
    """Run as a script: ``python -m analysis.report NAME -o report.html``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    options = tyro.cli(
        ReportOptions,
        prog="python -m analysis.report",
        args=[argument for argument in arguments if argument != "--debug"],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        return run(options)
    except AnalysisError as error:
        if debug:
            raise
        print(f"gansweep: error: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
