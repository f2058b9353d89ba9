"""Where trials are scored and stopped, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.schedulers.evaluation_schedule import resolve_budget
from pipeline.settings import SweepSettings


def settings(**changes: Any) -> SweepSettings:
    return SweepSettings(**{"space": "acgan", "data": Path("faces"), "name": "s", "max_kimg": 90, **changes})


def points(**changes: Any) -> list[tuple[int, int]]:
    return [(one.kimg, one.samples) for one in resolve_budget(settings(**changes)).evaluations]


def test_trials_are_scored_at_rungs_and_in_full_at_the_end() -> None:
    assert resolve_budget(settings()).rungs == (10, 30)
    assert points() == [(10, 512), (30, 512), (90, 2048)]
    assert points(scheduler="none") == points()  # a curve is wanted there, too


def test_requested_evaluations_are_added_to_the_rungs() -> None:
    assert points(eval_kimg=25, rung_samples=64) == [(25, 64), (50, 64), (75, 64), (90, 2048)]
    assert resolve_budget(settings(eval_kimg=25)).rungs == (25,)


def test_early_scores_are_never_of_more_images_than_the_last() -> None:
    assert points(samples=100) == [(10, 100), (30, 100), (90, 100)]


@pytest.mark.parametrize(("max_kimg", "expected"), [(1, [1]), (2, [1, 2]), (4, [1, 4]), (100, [11, 33, 100])])
def test_small_budgets(max_kimg: int, expected: list[int]) -> None:
    assert [kimg for kimg, _ in points(max_kimg=max_kimg)] == expected


def test_an_extended_sweep_keeps_its_rungs_and_decides_at_its_earlier_ends() -> None:
    """First 90, then 200, then 500: the rungs of 90, and 90 and 200, where scores stay in full."""
    grown: dict[str, Any] = {"max_kimg": 500, "budgets": (90, 200)}
    assert resolve_budget(settings(**grown)).rungs == (10, 30, 90, 200)
    assert points(**grown) == [(10, 512), (30, 512), (90, 2048), (200, 2048), (500, 2048)]


def test_a_population_is_compared_at_tenths_of_the_budget_or_at_requested_intervals() -> None:
    assert resolve_budget(settings(scheduler="pbt")).rungs == (9, 18, 27, 36, 45, 54, 63, 72, 81)
    assert points(scheduler="pbt")[-2:] == [(81, 512), (90, 2048)]
    assert resolve_budget(settings(scheduler="pbt", eval_kimg=40)).rungs == (40, 80)
    assert resolve_budget(settings(scheduler="pbt", max_kimg=3)).rungs == (1, 2)
    assert resolve_budget(settings(scheduler="pbt", max_kimg=120, budgets=(90,))).rungs[-2:] == (81, 90)
