"""Section of the report on a confirmation: means over fresh seeds replace the scores of single runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import schema
from analysis.formatting import Table, number, printable
from analysis.formatting import score as score_text
from analysis.mlflow_reader.sweep import SCORES
from analysis.repeats.tables import CLOSE, CONFIRMATION_HEADERS, confirmation_rows, difference_text, interval, spread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.ranking.ranking import Ranking
    from analysis.repeats.results import Confirmation, Confirmed


def confirmed_best(ranking: Ranking) -> bool:
    """Return whether the best trial of the ranking was confirmed."""
    return ranking.confirmation is not None and ranking.confirmation.best == ranking.best is not None


def seeds_text(confirmation: Confirmation) -> str:
    """Format the seeds as ``3 fresh seeds of 40 kimg``."""
    count = len(confirmation.seeds)
    return f"{count} fresh seed{'s' * (count != 1)} of {confirmation.budget} {confirmation.unit}"


def in_search(ranking: Ranking) -> str:
    """Format the scores of the winner's single run in the search."""
    row = ranking.winner
    names = [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
    return ", ".join(f"{_label(name)} {score_text(name, row[SCORES + name])}" for name in names)


def means(ranking: Ranking, confirmed: Mapping[str, Confirmation]) -> dict[str, str]:
    """Return the winner's means with their standard deviations, by objective."""
    return {
        name: spread(entry.summary, name)
        for name, confirmation in confirmed.items()
        if (entry := confirmation.of(ranking.best)) is not None and entry.scores
    }


def tiles(ranking: Ranking, confirmed: Mapping[str, Confirmation]) -> list[dict[str, str]]:
    """Return the tiles with the winner's means and the probability that it is the best."""
    entries = []
    for name, by in confirmed.items():
        entry = by.of(ranking.best)
        if entry is None or not entry.scores:
            continue
        label = _label(name)
        if name == schema.DISTANCE and (full := ranking.fingerprint.get("score")):
            label += f" ({full})"
        sd = spread(entry.summary, name).partition(" ± ")[2]
        bounds = interval(entry.summary.low, entry.summary.high, name).strip("[]").replace(", ", " to ")
        parts = [*([f"± {sd}"] if sd else []), *([f"95%: {bounds}"] if bounds != "-" else [])]
        entries.append({"value": score_text(name, entry.summary.mean), "name": f"{label}, mean of {entry.summary.n}",
                      "range": ", ".join(parts)})  # fmt: skip
    by = confirmed[ranking.by]
    best, compared = by.of(ranking.best), 1 + len(by.rivals)
    if best is not None and best.p_best is not None and compared > 1:
        entries.append({"value": f"{best.p_best:.0%}", "name": "probability of the best mean",
                      "range": f"of {compared} confirmed"})  # fmt: skip
    return [*entries, {"value": number(by.budget), "name": "kimg of training", "range": "each run"}]


def against_recipe(ranking: Ranking) -> str:
    """Compare the winner with the recipe on the same seeds."""
    confirmation = ranking.confirmation
    recipe = next((entry for entry in confirmation.configurations if entry.recipe), None) if confirmation else None
    if confirmation is None or recipe is None:
        return ""
    if recipe.key == confirmation.best:
        followed = "" if all(entry.follows_tags for entry in confirmation.configurations) else " that follows its tags"
        return f"It is the recipe itself: no other confirmed configuration{followed} has a better mean."
    if recipe.failed:
        return f"The recipe failed on {len(recipe.failed)} of its seeds: {printable(recipe.failed[0])}."
    if not recipe.compared or recipe.difference is None:
        return "The recipe has too few seeds yet to compare with."
    if not recipe.follows_tags:
        apart = "whose tag accuracy is below the floor"
    else:
        apart = "separable" if recipe.separable else "not separable"
    difference = difference_text(recipe.difference, confirmation.by)
    return (
        f"The recipe, unchanged, on the same seeds: {_label(confirmation.by)} "
        f"{spread(recipe.summary, confirmation.by)}, "
        f"{difference} from the winner's seed by seed, {apart}."
    )


def seeds_table(ranking: Ranking, confirmed: Mapping[str, Confirmation]) -> Table | None:
    """Return a row for each confirmed configuration, best first."""
    confirmation = ranking.confirmation
    if confirmation is None:
        return None
    others = {name: by for name, by in confirmed.items() if name != confirmation.by}
    rows = []
    for entry, cells in zip(confirmation.configurations, confirmation_rows(confirmation), strict=True):
        other_scores = [
            spread(configured.summary, name) if (configured := by.of(entry.key)) else "-" for name, by in others.items()
        ]
        rows.append([*cells[:-1], *other_scores, {CLOSE: "not separable"}.get(cells[-1], cells[-1]) or _verdict(entry)])
    label = _label(confirmation.by)
    headers = ["configuration", "n", f"{label} ± sd", *CONFIRMATION_HEADERS[3:-1], *map(_label, others), ""]
    note = (
        f"On {seeds_text(confirmation)} each, never used in the search. "
        "P(best): how probable it is, from so few seeds, "
        "that its mean over all seeds is the best (Student's t). Differences are paired by seed, with 95% intervals."
    )
    return Table(headers, rows, frozenset(range(1, len(headers) - 1)), note)


def _verdict(entry: Confirmed) -> str:
    if entry.failed:
        return f"failed on {len(entry.failed)}"
    return "separable" if entry.separable else "too few seeds yet"


def _label(name: str) -> str:
    return name.replace("_", " ")
