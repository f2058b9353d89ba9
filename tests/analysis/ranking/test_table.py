"""The table of ``rank`` at the widths of terminals: what is never cut, what is dropped first, and the notes."""

from __future__ import annotations

import dataclasses
import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from analysis import schema
from analysis.ranking import table
from analysis.ranking.filters import merge_sweeps
from analysis.ranking.ranking import rank
from analysis.ranking.summary import winner_differences
from analysis.ranking.table import format_table
from analysis.reports.sections import against_recipe
from tests.support.simulated import RECIPE, simulate
from tests.support.sweeps import make_sweep

if TYPE_CHECKING:
    import numpy as np

    from analysis.mlflow_reader.sweep import Sweep
    from analysis.ranking.ranking import Ranking

WIDTHS = [80, 100, 120, 200]
TRIALS = 12
PARAMETERS = ["labels", "flip", "width", "adversarial", "penalty", "penalty_weight", "lr", "steps"]


def simulated(name: str = "hand", groups: int = 2) -> Ranking:
    """Return the ranking of a simulated sweep whose trial 0 is the recipe and whose last trial failed."""

    def more(params: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        shares = {f"scores.tag_accuracy_group{index}": float(rng.uniform(0.2, 0.9)) for index in range(groups)}
        return {"scores.tag_accuracy": float(rng.uniform(0.4, 0.8)), "seconds": 3725.0, **shares}

    sweep = simulate(TRIALS, more=more, name=name)
    sweep.trials["key"] = sweep.trials["key"].str.replace("hand", name)
    for parameter, value in RECIPE.items():
        sweep.trials.loc[0, f"params.{parameter}"] = value
    sweep.trials["recipe"] = sweep.trials["number"] == 0
    sweep.trials.loc[TRIALS - 1, "status"] = schema.INTERRUPTED
    return rank(sweep)


def parts(text: str) -> tuple[list[str], list[str], str]:
    """Split the output into the rows of trials, the lines of headers, and the notes below the table in one line."""
    lines = text.partition("\n\n")[0].splitlines()
    words = [[*line.split(), "", ""] for line in lines]
    is_row = [first.isdigit() and "00" in second for first, second, *_ in words]
    first, last = is_row.index(True), len(is_row) - 1 - is_row[::-1].index(True)
    return lines[first : last + 1], lines[1:first], " ".join(lines[last + 1 :])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("groups", [2, 9])
def test_rank_key_score_and_status_are_whole_at_every_width(width: int, groups: int) -> None:
    ranking = simulated(groups=groups)
    text = format_table(ranking, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    rows, headers, _ = parts(text)
    assert [title for title in headers[-1].split() if title in {"rank", "trial", "distance", "status"}] == [
        "rank", "trial", "distance", "status",
    ]  # fmt: skip
    assert len(rows) == TRIALS
    for line, trial in zip(rows, ranking.trials.to_dict("records"), strict=True):
        cells = line.split()
        key = trial["key"] if width >= 120 else trial["key"].removeprefix("hand-")
        assert cells[:2] == [str(int(trial["rank"])), key]
        assert f"{trial['scores.distance']:.2f}" in cells
        assert trial["status"] in cells


def test_the_least_important_columns_are_dropped_first_and_named() -> None:
    ranking = simulated()
    changed = {name.rpartition(".")[2] for name in winner_differences(ranking) or {}}
    assert changed
    assert changed < set(PARAMETERS)
    order = [["rank", "trial", "distance", "status"], ["accuracy"], ["kimg"], sorted(changed)]
    seen = []
    for width in [*WIDTHS, 400]:
        _, headers, notes = parts(format_table(ranking, width))
        shown = {title for line in headers for title in line.split()}
        dropped = notes.partition("no room for: ")[2].partition(";")[0].split(", ") if "no room" in notes else []
        # What is not shown is named, and the other way round.
        assert {name for name in PARAMETERS if name in dropped} == {
            name for name in PARAMETERS if name.split("_")[-1] not in shown and name not in shown
        }
        assert ("time" in dropped) == ("time" not in shown)
        assert ("group1 accuracy" in dropped) == ("group1" not in shown)
        assert all(title in shown for titles in order[:3] for title in titles)
        seen.append(len(dropped))
    assert seen == sorted(seen, reverse=True)  # a wider terminal drops less
    assert seen[0] > 0
    assert seen[-1] == 0
    assert "time" in parts(format_table(ranking, 80))[2]  # before any parameter of the winner that fits


def test_importance_decides_not_the_position() -> None:
    def column(header: str, importance: int) -> Any:
        return table._Column(header, [], importance=importance)

    columns = [column("aaaa", 6), column("bbbb", 0), column("cccc", 2), column("dd", 1)]
    names = [[one.header for one in part] for part in table._choose_columns(columns, 14)]
    assert names == [["bbbb", "cccc", "dd"], ["aaaa"]]  # 4 + 2 + 4 + 2 + 2 = 14
    names = [[one.header for one in part] for part in table._choose_columns(columns, 13)]
    assert names == [["bbbb", "dd"], ["cccc", "aaaa"]]
    assert [one.header for one in table._choose_columns(columns, 1)[0]] == ["bbbb"]  # never dropped


@pytest.mark.parametrize("width", [30, 40])
def test_a_terminal_narrower_than_the_key_cuts_nothing(width: int) -> None:
    ranking = simulated("a-sweep-with-a-name-of-forty-characters-x")
    terminal = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    table._print(ranking, terminal, top=30)
    assert isinstance(terminal.file, io.StringIO)
    text = terminal.file.getvalue()
    assert "…" not in text
    for trial in ranking.trials.to_dict("records"):
        assert any(
            f"{trial['scores.distance']:.2f}" in line.split() and trial["status"] in line.split()
            for line in text.splitlines()
        )


def test_the_line_of_differences_by_hand() -> None:
    ranking = simulated()
    winner = ranking.winner
    expected = {name: winner[f"params.{name}"] for name, usual in RECIPE.items() if winner[f"params.{name}"] != usual}
    assert 1 < len(expected) < len(RECIPE)
    assert set(winner_differences(ranking) or {}) == set(expected)
    notes = parts(format_table(ranking, 200))[2]
    line = notes.partition("the winner differs from the recipe in: ")[2]
    assert len(line.split(", ")) == len(expected)
    for name, value in expected.items():
        leaf = name.rpartition(".")[2]
        assert f"{leaf} {value:.3g}" in line if isinstance(value, float) else f"{leaf} {value}" in line


def test_the_recipe_as_winner_is_said_and_without_a_recipe_nothing() -> None:
    ranking = simulated()
    sweep = ranking.sweep
    sweep.trials.loc[0, "scores.distance"] = 0.5
    sweep.trials.loc[0, "scores.tag_accuracy"] = 0.99
    assert "the winner is the recipe" in format_table(rank(sweep))
    sweep.trials["recipe"] = False
    text = format_table(rank(sweep))
    assert "the winner is the recipe" not in text
    assert "differs from the recipe" not in text
    assert "as in the recipe" not in text


def test_sweeps_ranked_together_are_compared_with_the_recipe_of_the_winners_sweep() -> None:
    def part(name: str, rows: list[tuple[int, str, float]]) -> Sweep:
        return make_sweep(
            [
                {"key": f"{name}-0000{number}", "number": number, "recipe": number == 0, "samples": 100.0,
                 "scores.distance": distance, "params.generator.width": width, "params.losses.labels": labels}
                for number, (width, labels, distance) in enumerate(rows)
            ],
            name=name,
        )  # fmt: skip

    # The recipe of the first sweep is ranked above that of the second, which holds the winner.
    first = part("a", [(64, "hard", 20.0), (64, "noisy", 30.0)])
    second = part("b", [(16, "hard", 50.0), (16, "noisy", 10.0), (64, "hard", 40.0)])
    ranking = rank(merge_sweeps([first, second]))
    assert ranking.best == "b-00001"
    assert winner_differences(ranking) == {"losses.labels": "noisy"}
    rows, _, notes = parts(format_table(ranking))
    assert {line.split()[1]: line.split()[-2:] for line in rows} == {
        "b-00001": ["·", "noisy"], "a-00000": ["64", "hard"], "a-00001": ["64", "noisy"],
        "b-00002": ["64", "·"], "b-00000": ["16", "hard"],
    }  # fmt: skip
    assert "· as in the recipe b-00000;" in notes
    assert "the winner differs from the recipe in: labels noisy" in notes
    assert "the recipe b-00000:" in " ".join(format_table(ranking).split())
    assert against_recipe(ranking).startswith("The recipe, unchanged: distance 50.00")
    without = rank(dataclasses.replace(ranking.sweep, trials=ranking.sweep.trials.drop(index=2)))
    assert "b-00000" not in set(without.trials["key"])
    assert winner_differences(without) is None
    assert "as in the recipe" not in format_table(without)


def test_the_legend_explains_the_marks_that_occur() -> None:
    assert "· as in the recipe; * on the Pareto front" in parts(format_table(simulated(), 200))[2]
    plain = simulated()
    for column in [name for name in plain.sweep.trials if name.startswith("params.")]:
        plain.sweep.trials[column] = 1
    notes = parts(format_table(rank(plain.sweep), 200))[2]
    assert "as in the recipe" not in notes  # no parameter differs, so no cell has the mark
    assert "* on the Pareto front" in notes
