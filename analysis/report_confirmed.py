"""The answer after a confirmation: means over fresh seeds in the place of the scores of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import schema
from analysis.cells import Table, number, printable
from analysis.cells import score as score_text
from analysis.repeat_table import (
    CLOSE,
    CONFIRMATION_HEADERS,
    confirmation_rows,
    difference_text,
    interval,
    spread,
)
from analysis.runs import SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.confirmation import Confirmation, Confirmed
    from analysis.rank import Ranking


def confirmed_best(ranking: Ranking) -> bool:
    """Whether the best of the ranking is one that was confirmed."""
    return ranking.confirmation is not None and ranking.confirmation.best is not None


def seeds_text(found: Confirmation) -> str:
    """``3 fresh seeds of 40 kimg``."""
    count = len(found.seeds)
    return f"{count} fresh seed{'s' * (count != 1)} of {found.budget} kimg"


def in_search(ranking: Ranking) -> str:
    """The scores of the winner's one run in the search."""
    row = ranking.trials.iloc[0]
    names = [name for name in schema.OBJECTIVES if name in ranking.sweep.scores]
    return ", ".join(f"{_label(name)} {score_text(name, row[SCORES + name])}" for name in names)


def means(ranking: Ranking, confirmed: Mapping[str, Confirmation]) -> dict[str, str]:
    """The winner's means with their standard deviations, by objective."""
    return {
        name: spread(one.summary, name)
        for name, found in confirmed.items()
        if (one := _of(found, ranking.best)) is not None and one.scores
    }


def tiles(ranking: Ranking, confirmed: Mapping[str, Confirmation]) -> list[dict[str, str]]:
    """The winner's means, large, and how probable it is that it is the best."""
    found = []
    for name, by in confirmed.items():
        one = _of(by, ranking.best)
        if one is None or not one.scores:
            continue
        label = _label(name)
        if name == schema.DISTANCE and (full := ranking.fingerprint.get("score")):
            label += f" ({full})"
        sd = spread(one.summary, name).partition(" ± ")[2]
        ends = interval(one.summary.low, one.summary.high, name).strip("[]").replace(", ", " to ")
        parts = [*([f"± {sd}"] if sd else []), *([f"95%: {ends}"] if ends != "-" else [])]
        found.append({"value": score_text(name, one.summary.mean), "name": f"{label}, mean of {one.summary.n}",
                      "range": ", ".join(parts)})  # fmt: skip
    by = confirmed[ranking.by]
    best, compared = _of(by, ranking.best), sum(one.compared for one in by.configurations)
    if best is not None and best.p_best is not None and compared > 1:
        found.append({"value": f"{best.p_best:.0%}", "name": "probability of the best mean",
                      "range": f"of {compared} confirmed"})  # fmt: skip
    return [*found, {"value": number(by.budget), "name": "kimg of training", "range": "each run"}]


def against_recipe(ranking: Ranking) -> str:
    """How the winner stands to the recipe on the same seeds."""
    found = ranking.confirmation
    recipe = next((one for one in found.configurations if one.recipe), None) if found else None
    if found is None or recipe is None:
        return ""
    if recipe.key == found.best:
        return "It is the recipe itself: no other confirmed configuration has a better mean."
    if recipe.failed:
        return f"The recipe failed on {len(recipe.failed)} of its seeds: {printable(recipe.failed[0])}."
    if not recipe.compared or recipe.difference is None:
        return "The recipe has too few seeds yet to compare with."
    apart = "separable" if recipe.separable else "not separable"
    difference = difference_text(recipe.difference, found.by)
    return (
        f"The recipe, unchanged, on the same seeds: {_label(found.by)} {spread(recipe.summary, found.by)}, "
        f"{difference} from the winner's seed by seed, {apart}."
    )


def seeds_table(ranking: Ranking, confirmed: Mapping[str, Confirmation]) -> Table | None:
    """Every confirmed configuration, best first."""
    found = ranking.confirmation
    if found is None:
        return None
    others = {name: by for name, by in confirmed.items() if name != found.by}
    rows = []
    for one, cells in zip(found.configurations, confirmation_rows(found), strict=True):
        beside = [spread(other.summary, name) if (other := _of(by, one.key)) else "-" for name, by in others.items()]
        rows.append([*cells[:-1], *beside, {CLOSE: "not separable"}.get(cells[-1], cells[-1]) or _why_not(one)])
    label = _label(found.by)
    headers = ["configuration", "n", f"{label} ± sd", *CONFIRMATION_HEADERS[3:-1], *map(_label, others), ""]
    note = (
        f"On {seeds_text(found)} each, never used in the search. P(best): how probable it is, from so few seeds, "
        "that its mean over all seeds is the best (Student's t). Differences are paired by seed, with 95% intervals."
    )
    return Table(headers, rows, frozenset(range(1, len(headers) - 1)), note)


def _why_not(one: Confirmed) -> str:
    if one.failed:
        return f"failed on {len(one.failed)}"
    return "separable" if one.separable else "too few seeds yet"


def _of(found: Confirmation, key: str | None) -> Confirmed | None:
    return next((one for one in found.configurations if one.key == key), None)


def _label(name: str) -> str:
    return name.replace("_", " ")
