"""What a sweep takes from earlier ones, what the sampler makes of it, and that a misleading one costs little."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import RandomSampler
from optuna.trial import create_trial
from scipy.stats import binomtest, truncnorm

from analysis.errors import AnalysisUsageError
from pipeline.cli.main import main
from pipeline.home import Home
from pipeline.search import warm_start
from pipeline.search.prior_sampler import FADING, RECIPE, STEP, UNIFORM, PriorSampler
from pipeline.search.samplers import make_sampler
from pipeline.search.warm_start import PRIOR_FILE, Prior, keep_prior, resolve_prior, take_from
from pipeline.settings import SweepSettings
from tests.pipeline.search.test_samplers import SMALL
from tests.support.sweeps import make_sweep
from trainables.errors import UsageError, UserError

if TYPE_CHECKING:
    from analysis.mlflow_reader.sweep import Sweep

SPACE = {"dimensions": [one.to_json() for one in SMALL.dimensions]}
BASE = {
    "discriminator.conditioning": "acgan", "generator.width": 16, "losses.adversarial": "bce", "losses.penalty": "none",
    "losses.adversarial_weight": 1.0, "updates.generator_steps": 2, "updates.discriminator_steps": 1,
    "losses.tag_weight": 1.0,
}  # fmt: skip


def row(distance: float, accuracy: float = 0.9, status: str = "complete", **params: Any) -> dict[str, Any]:
    changed = {name.replace("__", "."): value for name, value in params.items()}
    return {
        "scores.distance": distance, "scores.tag_accuracy": accuracy, "status": status, "samples": 100.0,
        **{f"params.{name}": value for name, value in (BASE | changed).items()},
    }  # fmt: skip


def earlier(*rows: dict[str, Any], name: str = "first", space: dict[str, Any] | None = None) -> Sweep:
    return make_sweep(list(rows), name=name, space=space or SPACE, settings={"max_kimg": 40})


# What is taken -------------------------------------------------------------------------------------------------


def test_the_best_third_of_the_complete_trials_is_taken_by_the_winners_rule() -> None:
    """Trial 0 is the nearest and ignores its tags; trial 5 is nearer than all, but was stopped."""
    sweep = earlier(
        row(10, 0.1, generator__width=8), row(30, losses__tag_weight=2.0), row(20, losses__tag_weight=2.5),
        row(40), row(50), row(5, status="stopped", generator__width=32), row(60),
    )  # fmt: skip
    prior = take_from([sweep], SMALL)
    assert [one["losses.tag_weight"] for one in prior.configurations] == [2.5, 2.0]
    assert (prior.winners, len(prior.notes)) == (1, 1)
    # The eighth, updates.discriminator_steps, is inactive in both.
    assert prior.notes[0] == "--like first: 7 of 8 dimensions, from the best 2 of 6 complete trials"


def test_values_outside_the_space_are_left_out_and_counted() -> None:
    narrow = SMALL.with_range("losses.tag_weight", "0.5", "1.5").with_choices("generator.width", ["16", "32"])
    prior = take_from([earlier(row(10, generator__width=8, losses__tag_weight=2.0), row(20), row(30))], narrow)
    (one,) = prior.configurations
    assert not {"generator.width", "losses.tag_weight"} & set(one)
    assert one["losses.adversarial_weight"] == 1.0
    assert "values outside this space are left out: 1 of generator.width, 1 of losses.tag_weight" in prior.notes[0]


def test_inactive_and_fixed_parameters_are_not_taken() -> None:
    """The penalty has an effect with bce alone; the earlier sweep did not vary the width."""
    space = {"dimensions": [one for one in SPACE["dimensions"] if one["name"] != "generator.width"]}
    rows = (row(10, losses__adversarial="wgan", losses__penalty="r1", generator__width=32),)
    (one,) = take_from([earlier(*rows, space=space)], SMALL).configurations
    assert one["losses.adversarial"] == "wgan"
    assert not {"losses.penalty", "generator.width"} & set(one)


def test_several_sweeps_take_turns() -> None:
    first = earlier(*(row(at, losses__tag_weight=at / 10) for at in (10, 11, 12, 13, 14, 15)))
    second = earlier(row(900, losses__tag_weight=2.0), name="second")  # distances of other data do not compare
    prior = take_from([first, second], SMALL)
    assert [one["losses.tag_weight"] for one in prior.configurations] == [1.0, 2.0, 1.1]
    assert (prior.winners, len(prior.notes)) == (2, 2)


def test_sweeps_that_say_nothing_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="--like first: none of its 1 trials is complete; name"):
        take_from([earlier(row(10, status="stopped"))], SMALL)
    other = {"dimensions": [{"name": "optimizer.beta1"}]}
    with pytest.raises(UsageError, match=r"--like first: it varied no dimension of space small \(optimizer.beta1\)"):
        take_from([earlier(row(10), space=other)], SMALL)


def test_unknown_sweeps_and_other_samplers_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"run acgan --data {tmp_path} --name n --home {tmp_path} --like old".split()
    assert main([*words, "--sampler", "gp"]) == 2
    assert "--sampler is gp; --like needs prior: omit --sampler, or --like" in capsys.readouterr().err
    assert main(words) != 0
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    with pytest.raises(UsageError, match="--like is ' , '"):
        resolve_prior(SweepSettings("acgan", tmp_path, "n", like=" , "), SMALL, Home.find(tmp_path))


def test_the_sampler_is_chosen_by_the_option() -> None:
    def sampler(**options: Any) -> str:
        return SweepSettings("acgan", Path("d"), "n", **options).sampler

    assert (sampler(), sampler(like="old"), sampler(sampler="gp")) == ("tpe", "prior", "gp")
    assert sampler(like="old", sampler="prior") == "prior"


def test_the_prior_is_kept_with_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second start does not read the earlier sweep."""
    home, settings = Home.find(tmp_path), SweepSettings("acgan", Path("d"), "n", like="old, older")
    asked: list[str] = []

    def load(name: str, **where: Any) -> Sweep:
        asked.append(name)
        return earlier(row(10, losses__tag_weight=2.0), name=name)

    monkeypatch.setattr(warm_start, "load", load)
    first = resolve_prior(settings, SMALL, home)
    assert asked == ["old", "older"]
    home.sweep("n").mkdir(parents=True)
    keep_prior(first, home.sweep("n"))

    def gone(name: str, **where: Any) -> Sweep:
        raise AnalysisUsageError(name)

    monkeypatch.setattr(warm_start, "load", gone)
    assert resolve_prior(settings, SMALL, home) == first
    saved = json.loads((home.sweep("n") / PRIOR_FILE).read_text())
    assert saved["configurations"][0]["losses.tag_weight"] == 2.0
    (home.sweep("n") / PRIOR_FILE).write_text("{}")
    with pytest.raises(UserError, match=r"cannot read .*prior\.json"):
        resolve_prior(settings, SMALL, home)


