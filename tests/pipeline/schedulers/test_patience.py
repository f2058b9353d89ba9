"""When a sweep has stopped moving, by hand arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.ranking.winner import Expected
from pipeline.schedulers.patience import EndedTrial, Patience, describe_patience, make_patience
from pipeline.settings import SweepSettings
from trainables.errors import UsageError


def one(number: int, distance: float, half: float = 1.0, kimg: float = 10) -> EndedTrial:
    """A complete trial whose distance has an interval of this half width."""
    return EndedTrial(number, kimg, {"distance": distance}, {"distance": (distance - half, distance + half)})


def two(number: int, distance: float, accuracy: float, half: float = 0.05) -> EndedTrial:
    """A complete trial whose distance is known to 1, and its tag accuracy to ``half``."""
    intervals = {"distance": (distance - 1, distance + 1), "tag_accuracy": (accuracy - half, accuracy + half)}
    return EndedTrial(number, 10, {"distance": distance, "tag_accuracy": accuracy}, intervals)


def stopped(number: int, kimg: float) -> EndedTrial:
    return EndedTrial(number, kimg)


def used(*trials: EndedTrial, **options: Any) -> list[float]:
    """The training counted after each trial."""
    patience = Patience(30, Expected, **options)
    counts = []
    for trial in trials:
        patience.record(trial)
        counts.append(patience.used)
    return counts


def test_all_training_since_the_best_moved_counts() -> None:
    assert used(one(0, 50), stopped(1, 3), one(2, 60), stopped(3, 4.5)) == [0, 3, 13, 17.5]


@pytest.mark.parametrize(("distance", "moves"), [(49.5, False), (49.0, False), (48.9, True), (51, False), (60, False)])
def test_a_distance_within_the_noise_of_the_best_moves_nothing(distance: float, moves: bool) -> None:
    """The best is 50 [49, 51]; what counts is its noise, not that of the new one."""
    assert used(one(0, 50), one(1, distance, half=30)) == [0, 0 if moves else 10]


def test_steps_within_the_noise_count_once_they_exceed_it_together() -> None:
    """50 [49, 51] last moved: 49.4 and 49.1 lie within, 48.8 does not; then 47.8 is the end."""
    assert used(*(one(place, at) for place, at in enumerate((50, 49.4, 49.1, 48.8, 47.9, 47.7)))) == [
        0, 10, 20, 0, 10, 0,
    ]  # fmt: skip


def test_without_an_interval_any_lower_distance_moves() -> None:
    bare = [EndedTrial(place, 10, {"distance": at}) for place, at in enumerate((50, 50, 49.999))]
    assert used(*bare) == [0, 10, 0]


def test_nothing_ends_before_the_first_complete_trial() -> None:
    patience = Patience(30, Expected)
    for number in range(9):
        patience.record(stopped(number, 10))
    assert not patience.exhausted
    patience.record(one(9, 50))
    assert (patience.used, patience.exhausted) == (0, False)


def test_the_limit_is_reached_and_a_running_trial_may_undo_it() -> None:
    patience = Patience(30, Expected)
    found = []
    for trial in (one(0, 50), stopped(1, 10), stopped(2, 19.5), stopped(3, 0.5), one(4, 40)):
        patience.record(trial)
        found.append(patience.exhausted)
    assert found == [False, False, False, True, False]
    assert patience.threshold == 39


def test_the_front_moves_by_a_tag_accuracy_beyond_noise() -> None:
    """The floor is 0 here, so the winner is the lowest distance, trial 0, throughout."""
    front = (two(0, 50, 0.5), two(1, 70, 0.54), two(2, 70, 0.56), two(3, 60, 0.58), two(4, 60, 0.56))
    # 0.54 is within 0.5 +- 0.05; 0.56 is beyond; (60, 0.58) is beyond trial 0 by accuracy, beyond trial 2 by distance;
    # (60, 0.56) is within the noise of trial 3 in both.
    assert used(*front, minimum=0.0) == [0, 10, 0, 0, 10]


def test_the_winner_moves_although_the_front_does_not() -> None:
    """Trial 1 misses the floor of 0.6 by less than the noise of its tag accuracy, and is nearer than trial 2."""
    trials = (two(0, 50, 0.7, 0.2), two(1, 20, 0.55, 0.2), two(2, 40, 0.65, 0.2), two(3, 39.5, 0.65, 0.2))
    assert used(*trials, minimum=0.6) == [0, 0, 0, 10]
    assert used(*trials, minimum=0.0) == [0, 0, 10, 20]  # trial 1 wins, and stays


def test_a_winner_that_falls_below_the_floor_moves() -> None:
    """0.8 of 0.9 is 0.72: trial 1 of a tag accuracy just above the noise of trial 0's lifts the floor over it."""
    trials = (two(0, 50, 0.7, 0.3), two(1, 60, 0.9, 0.3))
    assert used(*trials) == [0, 0]
    assert used(*trials, minimum=0.5) == [0, 10]


def test_what_limits_tag_accuracies_sets_the_floor() -> None:
    """With a tag classifier that is right on 0.5, the floor is 0.4 rather than 0.72."""
    patience = Patience(30, lambda: Expected(classifier=0.5))
    for trial in (two(0, 50, 0.7, 0.3), two(1, 60, 0.9, 0.3)):
        patience.record(trial)
    assert patience.used == 10


def test_the_option_counts_whole_trials() -> None:
    def settings(patience: int | None) -> SweepSettings:
        return SweepSettings("acgan", Path("d"), "faces", max_kimg=40, patience=patience)

    assert make_patience(settings(None), Expected) is None
    found = make_patience(settings(3), Expected)
    assert found is not None
    assert found.kimg == 120
    found.record(one(0, 50))
    said = describe_patience(found, settings(3), 1)
    assert said.startswith(
        "patience: the best distance has not moved by more than its noise for the training of 3 trials; a better "
        "winner would have to show a distance below 49. `gansweep extend faces"
    )
    assert "neither the front nor the winner has moved" in describe_patience(found, settings(1), 2)
    with pytest.raises(UsageError, match="--patience is 0; allowed: 1 to"):
        settings(0)
