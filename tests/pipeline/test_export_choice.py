"""Which run an export takes, of sweeps put together by hand."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.rank import Ranking, rank
from pipeline.export import _choose, _representative
from tests.support.sweeps import make_repeats, make_sweep

LUCKY, GOOD = "hand-00000", "hand-00001"


def confirmed(budget: int) -> Ranking:
    """A sweep of 40 kimg whose second trial is best on fresh seeds, by a confirmation of ``budget``."""
    rows: list[dict[str, Any]] = [
        {"key": key, "scores.distance": distance, "samples": 1000.0} for key, distance in ((LUCKY, 30.0), (GOOD, 42.0))
    ]
    repeats = [
        {"of": key, "seed": seed, "scores.distance": first + step, "budget": budget, "kimg": float(budget)}
        for key, first in ((LUCKY, 60.0), (GOOD, 40.0))
        for seed, step in enumerate((0.0, 1.0, 3.0))
    ]
    return rank(make_sweep(rows, repeats=make_repeats(repeats), settings={"max_kimg": 40}))


@pytest.mark.parametrize("budget", [40, 80])
def test_a_confirmation_of_the_sweeps_budget_or_more_gives_its_median_run(budget: int) -> None:
    ranking = confirmed(budget)
    run = _representative(ranking, _choose(ranking, None))
    assert (run["key"], run["run"], run["scores"]["distance"]) == (GOOD, f"{GOOD}-c01", 41.0)
    assert (run["kimg"], run["budget"], run["confirmation"]["budget"]) == (budget, budget, budget)


def test_a_confirmation_of_a_smaller_budget_leaves_the_trials_own_weights() -> None:
    ranking = confirmed(39)
    run = _representative(ranking, _choose(ranking, None))
    assert (run["key"], run["run"], run["scores"]["distance"], run["kimg"]) == (GOOD, GOOD, 42.0, 40.0)
    assert "confirmation" not in run
