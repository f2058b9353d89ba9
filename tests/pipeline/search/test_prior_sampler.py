"""Draws around the recipe and around the best trials, their shares, and what a suggestion depends on."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from scipy.stats import binomtest, kstest, truncnorm

from analysis.ranking.winner import Expected
from pipeline.search.prior_sampler import (
    CHANGED,
    FADING,
    FRONT,
    MUTATIONS,
    STEP,
    UNIFORM,
    PriorSampler,
    density_near,
    draw_near,
    draw_other,
    order_trials,
)
from pipeline.search.samplers import distributions, make_sampler
from tests.pipeline.search.test_samplers import SMALL, scores

RATE = FloatDistribution(1e-4, 1e-2, log=True)
STEPS = IntDistribution(1, 4)
KIND = CategoricalDistribution(("a", "b", "c", "d"))
DISTRIBUTIONS: dict[str, BaseDistribution] = {"rate": RATE, "weight": FloatDistribution(0.0, 10.0), "kind": KIND}
RECIPE = {"rate": 1e-3, "weight": 2.5, "kind": "b"}


def position(rate: float) -> float:
    return math.log10(rate / 1e-4) / 2


def sampler(confidence: float = 0.5, seed: int = 0) -> PriorSampler:
    return PriorSampler(DISTRIBUTIONS, RECIPE, seed, confidence)


def draw(study: optuna.Study, count: int) -> list[dict[str, Any]]:
    """Suggestions for as many numbers, which leave the study as it is."""
    drawn = []
    for number in range(1000, 1000 + count):
        trial = optuna.trial.FrozenTrial(
            number=number, state=TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None,
            params={}, distributions={}, user_attrs={}, system_attrs={}, intermediate_values={}, trial_id=number,
        )  # fmt: skip
        assert study.sampler.infer_relative_search_space(study, trial) == {}
        drawn.append(
            {name: study.sampler.sample_independent(study, trial, name, one) for name, one in DISTRIBUTIONS.items()}
        )
    return drawn


def study_of(sampler: PriorSampler, *trials: tuple[dict[str, Any], list[float]], stopped: int = 0) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"][: len(trials[0][1])])
    for params, values in trials:
        study.add_trial(create_trial(params=params, distributions=DISTRIBUTIONS, values=values))
    for _ in range(stopped):
        study.add_trial(
            create_trial(state=TrialState.PRUNED, params={**RECIPE, "rate": 5e-3}, distributions=DISTRIBUTIONS)
        )
    return study


# Draws ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("confidence", "value"), [(0.25, 1e-3), (0.5, 1e-3), (0.75, 1.5e-4)])
def test_ranges_are_drawn_from_a_truncated_normal_on_their_scale(confidence: float, value: float) -> None:
    rng, at, deviation = np.random.default_rng(1), position(value), 1 - confidence
    drawn = [position(draw_near(RATE, value, confidence, rng)) for _ in range(4000)]
    expected = truncnorm(-at / deviation, (1 - at) / deviation, at, deviation)
    assert kstest(drawn, expected.cdf).pvalue > 0.01
    assert kstest(drawn, truncnorm(-0.5 / deviation, 0.5 / deviation, 0.5, deviation + 0.1).cdf).pvalue < 0.01
    for value in (1.2e-4, 2e-3, 8e-3):
        ratio = density_near(RATE, value, 1e-3, confidence, deviation)
        assert ratio == pytest.approx(truncnorm(-0.5 / deviation, 0.5 / deviation, 0.5, deviation).pdf(position(value)))


def test_whole_numbers_stand_for_what_rounds_to_them() -> None:
    rng = np.random.default_rng(2)
    drawn = [draw_near(STEPS, 1, 0.5, rng) for _ in range(4000)]
    assert all(isinstance(value, int) for value in drawn)
    # Numbers 1 to 4 are quarters of the unit range, and 1 lies at an eighth.
    expected = truncnorm(-0.125 / 0.5, 0.875 / 0.5, 0.125, 0.5)
    for number in STEPS.low, 2, 3, STEPS.high:
        share = expected.cdf(number / 4) - expected.cdf((number - 1) / 4)
        assert binomtest(drawn.count(number), len(drawn), share).pvalue > 0.001


def test_a_choice_has_the_confidence_and_its_share_of_the_rest() -> None:
    rng = np.random.default_rng(3)
    drawn = [draw_near(KIND, "b", 0.5, rng) for _ in range(4000)]
    shares = {"a": 0.125, "b": 0.625, "c": 0.125, "d": 0.125}
    for choice, share in shares.items():
        assert binomtest(drawn.count(choice), len(drawn), share).pvalue > 0.001
        assert density_near(KIND, choice, "b", 0.5, 1.0) == share


def test_a_mutation_takes_another_choice_or_a_step() -> None:
    rng = np.random.default_rng(4)
    choices = [draw_other(KIND, "b", rng) for _ in range(3000)]
    assert set(choices) == {"a", "c", "d"}
    assert binomtest(choices.count("a"), 3000, 1 / 3).pvalue > 0.001
    rates = [position(draw_other(RATE, 1e-3, rng)) for _ in range(3000)]
    assert kstest(rates, truncnorm(-0.5 / STEP, 0.5 / STEP, 0.5, STEP).cdf).pvalue > 0.01
    assert draw_other(CategoricalDistribution(("only",)), "only", rng) == "only"


# Shares --------------------------------------------------------------------------------------------------------


def test_before_any_trial_completes_a_share_is_uniform_and_the_rest_is_around_the_recipe() -> None:
    drawn = draw(optuna.create_study(sampler=sampler()), 3000)
    normal = truncnorm(-1, 1, 0.5, 0.5)
    weights = truncnorm(-0.5, 1.5, 0.25, 0.5)
    assert kstest(
        [position(one["rate"]) for one in drawn], lambda x: UNIFORM * x + (1 - UNIFORM) * normal.cdf(x)
    ).pvalue > 0.01  # fmt: skip
    assert kstest(
        [one["weight"] / 10 for one in drawn], lambda x: UNIFORM * x + (1 - UNIFORM) * weights.cdf(x)
    ).pvalue > 0.01  # fmt: skip
    kept = sum(one["kind"] == "b" for one in drawn)
    assert binomtest(kept, len(drawn), UNIFORM * 0.25 + (1 - UNIFORM) * 0.625).pvalue > 0.001


def test_the_uniform_share_ignores_full_confidence() -> None:
    drawn = draw(optuna.create_study(sampler=sampler(confidence=1.0)), 2000)
    # Within three standard deviations of the recipe lie 6% of uniform rates and all others.
    far = sum(abs(position(one["rate"]) - 0.5) > 0.03 for one in drawn)
    assert binomtest(far, len(drawn), UNIFORM * 0.94 + (1 - UNIFORM) * 0.0027).pvalue > 0.001


@pytest.mark.parametrize("stopped", [0, 29, 59])
def test_the_recipes_share_fades_with_the_trials_that_ended(stopped: int) -> None:
    # A complete trial at the recipe itself: both densities are known there.
    one = sampler(confidence=0.5)
    study = study_of(one, (RECIPE, [1.0]), stopped=stopped)
    ended = stopped + 1
    around_recipe = truncnorm(-1, 1, 0.5, 0.5).pdf(0.5) * truncnorm(-0.5, 1.5, 0.25, 0.5).pdf(0.25) * 0.625
    around_best = truncnorm(-2, 2, 0.5, STEP).pdf(0.5) * truncnorm(-1, 3, 0.25, STEP).pdf(0.25) * (1 - CHANGED * 0.75)
    expected = math.exp(-((ended / FADING) ** 2)) * around_recipe / (around_recipe + around_best)
    assert one.prior_share(study.trials[:1], ended) == pytest.approx(expected)


def test_a_recipe_far_from_the_best_trials_loses_its_share() -> None:
    def share(rate: float, kind: str) -> float:
        one = sampler(confidence=0.75)
        best = [({"rate": rate, "weight": 2.5, "kind": kind}, [float(number)]) for number in range(6)]
        return one.prior_share(study_of(one, *best).trials, 6)

    near, far = share(1e-3, "b"), share(9e-3, "d")
    # All lie at the best trial; the recipe's density there falls with the distance and the other choice.
    fall = math.exp(-((position(9e-3) - 0.5) ** 2) / (2 * 0.25**2)) * 0.0625 / 0.8125
    assert far < 1.5 * near * fall
    assert near > 0.3


def test_the_rest_mutates_the_best_trial_or_is_left_to_tpe() -> None:
    best = {"rate": 7e-3, "weight": 9.0, "kind": "d"}
    study = study_of(sampler(), (best, [1.0]), (RECIPE, [2.0]), stopped=165)  # the recipe has faded
    drawn = draw(study, 400)
    kept = [sum(one[name] == value for name, value in best.items() if name != "kind") for one in drawn]
    # Of three dimensions, each stays with 1 - CHANGED, but never all: one that would is changed after all. Both ranges
    # stay with (1 - CHANGED)^2 CHANGED and, where the choice is changed after all, (1 - CHANGED)^3 / 3.
    stay = 1 - CHANGED
    both = stay**2 * CHANGED + stay**3 / 3
    assert binomtest(kept.count(2), len(drawn), (1 - UNIFORM) * MUTATIONS * both).pvalue > 0.001
    one = 2 * stay * CHANGED + 2 * stay**3 / 3
    assert binomtest(kept.count(1), len(drawn), (1 - UNIFORM) * MUTATIONS * one).pvalue > 0.001


# Two objectives ------------------------------------------------------------------------------------------------


def test_with_two_objectives_the_best_trial_follows_its_tags() -> None:
    deaf, winner = {"rate": 2e-4, "weight": 1.0, "kind": "a"}, {"rate": 8e-3, "weight": 8.0, "kind": "c"}
    poor = {"rate": 4e-3, "weight": 5.0, "kind": "d"}
    study = study_of(sampler(), (deaf, [1.0, 0.2]), (winner, [2.0, 0.9]), (poor, [3.0, 0.8]), stopped=165)
    # The floor is 0.72: the lowest distance is below it, and the third is above it but worse.
    assert [trial.number for trial in order_trials(study, study.trials[:3])] == [1, 2, 0]
    drawn = draw(study, 500)
    rates = [one["rate"] for one in drawn]
    assert rates.count(4e-3) == 0
    # The front has the first two. A rate stays with 1 - CHANGED, or if all stay and another one is changed after all.
    stays = (1 - CHANGED) - (1 - CHANGED) ** 3 / 3
    for rate, share in ((2e-4, FRONT / 2), (8e-3, 1 - FRONT / 2)):
        assert binomtest(rates.count(rate), len(drawn), (1 - UNIFORM) * MUTATIONS * stays * share).pvalue > 0.001


@pytest.mark.parametrize(
    ("minimum", "accuracy", "order"),
    [
        (None, None, [1, 0, 2]), (0.65, None, [1, 2, 0]), (0.1, None, [0, 1, 2]), (0, None, [0, 1, 2]),
        (0.95, None, [0, 1, 2]), (None, 0.95, [1, 0, 2]), (None, 0.8, [1, 2, 0]), (None, 0.2, [0, 1, 2]),
        (0.65, 0.2, [1, 2, 0]),
    ],
)  # fmt: skip
def test_the_best_trial_reaches_the_floor_that_is_asked_for(
    minimum: float | None, accuracy: float | None, order: list[int]
) -> None:
    """Distances 1 to 3 with tag accuracies 0.2, 0.9 and 0.7; the default floor is 0.8 of 0.9, or of the tag
    classifier's accuracy if that is smaller.
    """
    trials = [({**RECIPE, "rate": rate}, [distance, accuracy])
              for rate, distance, accuracy in ((2e-4, 1.0, 0.2), (8e-3, 2.0, 0.9), (4e-3, 3.0, 0.7))]  # fmt: skip
    limit = functools.partial(Expected, accuracy)
    made = PriorSampler(DISTRIBUTIONS, RECIPE, 0, 0.5, min_tag_accuracy=minimum, expected=limit)
    study = study_of(made, *trials, stopped=165)
    assert [trial.number for trial in order_trials(study, study.trials[:3], minimum, limit)] == order
    rates = [one["rate"] for one in draw(study, 200)]
    winner, other = (trials[place][0]["rate"] for place in ((1, 0) if order[0] else (0, 1)))
    assert rates.count(winner) > 2 * rates.count(other)


def test_an_accuracy_near_chance_is_no_floor() -> None:
    """Chance is 0.2, and accuracies are 0.21 and 0.15: on 2,048 images 0.21 is within its noise, on 10^6 it is not."""
    study = study_of(sampler(), *[({**RECIPE, "rate": rate}, [distance, accuracy])
                                  for rate, distance, accuracy in ((2e-4, 2.0, 0.21), (8e-3, 1.0, 0.15))])  # fmt: skip
    limit = functools.partial(Expected, 0.9, 0.2)
    order = {samples: [one.number for one in order_trials(study, study.trials, None, limit, samples)]
             for samples in (2048, 10**6)}  # fmt: skip
    assert order == {2048: [1, 0], 10**6: [0, 1]}


def test_what_limits_tag_accuracies_in_a_sweep_reaches_the_rule_of_its_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def order(study: optuna.Study, complete: Any, minimum: Any, expected: Any, samples: Any) -> list[Any]:
        seen.append((minimum, expected(), samples))
        return []

    monkeypatch.setattr("pipeline.search.prior_sampler.order_trials", order)
    limit = Expected(0.9, 0.2)
    made = make_sampler("prior", 0, SMALL, min_tag_accuracy=0.4, expected=lambda: limit, samples=2048)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=made)
    for _ in range(30):
        study.ask(distributions(SMALL))
    assert set(seen) == {(0.4, limit, 2048)}


def test_the_floor_of_a_sweep_is_that_of_its_sampler() -> None:
    made = [make_sampler("prior", 0, SMALL, min_tag_accuracy=minimum) for minimum in (None, 0.4)]
    assert [one.min_tag_accuracy for one in made if isinstance(one, PriorSampler)] == [None, 0.4]


# What a suggestion depends on ----------------------------------------------------------------------------------


def test_a_new_process_suggests_what_the_first_would_have() -> None:
    count = 30
    whole = course_of(restart=False, count=count)
    assert course_of(restart=True, count=count) == whole
    assert len({tuple(params.items()) for params in whole}) > count - 3


def course_of(*, restart: bool, count: int) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=make_sampler("prior", 0, SMALL), directions=["minimize", "maximize"])
    asked = []
    for number in range(count):
        if restart:
            study.sampler = make_sampler("prior", 0, SMALL, known=len(study.trials))
        trial = study.ask()
        asked.append(SMALL.sample(trial))
        if number % 3 == 1:
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 5:  # every fifth stays running
            study.tell(trial, [scores(asked[-1])[name] for name in ("distance", "tag_accuracy")])
    return asked


def test_a_trial_whose_driver_died_while_it_drew_is_drawn_the_same() -> None:
    study = optuna.create_study(sampler=make_sampler("prior", 3, SMALL), directions=["minimize", "maximize"])
    trial = study.ask()
    whole = SMALL.sample(trial)
    again = make_sampler("prior", 3, SMALL)
    frozen = study.trials[0]
    again.infer_relative_search_space(study, frozen)
    for name, distribution in reversed(list(frozen.distributions.items())):  # whatever was drawn before
        assert again.sample_independent(study, frozen, name, distribution) == whole[name]


def test_stopped_and_failed_trials_leave_the_search_around_the_recipe() -> None:
    study = optuna.create_study(sampler=sampler(confidence=1.0))
    for state in (TrialState.PRUNED, TrialState.FAIL) * 25:
        study.add_trial(create_trial(state=state, params={**RECIPE, "rate": 5e-3}, distributions=DISTRIBUTIONS))
    near = sum(abs(position(one["rate"]) - 0.5) < 0.03 for one in draw(study, 1000))
    assert binomtest(near, 1000, (1 - UNIFORM) * 0.9973 + UNIFORM * 0.06).pvalue > 0.001
