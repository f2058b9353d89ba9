"""Seconds of configurations that were not measured, by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from pipeline.plan.benchmark import Benchmark, images_per_update
from pipeline.plan.cost_model import LEAST_ERROR, CostModel, choose_measured, operations
from pipeline.search.random_sampling import draw_configurations
from search_spaces.registry import SPACES
from tests.support.tiny import painted_images, random_labels, tiny_translator
from trainables.config import GanConfig
from trainables.systems.build import build_system
from trainables.training.inputs import training_data
from trainables.training.loop import TrainingLoop
from trainables.trial.context import Evaluation

RECIPE = Benchmark(update=0.1, early=2.0, final=5.0, start=1.0, peak=1)
SMALL = Benchmark(update=0.01, early=1.0, final=0.0, start=1.0, peak=1)
LARGE = Benchmark(update=1.0, early=4.0, final=0.0, start=1.0, peak=1)
MODEL = CostModel(((1e10, RECIPE), (1e8, SMALL), (1e12, LARGE)))
PARAMS = {"system": "acgan", "training.batch_size": 50, "updates.discriminator_steps": 2}


def tiny(**changes: Any) -> dict[str, Any]:
    base = {"image_size": 16, "generator.width": 8, "generator.noise_dim": 4, "discriminator.width": 8}
    return {**SPACES["acgan"].recipe, **base, "training.batch_size": 8, **changes}


@pytest.mark.parametrize(
    ("count", "update"),
    [
        (1e8, 0.01),
        (1e9, math.sqrt(0.1 * 0.01)),
        (1e10, 0.1),
        (1e11, math.sqrt(0.1)),
        (1e12, 1.0),
        (1e6, 0.01),
        (1e15, 1.0),
    ],
)
def test_updates_lie_between_measured_ones_on_logarithmic_scales(count: float, update: float) -> None:
    assert MODEL.update(count) == pytest.approx(update)


def test_seconds_of_a_trial_add_up() -> None:
    assert images_per_update(PARAMS) == 100
    assert images_per_update({**PARAMS, "system": "cyclegan"}) == 200  # a batch of either domain
    points = (Evaluation(1, 100), Evaluation(3, 100), Evaluation(9, 400))
    # The recipe's: 10 updates of 0.1 s for a kimg, 2 s for an early score, 5 s for the last.
    assert MODEL.seconds(PARAMS, 1e10, points) == pytest.approx([1 + 1 + 2, 4 + 2 + 2, 8 + 6 + 5])
    # The largest: 1 s an update; scoring takes 2 s more for 100 images, so 8 s more for 400.
    assert MODEL.seconds(PARAMS, 1e12, points) == pytest.approx([1 + 10 + 4, 15 + 20 + 4, 39 + 60 + 13])
    # Half as many images: half the updates, the same scores.
    assert MODEL.seconds(PARAMS, 1e12, points, 0.5) == pytest.approx([1 + 5 + 4, 10 + 10 + 4, 24 + 30 + 13])
    # One evaluation alone is the last.
    assert MODEL.seconds(PARAMS, 1e10, points[2:]) == pytest.approx([1 + 9 + 5])


def test_the_error_is_that_of_each_inner_one_from_the_others() -> None:
    assert MODEL.error == LEAST_ERROR  # the recipe lies on the line between the others
    off = CostModel(((1e10, Benchmark(0.2, 2.0, 5.0, 1.0, 1)), (1e8, SMALL), (1e12, LARGE)))
    assert off.error == pytest.approx(math.log(2))
    assert CostModel(((1e10, RECIPE),)).error == LEAST_ERROR


def test_the_recipe_and_the_ends_and_the_middle_are_measured() -> None:
    assert choose_measured([5.0, 9.0, 1.0, 7.0, 3.0]) == [0, 1, 2]  # the recipe is the middle
    assert choose_measured([1.0, 9.0, 2.0, 7.0, 3.0]) == [0, 1, 4]  # and here the least
    assert choose_measured([4.0]) == [0]


def test_operations_are_proportional_to_the_batch_and_to_the_steps() -> None:
    images = painted_images(random_labels(48))
    one = operations(tiny(), images)
    assert operations(tiny(**{"training.batch_size": 32}), images) == pytest.approx(4 * one)
    steps = [operations(tiny(**{"updates.generator_steps": n}), images) for n in (1, 2, 3)]
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0]) != 0


def test_operations_of_convolutions_grow_with_the_square_of_the_width() -> None:
    images = painted_images(random_labels(48))
    counts = [operations(tiny(**{"generator.width": w, "discriminator.width": w}), images) for w in (32, 64)]
    assert 3 < counts[1] / counts[0] < 4  # all but the first and the last layer


@pytest.mark.parametrize("system", ["cyclegan", "stargan"])
def test_operations_of_systems_that_translate_are_counted(system: str) -> None:
    images = dataclasses.replace(painted_images(random_labels(48)), targets=("eyes",))
    one, wider = (operations(tiny_translator(system, generator__width=w).to_params(), images) for w in (2, 4))
    assert 0 < one < wider < 4 * one
    again = operations(tiny_translator(system, training__batch_size=32).to_params(), images)
    assert again == pytest.approx(4 * one)


@pytest.mark.parametrize("name", SPACES)
def test_operations_of_every_recipe_are_counted(name: str) -> None:
    images = dataclasses.replace(painted_images(random_labels(48)), targets=("eyes",))
    narrow = {"image_size": 16, "generator.width": 4, "discriminator.width": 4, "training.batch_size": 4}
    assert operations({**SPACES[name].recipe, **narrow}, images) > 0


def test_operations_equal_those_of_the_counter_of_torch() -> None:
    images = painted_images(random_labels(48))
    config = GanConfig.from_params(tiny(**{"training.batch_size": 2}))
    loop = TrainingLoop(build_system(config, images.vocabulary.sizes), training_data(config, images, "cpu"), config)
    with FlopCounterMode(display=False) as counter:
        loop.train_until(1)
    assert operations(config.to_params(), images) == counter.get_total_flops()


def test_configurations_are_drawn_from_the_space_the_recipe_first() -> None:
    space = SPACES["anything"]
    drawn = draw_configurations(space, 0, 30)
    assert drawn[0] == dict(space.recipe)
    assert drawn == draw_configurations(space, 0, 30) != draw_configurations(space, 1, 30)
    for params in drawn:
        for dimension in space.dimensions:
            value = params[dimension.name]
            if not dimension.choices and dimension.active(params):
                assert dimension.low <= value <= dimension.high  # type: ignore[operator]
            assert not dimension.choices or not dimension.active(params) or value in dimension.choices
