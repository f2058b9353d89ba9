from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ranking.pareto import hypervolume_2d, knee, pareto_front

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOTH = ("minimize", "maximize")


def brute_force(values: NDArray[np.float64], directions: tuple[str, ...]) -> list[bool]:
    costs = values * [1 if direction == "minimize" else -1 for direction in directions]

    def dominated(row: NDArray[np.float64]) -> bool:
        others = costs[np.isfinite(costs).all(axis=1)]
        return any((other <= row).all() and (other < row).any() for other in others)

    return [bool(np.isfinite(row).all()) and not dominated(row) for row in costs]


def test_front_of_distance_and_accuracy_by_hand() -> None:
    points = [(10, 0.5), (20, 0.9), (15, 0.4), (10, 0.5), (30, 0.95), (30, 0.9), (9, np.nan), (np.nan, 1.0)]
    assert pareto_front(points, BOTH).tolist() == [True, True, False, True, True, False, False, False]


def test_infinite_values_are_never_in_front() -> None:
    assert pareto_front([(-np.inf, 0.5), (5, np.inf), (7, 0.1)], BOTH).tolist() == [False, False, True]


@pytest.mark.parametrize("k", [1, 2, 3])
def test_agrees_with_brute_force(k: int) -> None:
    value = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([np.nan, np.inf, -np.inf, -0.0]))
    rows = st.lists(st.lists(value, min_size=k, max_size=k), max_size=25)
    ways = st.tuples(*[st.sampled_from(BOTH)] * k)

    @settings(max_examples=150, deadline=None)
    @given(rows, ways)
    def check(rows: list[list[float]], directions: tuple[str, ...]) -> None:
        values = np.array(rows, dtype=np.float64).reshape(-1, k)
        assert pareto_front(values, directions).tolist() == brute_force(values, directions)

    check()


def test_empty_and_all_missing() -> None:
    assert pareto_front(np.empty((0, 2)), BOTH).tolist() == []
    assert pareto_front([], BOTH).tolist() == []
    assert pareto_front([(np.nan, 1.0)], BOTH).tolist() == [False]


def test_large_front_is_fast() -> None:
    distance = np.arange(200_000.0)  # everything is in front: quadratic code would take many minutes
    start = time.perf_counter()
    assert pareto_front(np.column_stack([distance, distance]), BOTH).all()
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize(
    ("values", "directions", "match"),
    [([(1, 2, 3)], BOTH, "one column for each"), ([(1, 2)], ("min", "maximize"), "'min'; allowed: minimize")],
)
def test_wrong_arguments_are_named(values: object, directions: tuple[str, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        pareto_front(values, directions)  # type: ignore[arg-type]


def test_hypervolume_by_hand() -> None:
    # Steps of the staircase: 4 wide x 0.5 high, then 2 wide x 0.3 more; (8, 0.4) is dominated, the last is outside.
    points = [(6, 0.5), (8, 0.8), (8, 0.4), (12, 1.0), (np.nan, 1.0)]
    assert hypervolume_2d(points, (10, 0.0)) == pytest.approx(4 * 0.5 + 2 * 0.3)
    assert hypervolume_2d([(1, -2), (2, -1)], (3, -3)) == pytest.approx(3.0)


def test_hypervolume_of_nothing_and_at_the_reference_is_zero() -> None:
    assert hypervolume_2d([], (10, 0.0)) == 0.0
    assert hypervolume_2d([(10, 0.5), (5, 0.0)], (10, 0.0)) == 0.0


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=12))
def test_a_dominated_point_adds_no_volume_and_a_better_one_does(points: list[tuple[float, float]]) -> None:
    volume = hypervolume_2d(points, (11, -1))
    (distance, accuracy) = points[0]
    assert hypervolume_2d([*points, (distance + 0.5, accuracy - 0.5)], (11, -1)) == pytest.approx(volume)
    assert hypervolume_2d([*points, (-1, 2)], (11, -1)) > volume


def test_the_knee_bulges_most_towards_the_ideal() -> None:
    ways = ("minimize", "maximize")
    assert knee([(0.0, 0.0), (1.0, 0.8), (5.0, 0.9), (10.0, 1.0)], ways) == 1
    assert knee([(10.0, 1.0), (0.0, 0.0), (3.0, 0.9)], ways) == 2
    assert knee([(0.0, 0.0), (5.0, 0.5), (10.0, 1.0)], ways) is None  # a straight line
    assert knee([(0.0, 0.0), (8.0, 0.3), (10.0, 1.0)], ways) is None  # it bends the other way
    assert knee([(0.0, 0.0), (10.0, 1.0)], ways) is None
    assert knee(np.empty((0, 2)), ways) is None
