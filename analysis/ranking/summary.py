"""Summarise a ranking below its table: the winner and its rule, the best by each score, what ended early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from analysis import schema
from analysis.formatting import number as _number
from analysis.formatting import parameter as _parameter
from analysis.formatting import printable as _printable
from analysis.formatting import score as _score
from analysis.mlflow_reader.mutated import mutated_mask as _mutated
from analysis.mlflow_reader.sweep import PARAMS, SCORES
from analysis.ranking.failure_reasons import group_reasons
from analysis.ranking.tag_classifier_check import describe_accuracy
from analysis.repeats.tables import spread, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from analysis.ranking.ranking import Ranking

_GAP: Final = 2
MOST_REASONS: Final = 3
"""Maximum number of kinds of reasons in the footer."""


def score_headers(ranking: Ranking) -> dict[str, str]:
    """Return the headers of the scores to show: distance, tag accuracy, its groups, faces, and the ranking score."""
    group, macro = f"{schema.TAG_ACCURACY}_", f"{schema.TAG_ACCURACY}_macro_"
    headers = {schema.DISTANCE: "distance", schema.TAG_ACCURACY: "tag\naccuracy"}
    headers |= {
        name: name.removeprefix(group)
        for name in ranking.sweep.scores
        if name.startswith(group) and not name.startswith(macro)
    }
    headers[schema.FACE_RATE] = "faces"
    headers.setdefault(ranking.by, ranking.by)
    # A part of a sweep may lack a score that other trials of the sweep have.
    measured = {ranking.by, *(name for name in ranking.sweep.scores if ranking.trials[f"{SCORES}{name}"].notna().any())}
    return {name: header for name, header in headers.items() if name in measured & set(ranking.sweep.scores)}


def footer(ranking: Ranking) -> Table:
    """Return the summary as a grid of labels and sentences."""
    lines = winner_lines(ranking)
    if defects := ranking.visible_defects:
        lines["visible defects"] = defects
    for name in dict.fromkeys([*ranking.objectives, ranking.by]):
        if (key := ranking.best_by(name)) is not None:
            lines[f"best by {name.replace('_', ' ')}"] = _described(ranking, key)
    if (recipe := winners_recipe(ranking)) is not None:
        lines["the recipe"] = _described(ranking, recipe["key"])
    lines |= _confirmed_lines(ranking)
    if (key := ranking.knee) is not None:
        lines["knee"] = f"{_described(ranking, key)}, where the front turns"
    lines["Pareto front"] = ", ".join(ranking.pareto) or "empty: no trial that held to the end has a score"
    if ranking.confirmation is not None:
        lines["Pareto front"] += " (by scores of the search)"
    if (area := ranking.hypervolume()) is not None:
        corner = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in area["reference"].items())
        lines["hypervolume"] = f"{area['value']:.4g}, up to {corner}"
    tag_classifier = ranking.sweep.data.get("judge", {}).get("accuracy")
    if tag_classifier and schema.TAG_ACCURACY in score_headers(ranking):
        shares = describe_accuracy(tag_classifier)
        lines["the tag classifier"] = (
            f"accuracy on held-out real data: {shares} (the upper limit of what tag accuracy can show)"
        )
    lines |= _ended_early(ranking.trials)
    lines |= _fewer_samples(ranking)
    if mutated := int(_mutated(ranking.trials).sum()):
        lines["mutated"] = f"{mutated} copied the networks of better trials and changed the values above; their last " \
            "values are the metrics mutated/... in MLflow"  # fmt: skip
    lines["measured with"] = _in_words(ranking.fingerprint)
    if ranking.mixed:
        lines["WARNING"] = "the scores above were measured in different ways and do not compare"
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")  # a long key is never cut
    for label, content in lines.items():
        grid.add_row(Text(label), Text(content))
    return grid


def searched_params(ranking: Ranking) -> list[str]:
    """Return the names of the searched parameters; seeds differ between trials, but are not searched."""
    searched = {dimension["name"] for dimension in ranking.sweep.space.get("dimensions", ())} or ranking.sweep.params
    return [name for name in ranking.sweep.params if name in searched]


def winners_recipe(ranking: Ranking) -> pd.Series[Any] | None:
    """Return the trial of the recipe in the sweep that holds the winner; without a winner, in the only sweep.

    Sweeps that are ranked together have a recipe each, and a configuration differs from that of its own sweep.
    """
    if ranking.best is None and ranking.sweep.sweeps:
        return None
    holder = ranking.sweep if ranking.best is None else ranking.sweep.holding([ranking.best])[0]
    trials = ranking.trials
    recipe = trials[trials["recipe"] & trials["key"].isin(holder.trials["key"])]
    return None if recipe.empty else recipe.iloc[0]


def winner_differences(ranking: Ranking) -> dict[str, Any] | None:
    """Return the winner's values of the searched parameters in which it differs from the recipe.

    Parameters that the winner does not have, such as the weight of a penalty that it does not use, are left out.

    Returns:
        Values by name; ``None`` if there is no winner, or the recipe of its sweep is not among the trials.
    """
    usual = winners_recipe(ranking)
    if ranking.best is None or usual is None:
        return None
    winner = ranking.winner
    names = [name for name in searched_params(ranking) if _parameter(winner[PARAMS + name]) != "-"]
    return {
        name: winner[PARAMS + name]
        for name in names
        if _parameter(winner[PARAMS + name]) != _parameter(usual[PARAMS + name])
    }


def winner_lines(ranking: Ranking) -> dict[str, str]:
    """Describe the winner, and the rule by which it was chosen."""
    if ranking.best is None:
        return {}
    return {
        "winner": _described(ranking, ranking.best),
        "rule": ranking.rule.words if ranking.rule else "lowest distance: the system takes no tags",
    }


def _confirmed_lines(ranking: Ranking) -> dict[str, str]:
    """Describe the confirmation, or note that the best trial is not confirmed."""
    confirmation, by = ranking.confirmation, ranking.by
    if confirmation is not None:
        statements = "; ".join(verdicts(confirmation).values())
        seeds = f"{len(confirmation.seeds)} fresh seed{'s' * (len(confirmation.seeds) != 1)}"
        each = f"{confirmation.budget} {confirmation.unit} each"
        return {"confirmed": f"{by} of {seeds}, {each}, ranked first; {statements}"}
    if ranking.best is None:
        return {}
    scored = int(ranking.trials["rank"].notna().sum())
    if ranking.shortfall:
        return {"confirmed early": ranking.shortfall}
    (holder, *_) = ranking.sweep.holding([ranking.best])
    return {
        "unconfirmed": f"one run each: the best of {scored} is partly the luckiest; "
        f"`gansweep confirm {holder.name}` trains the best again, several times each"
    }


def _described(ranking: Ranking, key: str) -> str:
    row = ranking.trials.set_index("key").loc[key]
    scores = {name: header.replace("\n", " ") for name, header in score_headers(ranking).items()}
    score_texts = [f"{header} {_score(name, row[SCORES + name])}" for name, header in scores.items()]
    text = f"{key}: {', '.join(score_texts)} at {_number(row['kimg'])} kimg"
    confirmation = ranking.confirmation
    confirmed = (
        {entry.key: entry.summary for entry in confirmation.configurations if entry.scores} if confirmation else {}
    )
    if key not in confirmed:
        return text if confirmation is None else f"{text} (one run, unconfirmed)"
    return f"{text} in the search; confirmed {ranking.by} {spread(confirmed[key], ranking.by)}"


def _ended_early(trials: pd.DataFrame) -> dict[str, str]:
    """Count the trials that ended before their budget, with the most frequent reasons."""
    lines = {}
    notes = {
        schema.FAILED: "never ranked",
        schema.STOPPED: "ranked where they stopped, at a smaller budget",
        schema.INTERRUPTED: "ranked where they stopped; the same `gansweep run` goes on with them",
    }
    for status, note in notes.items():
        reasons = trials.loc[trials["status"] == status, "reason"].fillna("no reason given")
        if len(reasons):
            kinds = group_reasons(reasons)
            parts = [f"{kind.trials} {_printable(str(kind))}" for kind in kinds[:MOST_REASONS]]
            if remaining := sum(kind.trials for kind in kinds[MOST_REASONS:]):
                parts.append(f"{remaining} for other reasons")
            frequent = "; ".join(parts)
            lines[status] = f"{len(reasons)}, {note}: {frequent}"
    return lines


def _fewer_samples(ranking: Ranking) -> dict[str, str]:
    """Describe the trials scored on fewer samples, whose distances do not compare with those above."""
    ranked = ranking.trials.loc[ranking.trials["rank"].notna(), "samples"].dropna()
    counts = sorted({int(count) for count in ranked}, reverse=True)
    if len(counts) < 2 or not schema.needs_equal_samples(ranking.by):
        return {}
    fewer = ", ".join(f"{int((ranked == count).sum())} on {count}" for count in counts[1:])
    name = "a distance" if schema.is_distance(ranking.by) else ranking.by
    return {"scored on fewer": f"{fewer} images rather than {counts[0]}, ranked below and among themselves: "
            f"{name} grows as samples become fewer"}  # fmt: skip


def _in_words(fingerprint: Mapping[str, Any]) -> str:
    """Format a fingerprint as ``extractor inception, samples 5000``; hashes are shortened."""
    words = [f"{name.replace('_', ' ')} {_hash_cut(_printable(str(value)))}" for name, value in fingerprint.items()]
    return ", ".join(words) or "not recorded"


def _hash_cut(text: str) -> str:
    head, colon, digest = text.rpartition(":")  # sha256:...
    is_hash = len(digest) >= 16 and all(letter in "0123456789abcdef" for letter in digest)
    return f"{head}{colon}{digest[:10]}" if is_hash else text
