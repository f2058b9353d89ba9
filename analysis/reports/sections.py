"""The text and tables of the report, section by section; all of it is derived from the ranking alone."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import schema
from analysis.formatting import Table, duration, number, parameter, printable
from analysis.formatting import score as score_text
from analysis.mlflow_reader.run_table import epoch_seconds
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES
from analysis.plan_accuracy import actual_cost, changed_options, planned_entries
from analysis.ranking.caveats import interval
from analysis.ranking.failure_reasons import group_reasons
from analysis.ranking.filters import varied_parameters
from analysis.ranking.summary import winners_recipe
from analysis.ranking.tag_classifier_check import describe_accuracy
from analysis.repeats.tables import spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.mlflow_reader.sweep import Sweep
    from analysis.ranking.ranking import Ranking

TOP = 15
REASONS = 25


def counted(ranking: Ranking) -> str:
    """``12 trials``."""
    count = len(ranking.trials)
    return f"{count:,} trial{'s' * (count != 1)}"


def subtitle(ranking: Ranking) -> str:
    """Format the number of trials by status, and the duration."""
    trials = ranking.trials
    counts = [f"{int((trials['status'] == name).sum()):,} {name}" for name in schema.STATUSES]
    parts = [part for part in counts if not part.startswith("0 ")]
    took = epoch_seconds(trials["ended"]).max() - epoch_seconds(trials["started"]).min()
    return ", ".join([*(parts or ["no trial begun"]), *([f"in {duration(took)}"] if took > 0 else [])])


def tiles(ranking: Ranking) -> list[dict[str, str]]:
    """Return the tiles with the winner's scores and their intervals."""
    row = ranking.winner
    entries = []
    for name in [name for name in (*schema.OBJECTIVES, schema.FACE_RATE) if name in ranking.sweep.scores]:
        ends = interval(row, name)
        shown = f"95%: {score_text(name, ends[0])} to {score_text(name, ends[1])}" if ends else "no interval logged"
        label = name.replace("_", " ")
        if name == schema.DISTANCE and (full := ranking.fingerprint.get("score")):
            label += f" ({full})"
        entries.append({"value": score_text(name, row[SCORES + name]), "name": label, "range": shown})
    entries.append(
        {"value": number(row["kimg"]), "name": "kimg of training", "range": f"in {duration(row['seconds'])}"}
    )
    return entries


def against_recipe(ranking: Ranking) -> str:
    """Compare the winner with the recipe, if their scores compare."""
    usual = winners_recipe(ranking)
    if ranking.best is None or usual is None:
        return ""
    row = ranking.winner
    if row["key"] == usual["key"]:
        which = " that follows its tags" if ranking.rule and ranking.rule.passing else ""
        others = f": no other configuration{which} came below its distance" if len(ranking.trials) > 1 else ""
        return f"It is the recipe itself{others}."
    value = usual.get(f"{SCORES}{schema.DISTANCE}", float("nan"))
    if pd.isna(value) or usual["status"] == schema.FAILED:
        return f"The recipe has no score to compare with: {usual['reason'] or usual['status']}."
    if usual["samples"] < row["samples"]:
        return "The recipe was stopped early and scored on fewer images, which does not compare."
    parts = []
    for name in [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]:
        label = name.replace("_", " ")
        parts.append(f"{label} {score_text(name, usual[SCORES + name])}")
    return f"The recipe, unchanged: {', '.join(parts)} at {number(usual['kimg'])} kimg."


def changes(ranking: Ranking) -> Table | None:
    """List the parameters in which the winner differs from the recipe."""
    usual = winners_recipe(ranking)
    if ranking.best is None or usual is None:
        return None
    row = ranking.winner
    pairs = [
        (name, parameter(usual[PARAMS + name]), parameter(row[PARAMS + name])) for name in varied_parameters(ranking)
    ]
    rows = [list(pair) for pair in pairs if pair[1] != pair[2] and pair[2] != "-"]
    return Table(["parameter", "the recipe", "the winner"], rows, frozenset({1, 2})) if rows else None


def commands(ranking: Ranking) -> str:
    """Return the commands that use the winner."""
    name = shlex.quote(ranking.sweep.name)
    lines = [
        f"gansweep export {name} -o winner/",
        _use(ranking),
        f"gansweep rank {name} --top 0",
    ]
    return "\n".join(lines)


def _use(ranking: Ranking) -> str:
    if not translates(ranking):
        return f"gansweep generate winner/{_tags(ranking)} -o grid.png"
    data = ranking.sweep.data
    classes = {group["name"]: group["classes"] for group in data.get("vocabulary", {}).get("groups", [])}
    target = " ".join(f"{classes[name][-1]} {name}" for name in data.get("targets", []) if name in classes)
    return f"gansweep translate winner/ IMAGES -o translated/ --to {shlex.quote(target or 'CLASS GROUP')}"