# What the sampler makes of it ----------------------------------------------------------------------------------


def suggestions(count: int, *, prior: Prior | None, seed: int = 0) -> list[dict[str, Any]]:
    """Of a study in which no trial ends."""
    study = optuna.create_study(sampler=make_sampler("prior", seed, SMALL, prior_confidence=1.0, earlier=prior))
    study.enqueue_trial(SMALL.active_defaults())
    found = []
    for _ in range(count):
        trial = study.ask()
        SMALL.sample(trial)
        found.append(trial.params)
    return found


def test_the_first_trials_repeat_the_winners_and_the_next_stay_near() -> None:
    good = {**BASE, "discriminator.conditioning": "concat", "generator.width": 32, "losses.adversarial_weight": 3.0}
    other = {**BASE, "losses.adversarial": "wgan", "losses.adversarial_weight": 0.5}
    third = {**BASE, "generator.width": 8}
    drawn = suggestions(1200, prior=Prior((good, other, third), 2))
    assert drawn[0] == SMALL.active_defaults()
    assert drawn[1] == {n: good[n] for n in drawn[1]}
    assert drawn[2] == {n: other[n] for n in drawn[2]}
    assert (drawn[1]["generator.width"], drawn[2]["losses.adversarial"]) == (32, "wgan")
    assert "losses.tag_weight" not in drawn[1]
    assert "losses.penalty" not in drawn[2]
    # With full confidence choices stay: those of the first with 3/6 of what the recipe leaves, uniform ones aside.
    rest = drawn[3:]
    wide = sum(one["generator.width"] == 32 for one in rest)
    assert binomtest(wide, len(rest), UNIFORM / 4 + (1 - UNIFORM) * (1 - RECIPE) * 3 / 6).pvalue > 0.001
    small = sum(one["generator.width"] == 8 for one in rest)
    assert binomtest(small, len(rest), UNIFORM / 4 + (1 - UNIFORM) * (1 - RECIPE) * 1 / 6).pvalue > 0.001
    assert suggestions(40, prior=Prior((good, other, third), 2)) == drawn[:40]
    assert suggestions(40, prior=None) != drawn[:40]


