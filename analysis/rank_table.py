"""A ranking as text: a table of the trials, and under it what one would ask of it first.

Coloured on a terminal and fitted to its width; plain lines of full length where the output is piped (``COLUMNS`` limits
them). Of the parameters only those that differ between trials are shown, and of those as many as fit.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis import schema
from analysis.cells import duration as _duration
from analysis.cells import number as _number
from analysis.cells import parameter as _value
from analysis.cells import percent as _percent
from analysis.cells import printable as _printable
from analysis.cells import score as _score
from analysis.mutated import mutated as _mutated
from analysis.reasons import by_kind
from analysis.repeat_table import CLOSE, interval, spread, verdicts
from analysis.runs import PARAMS, SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from analysis.confirmation import Confirmation
    from analysis.rank import Ranking

_GAP: Final = 2
_ENDLESS: Final = 10_000
MOST_REASONS: Final = 3
"""Kinds of reasons that the footer names."""
_STYLES: Final = {schema.COMPLETE: "green", schema.STOPPED: "yellow", schema.FAILED: "red", schema.RUNNING: "cyan"}


@dataclass(frozen=True)
class _Column:
    """A column of the table, made before it is known whether it fits."""

    header: str
    cells: list[Text]
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        return max(len(line) for line in (*self.header.split("\n"), *(cell.plain for cell in self.cells)))


def print_ranking(ranking: Ranking, top: int = 30) -> None:
    """Print to stdout; ``top`` rows, 0 for all, and in any case the recipe and the Pareto front."""
    console = Console(highlight=False)
    if console.is_terminal:
        _print(ranking, console, top)
    else:
        print(format_table(ranking, console.width if "COLUMNS" in os.environ else None, top), end="")


def format_table(ranking: Ranking, width: int | None = None, top: int = 30) -> str:
    """Give what ``print_ranking`` prints as plain text, ``width`` columns wide or as wide as it needs."""
    file = io.StringIO()
    _print(ranking, Console(file=file, width=width or _ENDLESS, force_terminal=False), top)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _print(ranking: Ranking, console: Console, top: int) -> None:
    rows = ranking.trials
    if top > 0:
        rows = rows[(rows.index < top) | rows["recipe"] | rows["pareto"]]
    table, left_out = _table(ranking, rows, console.width)
    console.print(Text(f"sweep {ranking.sweep.name}: {len(ranking.trials)} trials by {ranking.by}", style="bold"))
    console.print(table)
    if hidden := len(ranking.trials) - len(rows):
        console.print(Text(f"and {hidden} more trials; --top 0 shows all", style="dim"))
    if left_out:
        more = f"parameters that differ but do not fit: {left_out}; a wider terminal, --csv or --json shows them"
        console.print(Text(more, style="dim"))
    console.print()
    console.print(_footer(ranking))


# The table ---------------------------------------------------------------------------------------------------
def _table(ranking: Ranking, rows: pd.DataFrame, width: int) -> tuple[Table, int]:
    columns = _fixed_columns(ranking, rows, short_keys=width < 120)
    room = width - sum(column.width + _GAP for column in columns)
    left_out = 0
    for column in _parameter_columns(ranking, rows):
        if column.width <= room:
            room -= column.width + _GAP
            columns.append(column)
        else:
            left_out += 1
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(column.header), justify=column.justify, no_wrap=True, vertical="bottom")
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table, left_out


def _fixed_columns(ranking: Ranking, rows: pd.DataFrame, *, short_keys: bool) -> list[_Column]:
    prefix = f"{ranking.sweep.name}-" if short_keys else ""
    columns = [
        _Column("rank", [Text(_number(value)) for value in rows["rank"]]),
        _Column("trial", [Text(key.removeprefix(prefix)) for key in rows["key"]], "left"),
        _Column(
            "front", [_marks(*row) for row in zip(rows["pareto"], rows["recipe"], _mutated(rows), strict=True)], "left"
        ),
    ]
    if (found := ranking.confirmation or ranking.short_confirmation) is not None:
        columns += _confirmed_columns(ranking, found, rows)
    for name, header in _score_headers(ranking).items():
        columns.append(_Column(header, [Text(_score(name, value)) for value in rows[f"{SCORES}{name}"]]))
    return [
        *columns,
        _Column("kimg", [Text(_number(value)) for value in rows["kimg"]]),
        _Column("time", [Text(_duration(value)) for value in rows["seconds"]]),
        _Column("status", [Text(status, style=_STYLES.get(status, "")) for status in rows["status"]], "left"),
    ]


def _confirmed_columns(ranking: Ranking, found: Confirmation, rows: pd.DataFrame) -> list[_Column]:
    """Mean over seeds, its interval and the probability of being best; a mark where seeds explain the difference."""
    known = {one.key: one for one in found.configurations}
    cells: list[list[str]] = [[], [], []]
    for key in rows["key"]:
        one = known.get(key)
        close = one is not None and key in found.close
        texts = (
            ("-", "", "")
            if one is None
            else (
                f"{spread(one.summary, ranking.by)} ({one.summary.n}){f' {CLOSE}' if close else '  '}",
                interval(one.summary.low, one.summary.high, ranking.by),
                "failed" if one.failed else "-" if one.p_best is None else f"{one.p_best:.0%}",
            )
        )
        for column, text in zip(cells, texts, strict=True):
            column.append(text)
    headers = ("confirmed\nmean ± sd (n)  ", "95%\ninterval", "P(best)")
    return [_Column(header, [Text(text) for text in column]) for header, column in zip(headers, cells, strict=True)]


def _score_headers(ranking: Ranking) -> dict[str, str]:
    """Give the scores to show with their headers: distance, tag accuracy, its groups, faces, and what is ranked by."""
    group, macro = f"{schema.TAG_ACCURACY}_", f"{schema.TAG_ACCURACY}_macro_"
    headers = {schema.DISTANCE: "distance", schema.TAG_ACCURACY: "tag\naccuracy"}
    headers |= {
        name: name.removeprefix(group)
        for name in ranking.sweep.scores
        if name.startswith(group) and not name.startswith(macro)
    }
    headers[schema.FACE_RATE] = "faces"
    headers.setdefault(ranking.by, ranking.by)
    # Of a part of a sweep no trial may have a score that others have.
    known = {ranking.by, *(name for name in ranking.sweep.scores if ranking.trials[f"{SCORES}{name}"].notna().any())}
    return {name: header for name, header in headers.items() if name in known & set(ranking.sweep.scores)}


def _parameter_columns(ranking: Ranking, rows: pd.DataFrame) -> list[_Column]:
    recipe = ranking.trials[ranking.trials["recipe"]].head(1)
    # Seeds differ too, but are not searched: the space says what is.
    searched = {dimension["name"] for dimension in ranking.sweep.space.get("dimensions", ())} or ranking.sweep.params
    names = [
        name
        for name in ranking.sweep.params
        if name in searched and ranking.trials[PARAMS + name].nunique(dropna=False) > 1
    ]
    leaves = Counter(name.rpartition(".")[2] for name in names)
    columns = []
    for name in names:
        usual = _value(recipe[PARAMS + name].iloc[0]) if len(recipe) else None
        cells = [
            Text("·", style="dim") if value == usual and not is_recipe else Text(value)
            for value, is_recipe in zip(map(_value, rows[PARAMS + name]), rows["recipe"], strict=True)
        ]
        leaf = name.rpartition(".")[2]
        header = leaf if leaves[leaf] == 1 else name
        columns.append(_Column(header.replace(".", ".\n").replace("_", "\n"), cells))
    return columns


# The footer --------------------------------------------------------------------------------------------------
def _footer(ranking: Ranking) -> Table:
    lines: dict[str, str] = {}
    for name in dict.fromkeys([*schema.OBJECTIVES, ranking.by]):
        if (key := ranking.best_by(name)) is not None:
            lines[f"best by {name.replace('_', ' ')}"] = _described(ranking, key)
    recipe = ranking.trials.loc[ranking.trials["recipe"], "key"]
    if len(recipe):
        lines["the recipe"] = _described(ranking, recipe.iloc[0])
    lines |= _confirmed_lines(ranking)
    if (key := ranking.knee) is not None:
        lines["knee"] = f"{_described(ranking, key)}, where the front turns"
    lines["Pareto front"] = ", ".join(ranking.pareto) or "empty: no trial that held to the end has a score"
    if ranking.confirmation is not None:
        lines["Pareto front"] += " (by scores of the search)"
    if (area := ranking.hypervolume()) is not None:
        corner = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in area["reference"].items())
        lines["hypervolume"] = f"{area['value']:.4g}, up to {corner}"
    judge = ranking.sweep.data.get("judge", {}).get("accuracy")
    if judge and schema.TAG_ACCURACY in _score_headers(ranking):
        shares = ", ".join(f"{name} {_percent(share)}" for name, share in judge.items())
        lines["the judge"] = f"is right on real held-out pictures: {shares} (it cannot vouch for more than that)"
    lines |= _ended_early(ranking.trials)
    lines |= _fewer_samples(ranking)
    if mutated := int(_mutated(ranking.trials).sum()):
        lines["mutated"] = f"{mutated} went on from others' networks with other values than those above; their last " \
            "values are the metrics mutated/... in MLflow"  # fmt: skip
    lines["measured with"] = _in_words(ranking.fingerprint)
    if ranking.mixed:
        lines["WARNING"] = "the scores above were measured in different ways and do not compare"
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for label, content in lines.items():
        grid.add_row(Text(label), Text(content))
    return grid


def _confirmed_lines(ranking: Ranking) -> dict[str, str]:
    """What may be said of the best after a confirmation, and what may not before one."""
    found, by = ranking.confirmation, ranking.by
    if found is not None:
        said = "; ".join(verdicts(found).values())
        seeds = f"{len(found.seeds)} fresh seed{'s' * (len(found.seeds) != 1)}"
        return {"confirmed": f"{by} of {seeds}, {found.budget} kimg each, ranked first; {said}"}
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
    scores = {name: header.replace("\n", " ") for name, header in _score_headers(ranking).items()}
    known = [f"{header} {_score(name, row[SCORES + name])}" for name, header in scores.items()]
    text = f"{key}: {', '.join(known)} at {_number(row['kimg'])} kimg"
    found = ranking.confirmation
    confirmed = {one.key: one.summary for one in found.configurations if one.scores} if found else {}
    if key not in confirmed:
        return text if found is None else f"{text} (one run, unconfirmed)"
    return f"{text} in the search; confirmed {ranking.by} {spread(confirmed[key], ranking.by)}"


def _ended_early(trials: pd.DataFrame) -> dict[str, str]:
    """Count what ended before its budget, with the most frequent reasons."""
    lines = {}
    notes = {
        schema.FAILED: "never ranked",
        schema.STOPPED: "ranked where they stopped, at a smaller budget",
        schema.INTERRUPTED: "ranked where they stopped; the same `gansweep run` goes on with them",
    }
    for status, note in notes.items():
        reasons = trials.loc[trials["status"] == status, "reason"].fillna("no reason given")
        if len(reasons):
            kinds = by_kind(reasons)
            parts = [f"{kind.trials} {_printable(str(kind))}" for kind in kinds[:MOST_REASONS]]
            if rest := sum(kind.trials for kind in kinds[MOST_REASONS:]):
                parts.append(f"{rest} for other reasons")
            frequent = "; ".join(parts)
            lines[status] = f"{len(reasons)}, {note}: {frequent}"
    return lines


def _fewer_samples(ranking: Ranking) -> dict[str, str]:
    """Say where the ranking passes to distances of fewer samples, which do not compare with those above."""
    ranked = ranking.trials.loc[ranking.trials["rank"].notna(), "samples"].dropna()
    counts = sorted({int(count) for count in ranked}, reverse=True)
    if len(counts) < 2 or not schema.needs_equal_samples(ranking.by):
        return {}
    fewer = ", ".join(f"{int((ranked == count).sum())} on {count}" for count in counts[1:])
    return {"scored on fewer": f"{fewer} pictures rather than {counts[0]}, ranked below and among themselves: "
            "a distance grows as samples become fewer"}  # fmt: skip


def _in_words(fingerprint: Mapping[str, Any]) -> str:
    """Give a fingerprint as ``extractor inception, samples 5000``; hashes are cut to what tells them apart."""
    words = [f"{name.replace('_', ' ')} {_hash_cut(_printable(str(value)))}" for name, value in fingerprint.items()]
    return ", ".join(words) or "not recorded"


def _hash_cut(text: str) -> str:
    head, colon, digest = text.rpartition(":")  # sha256:...
    is_hash = len(digest) >= 16 and all(letter in "0123456789abcdef" for letter in digest)
    return f"{head}{colon}{digest[:10]}" if is_hash else text


# Cells -------------------------------------------------------------------------------------------------------
def _marks(in_front: bool, is_recipe: bool, mutated: bool) -> Text:
    marks = [Text("*", "bold green")] * in_front + [Text("recipe", "bold")] * is_recipe
    return Text(" ").join(marks + [Text("mutated", "yellow")] * mutated)
