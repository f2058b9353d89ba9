"""The recorded configuration nearest to a suggested one, by hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.simulate.nearest_trial import Pool, coordinate
from search_spaces.space import Dimension
from tests.support.pipeline.curves import curve, params, space
from trainables.errors import UserError

CURVES = [
    curve("recipe", (1,)),
    curve("slow", (1,), rate=1e-5, weight=0.0),
    curve("quick", (1,), rate=1e-3, weight=4.0),
    curve("concat", (1,), conditioning="concat", rate=1e-4),
]


def pool(among: int = 1, seed: int = 0) -> Pool:
    return Pool(space(), CURVES, seed, among)


def test_distances_are_means_over_choices_and_shares_of_ranges() -> None:
    # Two decades of learning rate: 1e-4 is in the middle, 2e-4 log10(2) / 2 further; weights run from 0 to 4.
    asked = params(rate=1e-4, weight=1.0)
    assert pool().distance(asked) == pytest.approx([np.log10(2) / 2 / 3, (0.5 + 0.25) / 3, (0.5 + 0.75) / 3, 1 / 3])


def test_dimensions_inactive_in_either_trial_do_not_count() -> None:
    near, far = params("concat", rate=1e-4, weight=0.0), params("concat", rate=1e-4, weight=4.0)
    assert pool().distance(near) == pytest.approx(pool().distance(far))
    # From the recipe: another conditioning, half a decade's share of the rate; nothing for the weight.
    assert pool().distance(near)[0] == pytest.approx((1 + np.log10(2) / 2) / 3)


def test_each_recorded_trial_is_handed_out_once_the_nearest_first() -> None:
    given = pool()
    asked = params(rate=1e-5, weight=0.0)
    assert [given.pop_nearest(asked).key for _ in CURVES][:2] == ["slow", "recipe"]
    assert given.left == 0
    assert given.distances[0] == 0.0
    assert given.distances == sorted(given.distances)


def test_the_recipe_is_taken_by_name() -> None:
    given = pool()
    assert given.take_recipe().key == "recipe"
    assert given.pop_nearest(params()).key != "recipe"
    assert len(given.distances) == 1  # nothing was proposed for the first


def test_a_draw_among_the_nearest_is_one_of_them() -> None:
    asked = params(rate=1e-4, weight=1.0)  # the last but one is the farthest
    taken = {pool(among=3, seed=seed).pop_nearest(asked).key for seed in range(40)}
    assert taken == {"recipe", "slow", "concat"}


def test_the_seed_orders_equally_near_trials() -> None:
    twins = [CURVES[0], *(curve(f"twin-{n}", (1,), rate=1e-5) for n in range(6))]
    first = {Pool(space(), twins, seed).pop_nearest(params(rate=1e-5)).key for seed in range(30)}
    assert len(first) > 1
    assert Pool(space(), twins, 3).pop_nearest(params(rate=1e-5)) == Pool(space(), twins, 3).pop_nearest(
        params(rate=1e-5)
    )


@pytest.mark.parametrize(
    ("dimension", "value", "expected"),
    [
        (Dimension("generator.width", 64, choices=(16, 32, 64)), 64, 2.0),
        (Dimension("updates.generator_steps", 1, low=1, high=5), 2, 0.25),
        (Dimension("optimizer.generator_lr", 1e-4, low=1e-5, high=1e-3, log=True), 1e-4, 0.5),
        (Dimension("optimizer.generator_lr", 1e-4, low=1e-4, high=1e-4), 1e-4, 0.0),
    ],
)
def test_places(dimension: Dimension, value: float, expected: float) -> None:
    assert coordinate(dimension, value) == pytest.approx(expected)


@pytest.mark.parametrize("outside", [{"conditioning": "projection"}, {"rate": 1.0}, {"weight": "much"}])
def test_recorded_values_outside_the_space_are_refused(outside: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"trial odd has .* outside the space"):
        Pool(space(), [*CURVES, curve("odd", (1,), **outside)], 0)
