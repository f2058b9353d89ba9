"""Targets and shares of ``benchmarks.anytime``, and the recipes of its synthetic curves."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import anytime, recorded_curves, synthetic_curves
from benchmarks.anytime import Answer, Target
from benchmarks.large_history import Sampler
from trainables.config import GanConfig

if TYPE_CHECKING:
    from pathlib import Path

SEARCHES = [
    [Answer(100, math.nan, 50, 0.9), Answer(200, math.nan, 20, 0.1)],
    [Answer(100, math.nan, 40, 0.8), Answer(200, math.nan, 30, 0.7)],
    [Answer(100, math.nan, 60, 1.0), Answer(200, math.nan, 45, 0.95)],
]


def test_targets_are_medians_of_winners_and_fronts() -> None:
    target = Target.of(SEARCHES)
    # Floors are 0.8 of 0.9, 0.8 and 1: 0.72. Winners reach it: 50, 40 and 45. Areas up to 60 by hand:
    # 10 x 0.9 + 30 x 0.1, 20 x 0.8 + 10 x 0.7 - 10 x 0.0 and 15 x 0.95.
    assert target.floor == pytest.approx(0.72)
    assert target.distance == 45
    assert target.worst == 60
    areas = sorted([10 * 0.9 + 30 * 0.1, 20 * 0.8 + 10 * 0.7, 15 * 0.95])
    assert target.area == pytest.approx(areas[1])


def test_without_a_floor_the_lowest_distance_is_the_target() -> None:
    searches = [[Answer(10, 1.0, 50, 0.9), Answer(20, 2.0, 30, 0.0)], [Answer(10, 1.0, 40, 0.9)]]
    assert Target.of(searches).distance == 50  # of two medians the worse
    target = Target.of(searches, minimum=0)
    assert (target.floor, target.distance) == (0.0, 40)
    assert target.reached(searches[0])[0] == searches[0][1]


def test_a_search_has_reached_a_target_with_the_first_trial_as_good() -> None:
    target = Target.of(SEARCHES)
    answers = [
        Answer(10, 1.0, 30, 0.5),  # closer, but deaf
        Answer(20, 2.0, 46, 0.9),
        Answer(30, 3.0, 45, 0.72),
        Answer(40, 4.0, 10, 0.9),
    ]
    winner, front = target.reached(answers)
    assert winner == answers[2]
    # 30 x 0.5 is more than 14.25.
    assert front == answers[0]
    assert target.reached(answers[:2])[0] is None
    assert target.reached([answers[1]]) == (None, None)


def test_shares_are_of_the_training_and_operations_of_random_search() -> None:
    target = Target.of(SEARCHES)
    searches = [[Answer(50, 5.0, 45, 0.9)], [Answer(100, 20.0, 40, 0.9)], [Answer(70, 1.0, 99, 0.9)]]
    shares = anytime.shares(target, searches, [Answer(200, 50.0, 1, 1)])
    assert (shares["distance, kimg"].low, shares["distance, kimg"].median) == (0.5, 0.5)
    assert math.isinf(shares["distance, kimg"].high)
    assert shares["distance, flops"].median == 0.4
    unknown = anytime.shares(target, searches, [Answer(200, math.nan, 1, 1)])
    assert set(unknown) == {"distance, kimg", "front, kimg"}


def test_recipes_have_the_rank_that_they_are_named_by() -> None:
    rng = np.random.default_rng(9)
    losses = [synthetic_curves.loss(synthetic_curves.SPACE.sample(Sampler(rng))) for _ in range(2000)]

    def quantiles(place: synthetic_curves.Place, count: int) -> list[float]:
        recipes = [synthetic_curves.space_with_recipe(place, seed).recipe for seed in range(count)]
        for recipe in recipes:
            GanConfig.from_params(recipe)
        return [float(np.mean(np.array(losses) < synthetic_curves.loss(recipe))) for recipe in recipes]

    # The best of 25 lies at 1/26 on average, with a standard deviation of 0.037; the median at 1/2, with 0.096.
    assert np.mean(quantiles("good", 16)) == pytest.approx(1 / 26, abs=0.03)
    assert np.mean(quantiles("middling", 16)) == pytest.approx(1 / 2, abs=0.08)
    assert min(quantiles("wrong", 2)) > 0.98
    assert synthetic_curves.space_with_recipe("report", 0) is synthetic_curves.SPACE


def test_a_recording_adds_its_table_and_its_surrogate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "curves.csv"
    recorded_curves.write(synthetic_curves.synthetic(40, 1), file)
    anytime.landscapes.cache_clear()
    places = anytime.landscapes(file, 12)
    assert list(places)[3:] == ["recording", "surrogate"]
    assert places["recording"].trials == 10
    for name in ("recording", "surrogate"):
        answers = anytime.search(anytime.Job(name, "random", "none", 0, None), file, 12, 2)
        assert [one.kimg for one in answers] == sorted(one.kimg for one in answers)
        assert len(answers) > 5
        # One that is known to be reached at once ends the search: the trials that run complete, and no other begins.
        easy = Target(0.0, math.inf, 0.0, 1000.0)
        assert len(anytime.search(anytime.Job(name, "random", "none", 0, easy), file, 12, 2)) <= 2
    assert capsys.readouterr().out == ""


def test_the_benchmark_runs_and_prints_every_pair(capsys: pytest.CaptureFixture[str]) -> None:
    anytime.main(["--quick", "--processes", "1", "--sampler", "random", "--scheduler", "asha"])
    quality, *lines = capsys.readouterr().out.splitlines()
    assert quality.startswith("surrogate of 82 trials, ")  # two of the recorded 84 failed
    landscapes = [
        "synthetic, good recipe",
        "synthetic, middling recipe",
        "synthetic, wrong recipe",
        "recording",
        "surrogate",
    ]
    rows = [(name, scheduler) for name in landscapes for scheduler in ("none", "asha")]
    assert [re.split(r"  +", line)[:3] for line in lines] == [[name, "random", scheduler] for name, scheduler in rows]
