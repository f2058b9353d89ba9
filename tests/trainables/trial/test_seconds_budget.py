"""Trials whose budget is the seconds of a recipe: no test measures time, each one says what would be measured."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.tiny import cheap_context
from trainables.config import GanConfig
from trainables.storage.checkpoints import CONFIG_FILE
from trainables.storage.storage import Storage
from trainables.training.loop import Diverged
from trainables.trial import image_share
from trainables.trial.context import Evaluation, TrialContext
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECIPE = {"generator.width": 8, "generator.noise_dim": 8, "discriminator.width": 4, "training.batch_size": 50}
PARAMS = {**RECIPE, "generator.width": 4}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    points = (Evaluation(1, 16), Evaluation(3, 24))
    with cheap_context(tmp_path_factory.mktemp("cache"), points) as made:
        recipe = GanConfig.from_params({**RECIPE, **made.images.shape_params})
        yield dataclasses.replace(made, timed_recipe=recipe)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds per image of the recipe and of the trial in turns, which a test gives; what is left was not measured."""
    seconds: list[float] = []
    monkeypatch.setattr(image_share, "_seconds_per_image", lambda context, config: seconds.pop(0))
    return seconds


def make(context: TrialContext, folder: Path, params: dict[str, Any] = PARAMS, **more: Any) -> Trial:
    return Trial(context, params, 1, Storage(str(folder), in_place=True), **more)


def test_trials_see_images_by_the_median_of_their_seconds(
    context: TrialContext, measured: list[float], tmp_path: Path
) -> None:
    """The recipe takes 2, 1.5 and 3 times as long: the load of the machine, in one of the rounds, concerns both."""
    measured += [0.002, 0.001, 0.03, 0.02, 0.003, 0.001]
    trial = make(context, tmp_path)
    results = [trial.step(), trial.step()]
    assert measured == []
    assert [(result["kimg"], result["cost_kimg"], result["samples"]) for result in results] == [(2, 1, 16), (6, 3, 24)]
    assert [result["done"] for result in results] == [False, True]
    assert (trial.loop.images_seen, trial.loop.budget) == (6000, 6000)


def test_the_recipe_is_its_own_measure(context: TrialContext, measured: list[float], tmp_path: Path) -> None:
    assert make(context, tmp_path, RECIPE).step()["kimg"] == 1
    plain = dataclasses.replace(context, timed_recipe=None)
    assert "cost_kimg" not in make(plain, tmp_path / "plain").step()
    assert measured == []


def test_a_trial_keeps_what_was_measured(context: TrialContext, measured: list[float], tmp_path: Path) -> None:
    measured += [0.001, 0.002] * 3
    make(context, tmp_path).step()
    again = make(context, tmp_path)  # nothing is left to measure
    assert again.load()
    assert (again.cost, again.kimg) == (1, 0.5)
    assert again.step()["kimg"] == 1.5
    assert make(context, tmp_path).kimg == 0  # also without a checkpoint
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["image_share"] == 0.5


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"image_share": -1}', '{"image_share": "fast"}'])
def test_an_altered_file_is_measured_anew(
    context: TrialContext, measured: list[float], tmp_path: Path, content: str
) -> None:
    (tmp_path / CONFIG_FILE).write_text(content)
    measured += [0.001, 0.004] * 3
    assert make(context, tmp_path).image_share == 0.25


def test_repeats_see_as_many_images_as_their_trial(
    context: TrialContext, measured: list[float], tmp_path: Path
) -> None:
    assert make(context, tmp_path, image_share=1.25).step()["kimg"] == 1.25
    assert measured == []


def test_what_diverges_at_once_gets_the_images_of_the_recipe(
    context: TrialContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def diverge(*_: object) -> float:
        raise Diverged("d_loss is nan")

    monkeypatch.setattr(image_share, "_seconds_per_image", diverge)
    assert make(context, tmp_path).image_share == 1.0


@pytest.mark.parametrize(("cycle_seconds", "cycles"), [(0.25, 4), (3.0, None)])
def test_whole_cycles_of_the_penalty_are_timed(
    context: TrialContext, monkeypatch: pytest.MonkeyPatch, cycle_seconds: float, cycles: int | None
) -> None:
    """A penalty at every third discriminator step, two steps an update of 10 images each: a cycle is three updates."""
    assert context.timed_recipe is not None
    params = {**context.timed_recipe.to_params(), "updates.discriminator_steps": 2, "training.batch_size": 10}
    config = GanConfig.from_params({**params, "losses.penalty": "r1", "losses.penalty_every": 3})
    trained: list[int] = []

    def time_images(loop: Any, images: int) -> float:
        trained.append(images)
        assert loop.images_seen == 20  # after the first update
        return cycle_seconds * images / 60

    monkeypatch.setattr(image_share, "_time", time_images)
    assert image_share._seconds_per_image(context, config) == pytest.approx(cycle_seconds / 60)
    assert trained == ([60, 60 * cycles] if cycles else [60])


def test_measuring_leaves_the_training_as_it_is(
    context: TrialContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A real measurement, and then the same images and seed without one, give the same networks."""
    monkeypatch.setattr(image_share, "SECONDS", 0.0)
    timed = make(dataclasses.replace(context, evaluations=(Evaluation(1, 16),)), tmp_path / "timed")
    assert timed.image_share > 0
    first = timed.step()
    again = make(timed.context, tmp_path / "again", image_share=timed.image_share).step()
    assert [again[name] for name in ("kimg", "distance")] == [first[name] for name in ("kimg", "distance")]
