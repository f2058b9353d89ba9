"""Planned against real, by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from analysis.plan_accuracy import actual_cost, changed_options, planned_entries, planned_lines, relative_errors
from analysis.ranking.ranking import rank
from analysis.reports.sections import method
from tests.support.sweeps import make_sweep

PLAN: dict[str, Any] = {
    "trials": {"median": 3, "low": 3, "high": 3},
    "kimg": {"median": 110.0, "low": 90.0, "high": 140.0},
    "hours": {"median": 1.5, "low": 1.0, "high": 3.0},
    "settings": {"trials": 3, "time_limit": None, "total_kimg": 90, "concurrent": None, "cpus_per_trial": 1},
    "placed": {"concurrent": 2, "gpus_per_trial": "0"},
}


def spans(*ends: tuple[float, float]) -> str:
    return json.dumps([{"node": "a", "slot": 0, "start": start, "end": end} for start, end in ends])


SWEEP = make_sweep(
    [
        {"kimg": 40.0, "stretches": spans((0, 1800))},
        {"kimg": 40.0, "stretches": spans((900, 2700), (9000, 9900))},  # interrupted from 2700 to 9000
        {"kimg": math.nan, "status": "failed", "started": 9800.0, "ended": 9900.0},
        {"kimg": 20.0, "started": 9000.0, "ended": math.nan},
    ],
    plan=PLAN,
)


def test_hours_are_those_in_which_anything_ran() -> None:
    assert actual_cost(SWEEP) == {"trials": 4.0, "kimg": 100.0, "hours": (2700 + 900) / 3600}


def test_errors_are_shares_of_what_it_was() -> None:
    assert relative_errors(PLAN, SWEEP) == {
        "trials": 3 / 4 - 1,
        "kimg": pytest.approx(0.1),
        "hours": pytest.approx(0.5),
    }
    assert relative_errors(PLAN, make_sweep([{"kimg": math.nan}]))["kimg"] is None


@pytest.mark.parametrize(
    ("changes", "others"),
    [
        ({}, []),
        ({"concurrent": 2}, []),  # what none given came to
        ({"concurrent": 3}, ["--concurrent"]),
        ({"time_limit": "1h", "total_kimg": None}, ["--time-limit", "--total-kimg"]),
        ({"cpus_per_trial": 2, "trials": 4}, ["--trials", "--cpus-per-trial"]),
        ({"home": "/elsewhere", "tracking": "http://x"}, []),
    ],
)
def test_a_sweep_of_other_costs_is_another(changes: dict[str, Any], others: list[str]) -> None:
    assert changed_options(PLAN, {**PLAN["settings"], **changes}) == others


def test_words() -> None:
    assert planned_lines(PLAN, actual_cost(SWEEP)) == [
        "trials 4; planned 3 (3 to 3), -25%",
        "kimg 100; planned 110 (90 to 140), +10%",
        "hours 1h00m; planned 1h30m (1h00m to 3h00m), +50%",
    ]
    assert planned_entries({"kimg": 7, "hours": {"median": 1}}, actual_cost(SWEEP)) == []


def test_the_report_tells_it_where_there_was_a_plan() -> None:
    changed = dataclasses.replace(SWEEP, settings={"trials": 4, "total_kimg": 90})
    assert dict(method(rank(changed)))["What it took"] == [("plan", "not compared: it was made with another --trials")]
    titles = dict(method(rank(SWEEP)))
    assert titles["What it took"][1] == ("kimg", "100; planned 110 (90 to 140), +10%")
    assert "What it took" not in dict(method(rank(make_sweep([{"scores.distance": 1.0}]))))
