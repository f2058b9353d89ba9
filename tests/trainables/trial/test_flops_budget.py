"""Trials whose budget is the operations of a recipe: images by their own operations, evaluations at equal shares."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from tests.support.tiny import cheap_context
from trainables.fused.trial_group import TrialGroup
from trainables.storage.storage import Storage
from trainables.trial.context import Evaluation, TrialContext
from trainables.trial.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARAMS = {"generator.width": 4, "generator.noise_dim": 8, "discriminator.width": 4, "training.batch_size": 50}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrialContext]:
    points = (Evaluation(1, 16), Evaluation(3, 24))
    with cheap_context(tmp_path_factory.mktemp("cache"), points) as made:
        yield made


@pytest.fixture(scope="module")
def flops(context: TrialContext, tmp_path_factory: pytest.TempPathFactory) -> float:
    return Trial(context, PARAMS, 1, Storage(str(tmp_path_factory.mktemp("count")), in_place=True)).flops


def make(context: TrialContext, folder: Path) -> Trial:
    return Trial(context, PARAMS, 1, Storage(str(folder), in_place=True))


@pytest.mark.parametrize(("recipe", "kimg"), [(1.0, [1.0, 3.0]), (1.7, [1.7, 5.1]), (0.25, [0.25, 0.75])])
def test_trials_see_images_by_their_operations(
    context: TrialContext, flops: float, recipe: float, kimg: list[float], tmp_path: Path
) -> None:
    trial = make(dataclasses.replace(context, recipe_flops=recipe * flops), tmp_path)
    results = [trial.step(), trial.step()]
    assert [result["kimg"] for result in results] == pytest.approx(kimg)
    assert [(result["cost_kimg"], result["samples"]) for result in results] == [(1, 16), (3, 24)]
    assert [result["done"] for result in results] == [False, True]
    assert [result["flops_per_image"] for result in results] == [flops, flops]
    assert trial.loop.images_seen == pytest.approx(1000 * kimg[-1], abs=50)  # a batch of 50
    assert trial.loop.budget == round(1000 * kimg[-1])  # which learning rates follow
    assert trial.step()["kimg"] == results[-1]["kimg"]


def test_trials_by_images_have_no_cost(context: TrialContext, tmp_path: Path) -> None:
    result = make(context, tmp_path).step()
    assert "cost_kimg" not in result
    assert result["kimg"] == 1


def test_trials_continue_where_they_were(context: TrialContext, flops: float, tmp_path: Path) -> None:
    counted = dataclasses.replace(context, recipe_flops=0.4 * flops)
    whole = make(counted, tmp_path / "whole")
    expected = [whole.step(), whole.step()][-1]
    make(counted, tmp_path / "parts").step()
    again = make(counted, tmp_path / "parts")
    assert again.load()
    assert (again.cost, again.kimg) == (1, pytest.approx(0.4))
    result = again.step()
    assert [result[name] for name in ("kimg", "cost_kimg", "distance")] == [
        expected[name] for name in ("kimg", "cost_kimg", "distance")
    ]


def test_checkpoints_of_trials_by_images_of_earlier_versions_are_read(context: TrialContext, tmp_path: Path) -> None:
    trial = make(context, tmp_path)
    trial.step()
    state = {"loop": trial.loop.state_dict(), "kimg": 1, "seconds": 2.0, "results": trial.results}
    trial.checkpoints.save(state)
    again = make(context, tmp_path)
    assert again.load()
    assert again.cost == again.kimg == 1
    assert again.step()["kimg"] == 3


def test_trials_in_turns_have_the_same_budgets(context: TrialContext, flops: float, tmp_path: Path) -> None:
    counted = dataclasses.replace(context, recipe_flops=0.5 * flops)
    group = TrialGroup()
    for key in ("one", "other"):
        group.join(
            key, lambda clock, key=key: Trial(counted, PARAMS, 1, Storage(str(tmp_path / key), in_place=True), clock)
        )
    answers = group.step()
    assert [(answer["kimg"], answer["cost_kimg"]) for answer in answers.values()] == [(0.5, 1)] * 2  # type: ignore[index]