def test_a_winner_equal_to_the_recipe_is_not_repeated() -> None:
    good = {**BASE, "generator.width": 32}
    assert suggestions(2, prior=Prior((BASE, good), 2))[1]["generator.width"] == 32


def test_earlier_configurations_far_from_the_best_trials_lose_their_share() -> None:
    """One range; the share is that of a mixture, RECIPE around the recipe and the rest around the earlier one."""
    ranges: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
    for at in (0.1, 0.8):
        one = PriorSampler(ranges, {"x": 0.5}, 0, 0.75, [{"x": 0.9}])
        trial = create_trial(params={"x": at}, distributions=ranges, value=1.0)

        def density(center: float, deviation: float, at: float = at) -> float:
            return float(truncnorm(-center / deviation, (1 - center) / deviation, center, deviation).pdf(at))

        known = RECIPE * density(0.5, 0.25) + (1 - RECIPE) * density(0.9, 0.25)
        expected = np.exp(-((1 / FADING) ** 2)) * known / (known + density(at, STEP))
        assert one.prior_share([trial], 1) == pytest.approx(expected)


# Recovery ------------------------------------------------------------------------------------------------------

NUMBERS = 5
RANGES: dict[str, BaseDistribution] = {
    **{f"x{place}": FloatDistribution(0.0, 1.0) for place in range(NUMBERS)},
    "kind": CategoricalDistribution(("a", "b", "c")),
}
MIDDLE = {**{f"x{place}": 0.5 for place in range(NUMBERS)}, "kind": "b"}
BEST = {**{f"x{place}": 0.85 for place in range(NUMBERS)}, "kind": "a"}
WRONG = {**{f"x{place}": 0.05 for place in range(NUMBERS)}, "kind": "c"}
RANDOM_TRIALS = 60


def loss(trial: optuna.Trial) -> float:
    """0 at ``BEST``."""
    numbers = sum((trial.suggest_float(f"x{place}", 0.0, 1.0) - 0.85) ** 2 for place in range(NUMBERS))
    return numbers + {"a": 0.0, "b": 0.15, "c": 0.3}[trial.suggest_categorical("kind", ["a", "b", "c"])]


def trials_until(target: float, sampler: PriorSampler, most: int = 2 * RANDOM_TRIALS) -> int:
    """Return the number of trials, the recipe first, until one is as good as the target."""
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial(MIDDLE)
    for count in range(1, most + 1):
        trial = study.ask()
        value = loss(trial)
        study.tell(trial, value)
        if value <= target:
            return count
    return most


def test_a_misleading_sweep_costs_little_and_a_good_one_saves_much() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bests = []
    for seed in range(15):
        study = optuna.create_study(sampler=RandomSampler(seed=seed))
        study.optimize(loss, n_trials=RANDOM_TRIALS)
        bests.append(study.best_value)
    target = statistics.median(bests)
    needed = {
        name: statistics.median(
            trials_until(target, PriorSampler(RANGES, MIDDLE, seed, 0.5, known, len(known))) for seed in range(9)
        )
        for name, known in {"wrong": [WRONG], "none": [], "near": [{**BEST, "x0": 0.6, "x1": 0.6, "kind": "b"}]}.items()
    }
    assert needed["wrong"] <= 1.5 * RANDOM_TRIALS
    assert needed["near"] < needed["none"]
    assert needed["near"] <= RANDOM_TRIALS / 3