def _tags(ranking: Ranking) -> str:
    """Return the arguments of ``generate``: the most common tags of the data, or none if the winner takes no tags."""
    if not _takes_tags(ranking):
        return " -n 16"
    data = ranking.sweep.data
    groups, combinations = data.get("vocabulary", {}).get("groups"), data.get("combinations")
    if not groups or not combinations:
        return " --panel noise"
    labels = max(combinations, key=lambda entry: entry["count"])["labels"]
    words = " ".join(f"{group['classes'][label]} {group['name']}" for group, label in zip(groups, labels, strict=True))
    return f" {shlex.quote(words)} -n 16"


def _takes_tags(ranking: Ranking) -> bool:
    column = f"{PARAMS}generator.conditioning"
    if ranking.best is None or column not in ranking.trials:
        return schema.TAG_ACCURACY in ranking.sweep.scores
    return bool(ranking.winner[column] != "none")


def translates(ranking: Ranking) -> bool:
    """Return whether the sweep's generators translate images: only those have a reconstruction score."""
    return schema.CYCLE in ranking.sweep.scores


def shared_inputs(ranking: Ranking) -> str:
    """What the images of all trials are made of."""
    return "the same source images" if translates(ranking) else "the same noise and tags"


def ranking_table(ranking: Ranking, most: int = TOP) -> Table | None:
    """Return the first trials of the ranking, and always the winner and the recipe."""
    trials = ranking.trials
    if trials.empty:
        return None
    rows = trials[(trials.index < most) | trials["recipe"] | (trials["key"] == ranking.best)]
    wanted = (*schema.OBJECTIVES, *_groups(ranking), schema.FACE_RATE)
    scores = [name for name in wanted if name in ranking.sweep.scores]
    short = {schema.TAG_ACCURACY: "tags", schema.FACE_RATE: "faces"}
    labels = [short.get(name, name.removeprefix(f"{schema.TAG_ACCURACY}_")) for name in scores]
    has_interval = any(interval(row, schema.DISTANCE) for _, row in rows.iterrows())
    confirmation = ranking.confirmation or ranking.short_confirmation
    confirmed = (
        {entry.key: spread(entry.summary, confirmation.by) for entry in confirmation.configurations}
        if confirmation
        else {}
    )
    knee, cells, cost = knee_of(ranking), [], METRICS + schema.COST_KIMG
    for _, row in rows.iterrows():
        flags = {
            "winner": row["key"] == ranking.best,
            "front": bool(row["pareto"]),
            "knee": row["key"] == knee,
            "recipe": bool(row["recipe"]),
            "mutated": row.get(f"{METRICS}{schema.MUTATIONS}", 0.0) > 0,
        }
        marks = " ".join(mark for mark, holds in flags.items() if holds)
        ends = interval(row, schema.DISTANCE)
        shown = f"{score_text(schema.DISTANCE, ends[0])} to {score_text(schema.DISTANCE, ends[1])}" if ends else "-"
        values = [score_text(name, row[SCORES + name]) for name in scores]
        spent = [
            number(row["kimg"]),
            *([number(row[cost])] if cost in trials else []),
            number(row["samples"]),
            duration(row["seconds"]),
        ]
        scored = [*values[:1], *([shown] if has_interval else []), *values[1:]]
        again = [confirmed.get(row["key"], "-")] if confirmation else []
        cells.append([number(row["rank"]), row["key"], marks, *again, *scored, *spent, row["status"]])
    headers = ["rank", "trial", "", *(["confirmed"] if confirmation else []), *labels[:1],
               *(["95% interval"] if has_interval else []), *labels[1:],
               "kimg", *(["cost (kimg)"] if cost in trials else []), "images", "time", "status"]  # fmt: skip
    left = len(trials) - len(rows)
    note = f"And {left:,} more: gansweep rank {shlex.quote(ranking.sweep.name)} --top 0." if left else ""
    aligned = frozenset({0, *range(3, len(headers) - 1)})
    first = {"rank", "trial", "", "confirmed", labels[0] if labels else "", "tags", "kimg", "status"}
    less = frozenset(place for place, header in enumerate(headers) if header not in first)
    return Table(headers, cells, aligned, note, less)


def knee_of(ranking: Ranking) -> str | None:
    """Return the key of the knee; ``None`` for a front of two points or fewer."""
    return ranking.knee if len(ranking.pareto) > 2 else None


def front_text(ranking: Ranking) -> str:
    """Describe the knee and the area of the front."""
    parts = []
    if knee := knee_of(ranking):
        parts.append(f"The knee, where a little more of one costs most of the other, is {knee}.")
    if area := ranking.hypervolume():
        distance = score_text(schema.DISTANCE, area["reference"][schema.DISTANCE])
        size = f"{area['value']:.4g}"
        parts.append(f"The front covers an area of {size}, up to a distance of {distance} and no tag right.")
    return " ".join(parts)


