"""Format a ranking as text: a table of the trials, then a summary.

On a terminal, the table is coloured and fitted to the width; piped output has plain lines of full length (limited by
``COLUMNS``). Rank, key, marks, the ranking score and status are always shown in full. Of the other columns the most
important that fit are shown, and the rest are named below the table. Only parameters that differ between trials are
columns, those in which the winner differs from the recipe first.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis import schema
from analysis.formatting import duration as _duration
from analysis.formatting import number as _number
from analysis.formatting import parameter as _value
from analysis.formatting import score as _score
from analysis.mlflow_reader.mutated import mutated_mask as _mutated
from analysis.mlflow_reader.sweep import METRICS, PARAMS, SCORES
from analysis.ranking.summary import footer, score_headers, searched_params, winner_differences, winners_recipe
from analysis.ranking.tag_classifier_check import tag_classifier_warning
from analysis.repeats.tables import CLOSE, interval, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from analysis.ranking.ranking import Ranking
    from analysis.repeats.results import Confirmation

_GAP: Final = 2
_ENDLESS: Final = 10_000
_SHORT_KEYS: Final = 120
"""Narrower tables leave the sweep's name out of the keys."""
_AS_RECIPE: Final = "·"
_STYLES: Final = {schema.COMPLETE: "green", schema.STOPPED: "yellow", schema.FAILED: "red", schema.RUNNING: "cyan"}
# Importance of columns: those of a lower number are placed first.
_ALWAYS, _CONFIRMED, _OBJECTIVE, _BUDGET, _CHANGED, _DETAIL, _PARAMETER = range(7)


@dataclass(frozen=True)
class _Column:
    """A column of the table. Only those of importance ``_ALWAYS`` are shown even where they do not fit."""

    header: str
    cells: list[Text]
    justify: Literal["left", "right"] = "right"
    importance: int = _ALWAYS
    name: str = ""
    """What the column is called below the table if it is not shown; default: its header in one line."""

    @property
    def width(self) -> int:
        return max(len(line) for line in (*self.header.split("\n"), *(cell.plain for cell in self.cells)))

    @property
    def label(self) -> str:
        return self.name or self.header.replace("\n", " ")


def print_ranking(ranking: Ranking, top: int = 30) -> None:
    """Print a ranking to stdout: ``top`` rows (0 for all), and always the winner, the recipe and the Pareto front."""
    console = Console(highlight=False)
    if console.is_terminal:
        _print(ranking, console, top)
    else:
        print(format_table(ranking, console.width if "COLUMNS" in os.environ else None, top), end="")


def format_table(ranking: Ranking, width: int | None = None, top: int = 30) -> str:
    """Return the output of ``print_ranking`` as plain text, ``width`` columns wide or as wide as needed."""
    file = io.StringIO()
    _print(ranking, Console(file=file, width=width or _ENDLESS, force_terminal=False), top)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _print(ranking: Ranking, console: Console, top: int) -> None:
    rows = ranking.trials
    if top > 0:
        rows = rows[(rows.index < top) | rows["recipe"] | rows["pareto"] | (rows["key"] == ranking.best)]
    shown, left_out = _choose_columns(_columns(ranking, rows, short_keys=console.width < _SHORT_KEYS), console.width)
    console.print(Text(f"sweep {ranking.sweep.name}: {len(ranking.trials)} trials by {ranking.by}", style="bold"))
    if ranking.rule and ranking.rule.warning and ranking.best is not None:
        console.print(Text(f"NO TRIAL FOLLOWS ITS TAGS: {ranking.rule.warning}", style="bold yellow"))
    if warning := tag_classifier_warning(ranking.sweep.data):
        console.print(Text(f"WARNING: {warning}", style="bold yellow"))
    console.print(_table(shown), crop=False)
    if hidden := len(ranking.trials) - len(rows):
        console.print(Text(f"and {hidden} more trials; --top 0 shows all", style="dim"))
    if left_out:
        names = ", ".join(column.label for column in left_out)
        console.print(Text(f"no room for: {names}; a wider terminal, --csv or --json shows them", style="dim"))
    if legend := _legend(ranking, shown):
        console.print(Text(legend, style="dim"))
    if differences := _differences_line(ranking):
        console.print(Text(differences))
    console.print()
    console.print(footer(ranking))


# The columns -------------------------------------------------------------------------------------------------
def _choose_columns(columns: Sequence[_Column], width: int) -> tuple[list[_Column], list[_Column]]:
    """Return the columns to show, in their order, and those left out, the most important first."""
    room = width + _GAP  # the last column needs no gap
    shown, left_out = [], []
    for column in sorted(columns, key=lambda column: column.importance):
        if column.importance == _ALWAYS or column.width + _GAP <= room:
            room -= column.width + _GAP
            shown.append(column)
        else:
            left_out.append(column)
    return [column for column in columns if column in shown], left_out


