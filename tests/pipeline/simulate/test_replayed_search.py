"""Samplers that choose among recorded trials."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.search.samplers import make_sampler
from pipeline.simulate.nearest_trial import Pool
from pipeline.simulate.recording import Curve
from pipeline.simulate.replayed_search import RecordedSearch
from pipeline.simulate.simulator import FinishedTrial
from search_spaces.registry import find_space
from tests.support.pipeline.curves import curve, space

SCORES = {"distance": 3.0, "tag_accuracy": 0.5}


def curves(count: int) -> list[Any]:
    rates = [1e-5 * 100 ** (n / max(1, count - 1)) for n in range(count - 1)]
    return [curve("recipe", (1,)), *(curve(f"r-{n}", (1,), rate=rate) for n, rate in enumerate(rates))]


def search(sampler: str = "random", count: int = 30, seed: int = 0) -> RecordedSearch:
    return RecordedSearch(make_sampler(sampler, seed, space()), Pool(space(), curves(count), seed))


def ended(status: str, scores: dict[str, float] = SCORES) -> FinishedTrial:
    return FinishedTrial(0, status, 10, 1.0, 10.0, scores)


@pytest.mark.parametrize("sampler", ["random", "tpe", "prior", "qmc", "grid", "gp", "nsga2"])
def test_every_sampler_uses_every_recorded_trial_once_and_the_recipe_first(sampler: str) -> None:
    searching = search(sampler, 24)
    keys = []
    while (taken := searching.suggest()) is not None:
        keys.append(taken.key)
        searching.record_end(taken, ended("complete", {"distance": float(len(keys)), "tag_accuracy": 0.5}))
    # A grid has 2 x 3 x 3 points, of which a half lacks the last dimension: 9 + 3, and the recipe is none of them.
    assert len(keys) == len(set(keys)) == (13 if sampler == "grid" else 24)
    assert keys[0] == "recipe"


def test_the_study_holds_recorded_values_instead_of_suggested_ones() -> None:
    pool = Pool(space(), [curve("recipe", (1,)), curve("c", (1,), conditioning="concat", rate=3e-5)], 0)
    searching = RecordedSearch(make_sampler("tpe", 0, pool.space), pool)
    for _ in range(2):
        searching.suggest()
    first, second = searching.study.trials
    assert first.params == {
        "discriminator.conditioning": "acgan",
        "optimizer.generator_lr": 2e-4,
        "losses.tag_weight": 1.0,
    }
    assert second.params == {"discriminator.conditioning": "concat", "optimizer.generator_lr": 3e-5}


@pytest.mark.parametrize(
    ("sampler", "status", "scores", "state"),
    [
        ("tpe", "complete", SCORES, TrialState.COMPLETE),
        ("tpe", "stopped", SCORES, TrialState.PRUNED),
        ("nsga2", "stopped", SCORES, TrialState.COMPLETE),
        ("tpe", "failed", SCORES, TrialState.FAIL),
        ("tpe", "complete", {"distance": 3.0}, TrialState.FAIL),
    ],
)
def test_the_study_is_written_like_that_of_a_sweep(
    sampler: str, status: str, scores: dict[str, float], state: TrialState
) -> None:
    searching = search(sampler)
    taken = searching.suggest()
    assert taken is not None
    searching.record_end(taken, ended(status, scores))
    (trial,) = searching.study.trials
    assert trial.state == state
    if state == TrialState.COMPLETE:
        assert trial.values == [3.0, 0.5]


def test_unconditional_spaces_have_one_objective() -> None:
    dcgan = find_space("dcgan")
    pool = Pool(dcgan, [Curve("r", dict(dcgan.recipe), ())], 0)
    assert (
        RecordedSearch(make_sampler("tpe", 0, pool.space), pool).study.direction == optuna.study.StudyDirection.MINIMIZE
    )


def test_what_is_taken_is_next_to_what_the_sampler_draws() -> None:
    """The recorded ones differ in their rate alone, so the nearest rate that is unused is taken."""
    searching = search("random", 60, seed=5)
    study = optuna.create_study(sampler=make_sampler("random", 5, space()))
    unused = [one.params["optimizer.generator_lr"] for one in curves(60)][1:]
    searching.suggest()  # the recipe is drawn by nobody
    for _ in range(12):
        taken = searching.suggest()
        assert taken is not None
        drawn = float(space().sample(study.ask())["optimizer.generator_lr"])
        nearest = min(unused, key=lambda rate: abs(math.log(rate / drawn)))
        assert taken.params["optimizer.generator_lr"] == nearest
        unused.remove(nearest)


def test_tpe_learns_from_replayed_results() -> None:
    """Of 300 rates the low ones are good: TPE takes more of them than random search does."""
    means = {}
    for sampler in ("random", "tpe"):
        low = []
        for seed in range(3):
            searching = search(sampler, 300, seed)
            for _ in range(60):
                taken = searching.suggest()
                assert taken is not None
                place = math.log10(taken.params["optimizer.generator_lr"])
                searching.record_end(taken, ended("complete", {"distance": place, "tag_accuracy": 0.5}))
                low.append(place)
        means[sampler] = sum(low) / len(low)
    assert means["tpe"] < means["random"] - 0.1


def test_equal_seeds_search_equally() -> None:
    def keys(seed: int) -> list[str]:
        searching, found = search("tpe", 40, seed), []
        for _ in range(20):
            taken = searching.suggest()
            assert taken is not None
            searching.record_end(
                taken, ended("complete", {"distance": taken.params["optimizer.generator_lr"], "tag_accuracy": 0.1})
            )
            found.append(taken.key)
        return found

    assert keys(1) == keys(1) != keys(2)