def _groups(ranking: Ranking) -> list[str]:
    prefix, macro = f"{schema.TAG_ACCURACY}_", f"{schema.TAG_ACCURACY}_macro_"
    return [name for name in ranking.sweep.scores if name.startswith(prefix) and not name.startswith(macro)]


def reasons_table(ranking: Ranking) -> Table | None:
    """Count the trials that did not complete, by status and reason, the most frequent first."""
    trials = ranking.trials
    ended = trials[trials["status"].isin([schema.FAILED, schema.STOPPED, schema.INTERRUPTED])]
    if ended.empty:
        return None
    labelled = ended.assign(reason=ended["reason"].fillna("no reason given").map(str))
    first = labelled.drop_duplicates(["status", "reason"]).set_index(["status", "reason"])["key"]
    kinds = [(status, kind) for status, rows in labelled.groupby("status") for kind in group_reasons(rows["reason"])]
    kinds.sort(key=lambda entry: (entry[0] != schema.FAILED, -entry[1].trials))
    rows = [
        [str(status), str(kind.trials), printable(str(kind)), first[status, kind.example]]
        for status, kind in kinds[:REASONS]
    ]
    left = len(kinds) - len(rows)
    note = f"And {left} rarer kinds of reasons." if left else ""
    return Table(["status", "trials", "reason", "for instance"], rows, frozenset({1}), note)


def method(ranking: Ranking) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what is needed to reproduce the sweep: titles with names and values."""
    sweep = ranking.sweep
    settings, data = sweep.settings, sweep.data
    fingerprint = [(name.replace("_", " "), _short(value)) for name, value in sorted(ranking.fingerprint.items())]
    budget_names = ("space", "trials", "max_kimg", "budget", "eval_kimg", "samples", "rung_samples", "scheduler",
                    "sampler", "image_size", "channels", "fit", "concurrent", "fuse", "precision",
                    "time_limit")  # fmt: skip
    budgets = [(name.replace("_", " "), _short(settings[name])) for name in budget_names if _is_set(settings.get(name))]
    if (unit := schema.budget_unit(settings)) != "kimg":
        equal = schema.budget_equals(settings)
        budgets.append(("unit of budgets and costs", f"{unit}: as many {equal} as it takes for them"))
    changed = [(f"--{name}", ", ".join(map(str, settings[name])))
               for name in ("set", "fix", "range", "choices") if settings.get(name)]  # fmt: skip
    seed = _short(settings.get("seed"))
    seeds = [("of the sweep", seed), ("of each trial", "follows from it and the trial's number")]
    sections = [
        ("Fingerprint of the scores", fingerprint),
        ("Budgets and search", budgets),
        ("Changes of the space", changed),
        ("What it took", _planned(sweep) if sweep.plan else []),
        ("Seeds", seeds if "seed" in settings else []),
        ("Slots", _slots(sweep.figures)),
        ("Data", _data(data)),
        ("Versions", [(name, str(value)) for name, value in data.get("versions", {}).items()]),
        ("Where it is tracked", [("MLflow run", sweep.mlflow_run_id)] if sweep.mlflow_run_id else []),
    ]
    return [(title, entries) for title, entries in sections if entries]


def _planned(sweep: Sweep) -> list[tuple[str, str]]:
    if others := changed_options(sweep.plan, sweep.settings):
        return [("plan", f"not compared: it was made with another {', '.join(others)}")]
    return planned_entries(sweep.plan, actual_cost(sweep))


def _slots(figures: Mapping[str, float]) -> list[tuple[str, str]]:
    if schema.SLOT_USE not in figures:
        return []
    offered = duration(figures[schema.SLOT_SECONDS])
    return [("training and scoring", f"{figures[schema.SLOT_USE]:.1%} of {offered} of slot time")]


def _data(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = ("name", "fingerprint", "pictures", "complete", "partial", "image_size", "channels", "fit")
    entries = [(name.replace("_", " "), _short(data[name])) for name in names if name in data]
    tag_classifier = data.get("judge", {}).get("accuracy") or {}
    if tag_classifier:
        entries.append(("the tag classifier on held-out real images", describe_accuracy(tag_classifier)))
    floor = data.get("floor") or {}
    for name, value in floor.items():
        values = value if isinstance(value, dict) else {name: value}
        entries += [(f"real against real, {one.replace('_', ' ')}", _short(number)) for one, number in values.items()]
    return entries


def _is_set(value: Any) -> bool:
    return value is not None and value != []


def _short(value: Any) -> str:
    """Format a value of the settings or the data; a dictionary as ``name value, name value``."""
    if isinstance(value, dict):
        return ", ".join(f"{str(name).replace('_', ' ')} {_short(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_short, value))
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))