def _table(columns: Sequence[_Column]) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        header = Text(column.header)
        table.add_column(header, justify=column.justify, no_wrap=True, vertical="bottom", min_width=column.width)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _columns(ranking: Ranking, rows: pd.DataFrame, *, short_keys: bool) -> list[_Column]:
    prefix = f"{ranking.sweep.name}-" if short_keys else ""
    columns = [
        _Column("rank", [Text(_number(value)) for value in rows["rank"]]),
        _Column("trial", [Text(key.removeprefix(prefix)) for key in rows["key"]], "left"),
        _Column(
            "front",
            [
                _marks(*row)
                for row in zip(rows["key"] == ranking.best, rows["pareto"], rows["recipe"], _mutated(rows), strict=True)
            ],
            "left",
        ),
    ]
    if (confirmation := ranking.confirmation or ranking.short_confirmation) is not None:
        columns += _confirmed_columns(ranking, confirmation, rows)
    columns += [
        _Column(
            header,
            [Text(_score(name, value)) for value in rows[f"{SCORES}{name}"]],
            importance=_ALWAYS if name == ranking.by else _OBJECTIVE if name in schema.OBJECTIVES else _DETAIL,
            name=f"{header} accuracy" if name.startswith(f"{schema.TAG_ACCURACY}_") else "",
        )
        for name, header in score_headers(ranking).items()
    ]
    return [
        *columns,
        _Column("kimg", [Text(_number(value)) for value in rows["kimg"]], importance=_BUDGET),
        *_cost_columns(rows),
        _Column("time", [Text(_duration(value)) for value in rows["seconds"]], importance=_DETAIL),
        _Column("status", [Text(status, style=_STYLES.get(status, "")) for status in rows["status"]], "left"),
        *_parameter_columns(ranking, rows),
    ]


def _cost_columns(rows: pd.DataFrame) -> list[_Column]:
    """Return the kimg of the recipe that trials have used and their operations per image, if budgets count these."""
    if METRICS + schema.COST_KIMG not in rows:
        return []
    cost, gflops = rows[METRICS + schema.COST_KIMG], rows[METRICS + schema.FLOPS] / 1e9
    return [
        _Column("cost\n(kimg)", [Text(_number(value)) for value in cost], importance=_BUDGET),
        _Column("GFLOP\nper image", [Text(_number(value)) for value in gflops], importance=_DETAIL),
    ]


def _confirmed_columns(ranking: Ranking, confirmation: Confirmation, rows: pd.DataFrame) -> list[_Column]:
    """Return columns of the mean over seeds, its interval and the probability of being best.

    A mark shows configurations that are not separable from the best.
    """
    by_key = {entry.key: entry for entry in confirmation.configurations}
    cells: list[list[str]] = [[], [], []]
    for key in rows["key"]:
        entry = by_key.get(key)
        close = entry is not None and key in confirmation.close
        texts = (
            ("-", "", "")
            if entry is None
            else (
                f"{spread(entry.summary, ranking.by)} ({entry.summary.n}){f' {CLOSE}' if close else '  '}",
                interval(entry.summary.low, entry.summary.high, ranking.by),
                "failed" if entry.failed else "-" if entry.p_best is None else f"{entry.p_best:.0%}",
            )
        )
        for column, text in zip(cells, texts, strict=True):
            column.append(text)
    headers = ("confirmed\nmean ± sd (n)  ", "95%\ninterval", "P(best)")
    return [
        _Column(header, [Text(text) for text in column], importance=_CONFIRMED)
        for header, column in zip(headers, cells, strict=True)
    ]


def _parameter_columns(ranking: Ranking, rows: pd.DataFrame) -> list[_Column]:
    recipe = winners_recipe(ranking)
    changed = winner_differences(ranking) or {}
    names = [name for name in searched_params(ranking) if ranking.trials[PARAMS + name].nunique(dropna=False) > 1]
    leaves = Counter(name.rpartition(".")[2] for name in names)
    columns = []
    for name in names:
        usual = None if recipe is None else _value(recipe[PARAMS + name])
        cells = [
            Text(_AS_RECIPE, style="dim") if value == usual and not is_recipe else Text(value)
            for value, is_recipe in zip(map(_value, rows[PARAMS + name]), rows["recipe"], strict=True)
        ]
        leaf = name.rpartition(".")[2]
        header = leaf if leaves[leaf] == 1 else name
        importance = _CHANGED if name in changed else _PARAMETER
        columns.append(
            _Column(header.replace(".", ".\n").replace("_", "\n"), cells, importance=importance, name=header)
        )
    return columns


# Below the table ---------------------------------------------------------------------------------------------
def _legend(ranking: Ranking, columns: Sequence[_Column]) -> str:
    """Explain the marks that occur in the shown cells."""
    recipe = winners_recipe(ranking)
    which = f" {recipe['key']}" if recipe is not None and ranking.trials["recipe"].sum() > 1 else ""
    cells = {mark for column in columns for cell in column.cells for mark in cell.plain.split()}
    marks = {_AS_RECIPE: f"as in the recipe{which}", "*": "on the Pareto front", CLOSE: "not separable from the best"}
    return "; ".join(f"{mark} {meaning}" for mark, meaning in marks.items() if mark in cells)


def _differences_line(ranking: Ranking) -> str:
    differences = winner_differences(ranking)
    if differences is None:
        return ""
    if not differences:
        return "the winner is the recipe"
    leaves = Counter(name.rpartition(".")[2] for name in searched_params(ranking))
    short = {name: name.rpartition(".")[2] if leaves[name.rpartition(".")[2]] == 1 else name for name in differences}
    changes = ", ".join(f"{short[name]} {_value(value)}" for name, value in differences.items())
    return f"the winner differs from the recipe in: {changes}"


def _marks(is_winner: bool, in_front: bool, is_recipe: bool, mutated: bool) -> Text:
    marks = (
        [Text("winner", "bold magenta")] * is_winner
        + [Text("*", "bold green")] * in_front
        + [Text("recipe", "bold")] * is_recipe
    )
    return Text(" ").join(marks + [Text("mutated", "yellow")] * mutated)
