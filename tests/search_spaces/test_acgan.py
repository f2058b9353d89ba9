"""Space A: the report's recipe, and draws that can all be built."""

from collections import Counter

import optuna
import pytest
import torch
from optuna.samplers import RandomSampler

from search_spaces.acgan import ACGAN
from tests.support.tiny import PAIR, random_labels
from trainables.config import GanConfig
from trainables.systems.conditional import ConditionalGan

# SYSTEMS.md, A. What the report leaves open, and is ours, has its own list.
REPORTED = {
    "image_size": 64,
    "generator.width": 64,
    "generator.noise_dim": 256,
    "generator.embedding_dim": 8,
    "generator.embedding_noise": 0.1,
    "generator.norm_momentum": 0.5,
    "generator.final_norm": False,
    "generator.final_activation": "tanh",
    "generator.oversize": False,
    "discriminator.width": 64,
    "discriminator.conditioning": "acgan",
    "discriminator.norm_momentum": 0.5,
    "losses.labels": "soft",
    "updates.generator_steps": 1,
    "updates.discriminator_steps": 1,
    "updates.split_discriminator": True,
    "training.extra_data": False,
}
OURS = {
    "losses.adversarial_weight", "losses.tag_weight", "losses.tag_loss_on_fakes", "optimizer.generator_lr",
    "optimizer.discriminator_lr", "optimizer.beta1", "optimizer.beta2", "training.batch_size", "training.ema_decay",
    "training.flip",
}  # fmt: skip
SMALL = {"image_size": 16, "generator.width": 2, "discriminator.width": 2}


@pytest.fixture(scope="module")
def draws() -> list[tuple[dict, dict]]:
    """200 times: what Optuna drew, and the complete parameters."""
    space = ACGAN
    for name, value in SMALL.items():
        space = space.without(name, value)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    trials = [study.ask() for _ in range(200)]
    return [(trial.params, params) for trial in trials for params in [space.sample(trial)]]


@pytest.fixture(scope="module")
def sampled() -> list[dict]:
    """What Optuna drew from the whole space."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    trials = [study.ask() for _ in range(200)]
    for trial in trials:
        ACGAN.sample(trial)
    return [trial.params for trial in trials]


def test_the_recipe_is_the_reports() -> None:
    assert {name: ACGAN.recipe[name] for name in REPORTED} == REPORTED


def test_what_the_report_leaves_open_is_marked_as_ours() -> None:
    assert set(ACGAN.notes) == OURS
    assert all(note.startswith("ours") for note in ACGAN.notes.values())
    assert not OURS & set(REPORTED)


def test_every_trick_of_the_report_is_a_dimension() -> None:
    tricks = {
        "generator.width": (16, 64), "discriminator.conditioning": ("concat", "acgan"),
        "generator.final_norm": (False, True), "generator.final_activation": ("tanh", "leaky_relu"),
        "generator.embedding_noise": (0.05, 0.1), "generator.embedding_dim": (4, 8),
        "generator.noise_dim": (128, 256), "generator.oversize": (False, True), "losses.labels": ("hard", "soft"),
        "training.extra_data": (False, True),
    }  # fmt: skip
    for name, values in tricks.items():
        assert set(values) <= set(ACGAN.dimension(name).choices)
    steps = ACGAN.dimension("updates.generator_steps")
    assert (steps.low, steps.high, steps.kind) == (1, 4, "int")
    for name in ("losses.adversarial_weight", "losses.tag_weight"):
        assert ACGAN.dimension(name).low < 1 < ACGAN.dimension(name).high


def test_each_dimension_has_a_claim_and_each_claim_of_a_a_dimension() -> None:
    assert all(dimension.claim.strip() for dimension in ACGAN.dimensions)
    numbers = {dimension.claim.split()[0] for dimension in ACGAN.dimensions}
    assert {"1", "2", "3", "4", "5", "6", "7", "8", "9a", "10", "11"} <= numbers


def test_every_draw_is_complete_valid_and_builds_networks_that_draw(draws) -> None:
    for _, params in draws:
        config = GanConfig.from_params(params)
        assert config.to_params() == params
        system = ConditionalGan(config, PAIR.sizes)
        labels = torch.from_numpy(random_labels(2))
        with torch.no_grad():
            images = system.generator(torch.randn(2, config.generator.noise_dim), labels)
            assert images.shape == (2, 3, 16, 16)
            assert system.discriminator(images, system.encode(labels)).realness.shape == (2,)


def test_conditions_hold(draws) -> None:
    kinds = Counter(params["discriminator.conditioning"] for _, params in draws)
    assert min(kinds["acgan"], kinds["concat"]) > 60
    for drawn, params in draws:
        conditional = {"losses.tag_weight", "losses.tag_loss_on_fakes"} & set(drawn)
        if params["discriminator.conditioning"] == "concat":
            assert not conditional
            assert (params["losses.tag_weight"], params["losses.tag_loss_on_fakes"]) == (1.0, False)
        else:
            assert len(conditional) == 2
        assert {name: params[name] for name in drawn} == drawn


def test_fixed_parameters_are_not_drawn(draws) -> None:
    for drawn, params in draws:
        assert not set(SMALL) & set(drawn)
        assert {name: params[name] for name in SMALL} == SMALL


def test_every_choice_and_both_ends_of_each_range_are_drawn(sampled) -> None:
    for dimension in ACGAN.dimensions:
        values = [drawn[dimension.name] for drawn in sampled if dimension.name in drawn]
        if dimension.choices:
            assert set(values) == set(dimension.choices)
        elif dimension.kind == "int":
            assert set(values) == {1, 2, 3, 4}
        else:
            middle = (dimension.low * dimension.high) ** 0.5  # on a log scale half of the draws lie below
            assert dimension.low <= min(values) < max(values) <= dimension.high
            assert 0.35 < sum(value < middle for value in values) / len(values) < 0.65


def test_trial_zero_is_the_recipe() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(ACGAN.active_defaults())
    trial = study.ask()
    assert ACGAN.sample(trial) == ACGAN.recipe
    assert trial.params == ACGAN.active_defaults()
    assert set(trial.params) == {dimension.name for dimension in ACGAN.dimensions}
    assert ACGAN.sample(study.ask()) != ACGAN.recipe


def test_trial_zero_under_concatenation_leaves_out_what_has_no_effect() -> None:
    space = ACGAN.with_default("discriminator.conditioning", "concat")
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(space.active_defaults())
    trial = study.ask()
    assert space.sample(trial) == space.recipe
    assert "losses.tag_weight" not in trial.params
