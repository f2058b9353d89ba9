"""A sweep as one page: ``python -m analysis.report NAME -o report.html``.

The result comes first, then the front, the evidence, the claims, the failures and the method. The file is
self-contained: it needs no server and no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis import schema

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from analysis.mlflow_reader.artifacts import Artifacts
    from analysis.ranking.ranking import Ranking
    from analysis.reports.data import ReportData

THUMBNAILS, GRIDS = 40, 10
CONTENTS = (
    ("answer", "The answer"), ("front", "The front"), ("why", "Why"), ("claims", "The claims"),
    ("failures", "Failures"), ("method", "Method"),
)  # fmt: skip


def make_page(data: ReportData) -> str:
    """The page as text."""
    from analysis.effects.importance import METHODS
    from analysis.mlflow_reader.artifacts import Artifacts
    from analysis.ranking.caveats import caveats
    from analysis.reports import confirmed_section, evidence_section
    from analysis.reports import sections as text
    from analysis.reports.page import render

    ranking, evidence = data.ranking, data.evidence
    artifacts = Artifacts(ranking.sweep) if ranking.sweep.tracking else None
    figures, notes, slices = _figures(data)
    images = _images(ranking, artifacts)
    confusions, drawn = _confusions(ranking, artifacts)
    winner = _winner(data, images)
    unit = schema.budget_unit(ranking.sweep.settings)
    content = {
        "name": ranking.sweep.name,
        "subtitle": text.subtitle(ranking),
        "contents": CONTENTS,
        "counted": text.counted(ranking),
        "winner": winner,
        "caveats": caveats(ranking),
        "commands": text.commands(ranking),
        "shared_inputs": text.shared_inputs(ranking),
        "thumbs": bool(images),
        "ranking": text.ranking_table(ranking),
        "grids": _grids(ranking, images),
        "front_text": text.front_text(ranking),
        "seeds": confirmed_section.seeds_table(ranking, evidence.confirmed),
        "effects": evidence_section.effects_table(evidence.effects, unit),
        "importance_methods": METHODS.values(),
        "ablations": [evidence_section.ablation_table(one) for one in evidence.ablations],
        "claims": evidence_section.claims_table(evidence.claims, ranking.sweep.name),
        "questions": evidence_section.questions_table(ranking.sweep),
        "failing": evidence_section.failing_table(evidence.failing),
        "slices": slices,
        "strip": _strip(ranking, artifacts),
        "confusions": list(confusions),
        "confusion_picture": drawn,
        "reasons": text.reasons_table(ranking),
        "method": text.method(ranking),
        "method_notes": _unread(artifacts),
        **notes,
    }
    thumbnails = {key: _uri(image, 208, 60) for key, image in images.items()}
    return render(content, figures | confusions, thumbnails)


# Figures -----------------------------------------------------------------------------------------------------
def _figures(data: ReportData) -> tuple[dict[str, go.Figure], dict[str, list[str]], list[str]]:
    """Return the figures and notes by their slots on the page, and the slots of the slices."""
    from analysis.plots.along import along_info, draw_along
    from analysis.plots.best import best_info, draw_best
    from analysis.plots.importance import draw_importance, importance_info
    from analysis.plots.parallel import draw_parallel, draw_rows, parallel_info
    from analysis.plots.slices import draw_slice, slices_info
    from analysis.plots.timeline import draw_timeline, timeline_info
    from analysis.reports.evidence_section import importance_notes, importance_table

    ranking, evidence = data.ranking, data.evidence
    unit = schema.budget_unit(ranking.sweep.settings)
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
        figures |= {"parallel": draw_parallel(parallel), "parallel-rows": draw_rows(parallel)}
        front_notes += _thinned(parallel.left_out, "lines")
    for score, table in bars.items():
        figures[f"importance-{score.replace('_', '-')}"] = draw_importance(importance_info(table), score)
    for score, paths in evidence.along.items():
        if len(info := along_info(paths)):
            figures[f"along-{score.replace('_', '-')}"] = draw_along(info, score, unit)
    slices = slices_info(ranking, order)
    drawn = {f"slice-{place}": draw_slice(one) for place, one in enumerate(slices)}
    curves, curve_notes = _curves(data)
    timeline = timeline_info(ranking)
    if len(timeline):
        figures["timeline"] = draw_timeline(timeline)
    unplaced = bool(len(timeline)) and bool((timeline["node"] == "").any())
    unplaced_note = (
        "The slots of the trials were not recorded; they are assigned to the fewest slots that hold them."
        if unplaced
        else ""
    )
    notes = {
        "front_notes": front_notes,
        "why_notes": evidence.notes,
        "importance_notes": importance_notes(evidence.importances, unit),
        "curve_notes": curve_notes,
        "timeline_notes": [unplaced_note] if unplaced_note else [],
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
        why = "they failed, or were stopped early and scored on fewer images, which does not compare"
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
        notes.append("Early scores were measured on fewer images, which makes a distance larger.")
    return figures, notes


def _thinned(left_out: int, what: str) -> list[str]:
    return [f"{left_out:,} more {what} are left out, evenly along the ranking."] if left_out else []


def _order(ranking: Ranking, importance: pd.DataFrame | None) -> list[str] | None:
    """List the parameters that vary, sorted by importance if it was computed."""
    from analysis.plots.importance import important_first
    from analysis.ranking.filters import varied_parameters

    if importance is None:
        return None
    known, names = important_first(importance), varied_parameters(ranking)
    return [name for name in known if name in names] + [name for name in names if name not in known]


# Images ----------------------------------------------------------------------------------------------------
def _uri(image: Any, width: int, quality: int = 80) -> str:
    from analysis.plots.grids import data_uri

    return data_uri(image, width, quality)


def _images(ranking: Ranking, artifacts: Artifacts | None) -> dict[str, Any]:
    """Return the last sample grids of the best trials, the front and the recipe, by key."""
    if artifacts is None:
        return {}
    trials = ranking.trials
    first = (trials.index < THUMBNAILS // 2) | (trials["key"] == ranking.best)
    rows = trials[trials["rank"].notna() & (first | trials["pareto"] | trials["recipe"])]
    rows = rows.sort_values("key", key=lambda keys: keys != ranking.best, kind="stable")
    from analysis.plots.grids import clear_paper

    images = {}
    for key, run_id in rows[["key", "mlflow_run_id"]].head(THUMBNAILS).itertuples(index=False):
        image = artifacts.last_sample(str(run_id))
        if image is not None:
            images[str(key)] = clear_paper(image)
    return images


def _winner(data: ReportData, images: dict[str, Any]) -> dict[str, Any] | None:
    from analysis.reports import confirmed_section as again
    from analysis.reports import sections as text

    ranking, confirmed = data.ranking, data.evidence.confirmed
    if ranking.best is None:
        return None
    row = ranking.winner
    ended = "" if row["status"] == schema.COMPLETE else f", which ended early ({row['status']})"
    what, tiles, against = f", system {row['system']}{ended}", text.tiles(ranking), text.against_recipe(ranking)
    if again.confirmed_best(ranking) and ranking.confirmation is not None:
        what += f", by its mean over {again.seeds_text(ranking.confirmation)}. Its one run in the search had "
        what += again.in_search(ranking)
        tiles, against = again.tiles(ranking, confirmed), again.against_recipe(ranking)
    return {
        "key": ranking.best,
        "rule": ranking.rule.words if ranking.rule else "",
        "warning": ranking.rule.warning if ranking.rule else None,
        "what": what,
        "tiles": tiles,
        "against": against,
        "changes": text.changes(ranking),
        "picture": _uri(images[ranking.best], 720, 82) if ranking.best in images else "",
    }


def _grids(ranking: Ranking, images: dict[str, Any]) -> list[dict[str, str]]:
    from analysis.formatting import score as score_text
    from analysis.mlflow_reader.sweep import SCORES

    grids = []
    trials = ranking.trials
    shown = (trials["rank"] <= GRIDS).fillna(False) | (trials["key"] == ranking.best)
    for _, row in trials[shown].iterrows():
        if row["key"] in images:
            names = [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
            scores = ", ".join(score_text(name, row[SCORES + name]) for name in names)
            grids.append({"key": row["key"], "picture": _uri(images[row["key"]], 400, 72),
                          "caption": f"{row['rank']}. {row['key']}: {scores}"})  # fmt: skip
    return grids if len(grids) > 1 else []


def _strip(ranking: Ranking, artifacts: Artifacts | None) -> list[dict[str, str]]:
    from analysis.plots.grids import clear_paper, kimg_of, strip_of

    if artifacts is None or ranking.best is None:
        return []
    run_id, unit = str(ranking.winner["mlflow_run_id"]), schema.budget_unit(ranking.sweep.settings)
    names = strip_of(artifacts.names(run_id, schema.SAMPLES_FOLDER))
    shown = [(name, artifacts.image(run_id, name)) for name in names] if len(names) > 1 else []
    return [
        {"picture": _uri(clear_paper(image), 400, 72), "caption": f"{kimg_of(name)} {unit}"}
        for name, image in shown
        if image
    ]


def _confusions(ranking: Ranking, artifacts: Artifacts | None) -> tuple[dict[str, go.Figure], str]:
    """Return the winner's confusion matrices as figures, or the logged image if the counts were not logged."""
    from analysis.plots.confusion import confusion_info, draw_confusion

    if artifacts is None or ranking.best is None:
        return {}, ""
    run_id = str(ranking.winner["mlflow_run_id"])
    names = artifacts.names(run_id, schema.PANELS_FOLDER)
    counts, image = (f"{schema.PANELS_FOLDER}/{name}" for name in (schema.CONFUSION_FILE, "confusion.png"))
    if counts in names:
        infos = confusion_info(artifacts.json(run_id, counts))
        return {f"confusion-{place}": draw_confusion(info) for place, info in enumerate(infos)}, ""
    logged = artifacts.image(run_id, image) if image in names else None
    return {}, _uri(logged, 1400) if logged is not None else ""


def _unread(artifacts: Artifacts | None) -> list[str]:
    if artifacts is None or not artifacts.unreadable:
        return []
    return [f"{artifacts.unreadable} images or files of the sweep could not be read and are missing here."]
