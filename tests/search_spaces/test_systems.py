"""The spaces around B to G: recipes as reported, and draws that can all be built and trained."""

import dataclasses
import math

import optuna
import pytest
import torch
from optuna.samplers import RandomSampler

from search_spaces.registry import SPACES, find_space
from tests.support.tiny import PAIR, random_data, random_labels
from trainables.config import TRANSLATING, GanConfig
from trainables.data.tags import combinations
from trainables.systems.build import build_system
from trainables.systems.system import System
from trainables.training.loop import TrainingData, TrainingLoop

REPORTED = {
    "srresnet_acgan": {
        "image_size": 96, "generator.architecture": "srresnet", "generator.noise_dim": 100, "generator.width": 64,
        "generator.blocks": 16, "generator.final_activation": "tanh", "tags.encoding": "one_hot",
        "discriminator.architecture": "srresnet", "discriminator.conditioning": "multilabel",
        "discriminator.width": 32, "losses.adversarial": "bce", "losses.labels": "hard", "losses.penalty": "dragan",
        "losses.tag_loss_on_fakes": False, "training.batch_size": 64, "training.flip": True, "training.rotate": 5.0,
        "updates.generator_steps": 1, "updates.discriminator_steps": 1,
    },
    "matching_wgan": {
        "image_size": 64, "generator.architecture": "matching", "generator.noise_dim": 40,
        "tags.encoding": "one_hot_unknown", "generator.first_layer": "dense", "generator.width": 16,
        "generator.norm": "none", "generator.init": "lecun", "generator.final_activation": "sigmoid",
        "discriminator.architecture": "matching", "discriminator.conditioning": "map", "discriminator.width": 64,
        "discriminator.activation": "relu", "discriminator.dropout": 0.2, "discriminator.norm": "none",
        "discriminator.init": "lecun", "losses.adversarial": "wgan", "losses.penalty": "wgan_gp",
        "losses.penalty_on_tags": True, "losses.wrong_tag_weight": 0.5, "optimizer.name": "adam",
        "optimizer.generator_lr": 2e-4, "optimizer.discriminator_lr": 2e-4, "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.9,
    },
    "cdcgan": {
        "image_size": 64, "generator.architecture": "dense", "generator.noise_dim": 100, "generator.norm": "batch",
        "tags.encoding": "one_hot_none", "discriminator.architecture": "dcgan", "discriminator.conditioning": "concat",
        "discriminator.activation": "relu", "discriminator.norm": "batch", "losses.wrong_tags": "balanced",
        "optimizer.name": "adam", "optimizer.generator_lr": 2e-4, "optimizer.discriminator_lr": 2e-4,
        "training.batch_size": 64, "updates.generator_steps": 1, "updates.discriminator_steps": 1,
    },
    "dcgan": {
        "image_size": 64, "generator.architecture": "dcgan", "generator.conditioning": "none",
        "discriminator.conditioning": "none", "generator.noise_dim": 100, "generator.width": 64,
        "generator.bias": False, "generator.dropout": 0.0, "generator.final_activation": "tanh",
        "discriminator.width": 64, "discriminator.bias": False, "discriminator.activation": "leaky_relu",
        "losses.adversarial": "bce", "losses.labels": "hard", "optimizer.name": "adam",
        "optimizer.generator_lr": 2e-5, "optimizer.discriminator_lr": 2e-5, "optimizer.beta1": 0.5,
        "optimizer.beta2": 0.999, "training.batch_size": 64, "updates.generator_steps": 1,
        "updates.discriminator_steps": 1,
    },
    "combo_dcgan": {
        "image_size": 64, "generator.architecture": "dcgan", "generator.conditioning": "code", "tags.encoding": "pairs",
        "discriminator.conditioning": "combo", "generator.noise_dim": 100, "losses.adversarial": "bce",
        "losses.wrong_tags": "none", "optimizer.name": "adam", "optimizer.generator_lr": 2e-5,
        "optimizer.discriminator_lr": 2e-5, "optimizer.beta1": 0.5, "optimizer.beta2": 0.999,
        "training.batch_size": 64, "updates.generator_steps": 1, "updates.discriminator_steps": 1,
    },
    "wgan_gp": {
        "image_size": 64, "generator.architecture": "dcgan", "generator.conditioning": "none",
        "discriminator.conditioning": "none", "generator.bias": False, "discriminator.bias": False,
        "discriminator.norm": "batch", "losses.adversarial": "wgan", "losses.penalty": "wgan_gp",
        "losses.penalty_weight": 10.0, "losses.penalty_on_tags": False, "optimizer.name": "rmsprop",
        "optimizer.generator_lr": 2e-4, "optimizer.discriminator_lr": 2e-4, "updates.generator_steps": 1,
        "updates.discriminator_steps": 1,
    },
    "cyclegan": {
        "generator.blocks": 6, "generator.norm": "batch", "discriminator.norm": "batch",
        "discriminator.activation": "leaky_relu", "losses.adversarial": "lsgan", "losses.labels": "hard",
        "losses.penalty": "none", "losses.cycle_weight": 10.0, "losses.identity_weight": 5.0,
        "training.pool_size": 50, "optimizer.name": "adam", "optimizer.generator_lr": 2e-4,
        "optimizer.discriminator_lr": 2e-4, "optimizer.beta1": 0.5, "optimizer.beta2": 0.999,
        "updates.generator_steps": 1, "updates.discriminator_steps": 1,
    },
    "stargan": {"losses.adversarial": "wgan", "losses.penalty": "wgan_gp", "losses.tag_loss_on_fakes": False},
}  # fmt: skip
"""SYSTEMS.md; what it leaves open stands in the notes of each space."""
OURS = {
    "srresnet_acgan": (
        "discriminator.init",
        "optimizer.generator_lr",
        "optimizer.beta1",
        "losses.penalty_weight",
        "losses.adversarial_weight",
    ),
    "matching_wgan": ("losses.penalty_weight", "updates.discriminator_steps"),
    "cdcgan": ("generator.width", "discriminator.width", "optimizer.beta1"),
    "cyclegan": ("image_size", "generator.width", "discriminator.width", "training.batch_size", "optimizer.decay"),
    "stargan": (
        "generator.blocks",
        "discriminator.init",
        "losses.cycle_weight",
        "losses.tag_weight",
        "updates.discriminator_steps",
        "optimizer.beta1",
    ),
}
SMALL = {
    "image_size": 16, "generator.width": 2, "generator.noise_dim": 4, "generator.blocks": 1, "discriminator.width": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", REPORTED)
def test_recipes_are_the_reports(name) -> None:
    recipe = SPACES[name].recipe
    assert {key: recipe[key] for key in REPORTED[name]} == REPORTED[name]
    assert recipe["system"] == name
    assert recipe["training.ema_decay"] == 0
    assert not recipe["training.diff_augment"]


@pytest.mark.parametrize("name", OURS)
def test_what_a_report_leaves_open_is_marked_as_ours(name) -> None:
    notes = SPACES[name].notes
    assert all(notes[key].startswith("ours") for key in OURS[name])
    assert not set(notes) & {key for key in REPORTED[name] if key not in ("updates.discriminator_steps",)}


@pytest.mark.parametrize(
    ("name", "tricks"),
    [
        (
            "srresnet_acgan",
            {"discriminator.conditioning": {"multilabel", "concat"}, "losses.penalty": {"dragan", "none"},
             "discriminator.spectral_norm": {True, False}, "generator.architecture": {"srresnet", "dcgan"},
             "discriminator.architecture": {"srresnet", "dcgan"}},
        ),
        (
            "matching_wgan",
            {"losses.adversarial": {"wgan", "bce"}, "generator.init": {"lecun", "normal"},
             "generator.first_layer": {"dense", "convolution"}, "losses.wrong_tags": {"data", "balanced"},
             "generator.final_activation": {"sigmoid", "tanh"}},
        ),
        (
            "cdcgan",
            {"losses.wrong_tags": {"data", "balanced"}, "discriminator.conditioning": {"concat", "map"}},
        ),
        (
            "dcgan",
            {"updates.discriminator_steps": {1, 3}, "generator.dropout": {0.0, 0.5},
             "losses.labels": {"hard", "noisy"}},
        ),
        ("wgan_gp", {"losses.adversarial": {"wgan", "lsgan"}, "losses.weight_clip": {0.0, 0.01}}),
        (
            "cyclegan",
            {"losses.adversarial": {"lsgan", "bce", "wgan"}, "generator.norm": {"batch", "instance"},
             "discriminator.norm": {"batch", "instance"}, "generator.blocks": {6, 9}, "training.pool_size": {50, 0}},
        ),
        ("stargan", {"losses.adversarial": {"wgan", "lsgan"}}),
    ],
)  # fmt: skip
def test_the_tricks_of_a_report_are_choices(name, tricks) -> None:
    for key, values in tricks.items():
        assert values <= set(SPACES[name].dimension(key).choices)


def test_cyclegan_never_penalises_gradients_of_images_that_batch_norm_ties_together() -> None:
    drawn = draws("cyclegan", 100)
    penalised = [params for params in drawn if params["losses.adversarial"] == "wgan"]
    assert {(params["losses.penalty"], params["discriminator.norm"]) for params in penalised} == {
        ("wgan_gp", "instance")
    }
    others = [params for params in drawn if params["losses.adversarial"] != "wgan"]
    assert {params["discriminator.norm"] for params in others} == {"batch", "instance"}
    assert len(penalised) > 10


def test_update_ratios_of_d_are_searched_both_ways() -> None:
    space = SPACES["cdcgan"]
    for key in ("updates.generator_steps", "updates.discriminator_steps"):
        assert space.dimension(key).low == 1
        assert space.dimension(key).high >= 2
    drawn = draws("cdcgan", 100)
    ratios = {(params["updates.generator_steps"], params["updates.discriminator_steps"]) for params in drawn}
    assert {(2, 1), (1, 2), (1, 1)} <= ratios
    assert all(1 in ratio for ratio in ratios)


@pytest.mark.parametrize("name", [name for name in SPACES if name != "acgan"])
def test_every_dimension_has_a_claim_and_trial_zero_is_the_recipe(name) -> None:
    space = SPACES[name]
    assert all(dimension.claim.strip() for dimension in space.dimensions)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(space.active_defaults())
    assert space.sample(study.ask()) == space.recipe


def draws(name: str, count: int, seed: int = 0) -> list[dict]:
    """Complete parameters at tiny widths, as a search would draw them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = SPACES[name]
    for key, value in SMALL.items():
        if name not in TRANSLATING or key != "generator.noise_dim":
            space = space.without(key, value)
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return [space.sample(study.ask()) for _ in range(count)]


def build(params: dict, data: TrainingData) -> System:
    """A translation changes the eyes, dark or light."""
    torch.manual_seed(0)
    config = GanConfig.from_params(params)
    pairs = combinations(data.tags.numpy()) if config.tags.encoding == "pairs" else ()
    return build_system(config, PAIR.sizes, (1,), pairs)


@pytest.mark.parametrize("name", SPACES)
def test_every_draw_is_complete_valid_and_builds_networks_that_draw(name) -> None:
    data = random_data()
    translates = name in TRANSLATING
    for params in draws(name, 200):
        system = build(params, data)
        assert system.config.to_params() == params
        labels = torch.from_numpy(random_labels(2))
        with torch.no_grad():
            images = system.generator(torch.randn(2, 3, 16, 16) if translates else torch.randn(2, 4), labels)
            assert images.shape == (2, 3, 16, 16)
            if name == "cyclegan":
                judged = [tag_classifier(images) for tag_classifier in system.discriminator]
            else:
                judged = [system.discriminator(*((images,) if translates else (images, system.encode(labels))))]
            # 16 px: 6 x 6 patches of H, 4 x 4 places of I
            shape = {"cyclegan": (2, 6, 6), "stargan": (2, 4, 4)}.get(name, (2,))
            assert [one.realness.shape for one in judged] == [shape] * len(judged)


STEPS = [("anything", 50), ("anything_unconditional", 20), ("cyclegan", 20), ("stargan", 20)]


@pytest.mark.parametrize(("name", "count"), STEPS)
def test_random_draws_take_one_step_with_finite_losses_and_gradients(name, count) -> None:
    for params in draws(name, count, seed=1):
        data = random_data(masked=5 if params["training.extra_data"] else 0)
        if name == "cyclegan":
            domains = tuple((data.labels[:, 1] == label).nonzero()[:, 0] for label in range(2))
            data = dataclasses.replace(data, domains=domains)
        system = build({**params, "training.batch_size": 4}, data)
        figures = TrainingLoop(system, data, system.config).train_until(4)
        assert all(math.isfinite(value) for value in figures.values()), params
        for network in (system.generator, system.discriminator):
            for key, parameter in network.named_parameters():
                assert parameter.isfinite().all(), (key, params)
        assert figures["d_gradient_norm"] > 0, params
        assert figures["g_gradient_norm"] > 0, params


@pytest.mark.parametrize("name", ["anything", "anything_unconditional"])
def test_a_wasserstein_critic_has_its_penalty_or_clipped_weights_and_no_other_is_clipped(name) -> None:
    drawn = draws(name, 240)
    critics = [params for params in drawn if params["losses.adversarial"] == "wgan"]
    others = [params for params in drawn if params["losses.adversarial"] != "wgan"]
    assert len(critics) > 25
    held = {(params["losses.penalty"], params["losses.weight_clip"]) for params in critics}
    assert held == {("wgan_gp", 0.0), ("none", 0.01)}
    clipped = {params["discriminator.architecture"] for params in critics if params["losses.weight_clip"]}
    assert clipped == {"dcgan", "matching"}
    assert {params["losses.labels"] for params in critics} == {"hard"}
    assert {params["losses.penalty"] for params in others} == {"none", "wgan_gp", "dragan", "r1", "r1_r2"}
    assert {params["losses.weight_clip"] for params in others} == {0.0}


def test_weight_clipping_takes_the_place_of_gs_penalty() -> None:
    critics = [params for params in draws("wgan_gp", 100) if params["losses.adversarial"] == "wgan"]
    held = {(params["losses.penalty"], params["losses.weight_clip"]) for params in critics}
    assert held == {("wgan_gp", 0.0), ("none", 0.01)}


class Asked:
    """Stands in for an Optuna trial: answers as a recipe says, where the space has that answer."""

    def __init__(self, recipe: dict, **others: str) -> None:
        self.recipe = {**recipe, **others}

    def suggest_int(self, name, low, high, *, log=False):
        assert low <= self.recipe[name] <= high, name
        return self.recipe[name]

    suggest_float = suggest_int

    def suggest_categorical(self, name, choices):
        assert self.recipe[name] in choices, name
        return self.recipe[name]


@pytest.mark.parametrize(
    ("merged", "name"),
    [
        *(
            ("anything", name)
            for name in ("acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "combo_dcgan", "lightgan", "r3gan")
        ),
        ("anything_unconditional", "dcgan"),
        ("anything_unconditional", "wgan_gp"),
        ("anything_unconditional", "lightgan"),
        ("anything_unconditional", "r3gan"),
    ],
)
def test_the_recipe_of_every_system_is_a_point_of_the_merged_space(merged, name) -> None:
    recipe = SPACES[name].recipe
    said = {} if merged == "anything" else {"system": "custom"}
    if merged != "anything" and SPACES[name].recipe["generator.conditioning"] != "none":
        said |= {"generator.conditioning": "none", "discriminator.conditioning": "none"}
        said |= {"generator.embedding_dim": 8, "losses.tag_weight": 1.0}
    reached = SPACES[merged].sample(Asked(recipe, **said))
    # The size of images is the sweep's, not a trial's.
    assert {**reached, "image_size": 0} == {**recipe, **said, "image_size": 0}


TRICKS = {
    "generator.oversize": {True, False}, "generator.norm": {"batch", "conditional_batch", "instance", "layer", "none"},
    "losses.tag_loss_on_fakes": {True, False}, "discriminator.dropout": {0.0, 0.2},
    "discriminator.activation": {"leaky_relu", "relu"}, "optimizer.decay": {"none", "linear", "cosine"},
    "optimizer.beta2": {0.9, 0.99, 0.999}, "generator.upsampling": {"nearest", "bilinear"},
    "losses.penalty_every": {1, 8, 16}, "losses.penalty_decay": {"none", "cosine"},
    "training.augment_target": {0.0, 0.6},
    "optimizer.beta2_final": {0.0, 0.99}, "training.augment_schedule": {"constant", "cosine"},
    "training.ema_halflife": {0.0, 1.0, 500.0}, "training.ema_decay": {0.0, 0.99, 0.998, 0.999},
}  # fmt: skip


def test_anything_searches_every_trick_where_it_has_an_effect() -> None:
    drawn = draws("anything", 300)
    for key, values in TRICKS.items():
        assert {params[key] for params in drawn} == values
    for key, other, allowed in [
        ("generator.oversize", "generator.architecture", {"acgan", "dcgan", "dense"}),
        ("losses.tag_loss_on_fakes", "discriminator.conditioning", {"acgan", "multilabel"}),
        ("losses.wrong_tag_weight", "losses.wrong_tags", {"data", "balanced"}),
        ("losses.penalty_noise", "losses.penalty", {"dragan"}),
        ("losses.penalty_decay", "losses.penalty", {"wgan_gp", "dragan", "r1", "r1_r2"}),
        ("training.augment_schedule", "training.diff_augment", {True}),
        ("losses.penalty_every", "losses.penalty", {"r1", "r1_r2"}),
        ("updates.split_discriminator", "losses.adversarial", {"bce", "lsgan", "wgan", "hinge"}),
    ]:
        standard = SPACES["anything"].recipe[key]
        assert {params[other] for params in drawn if params[key] != standard} == allowed


@pytest.mark.parametrize("name", ["acgan", "anything", "anything_unconditional"])
def test_decay_of_the_learning_rates_is_searched(name) -> None:
    assert {params["optimizer.decay"] for params in draws(name, 40)} >= {"none", "linear"}


def test_anything_reaches_every_part_of_the_conditional_systems() -> None:
    drawn = draws("anything", 200)
    for key, values in {
        "system": {"acgan", "srresnet_acgan", "matching_wgan", "cdcgan", "combo_dcgan", "lightgan", "r3gan", "custom"},
        "generator.architecture": {"acgan", "dcgan", "dense", "matching", "srresnet", "resize", "r3gan"},
        "discriminator.architecture": {"dcgan", "matching", "srresnet", "unshuffle", "r3gan"},
        "discriminator.conditioning": {"acgan", "multilabel", "concat", "map", "combo", "projection", "product"},
        "losses.adversarial": {"bce", "lsgan", "wgan", "hinge", "relativistic"},
        "losses.wrong_tags": {"none", "data", "balanced"},
        "tags.encoding": {"one_hot", "one_hot_unknown", "one_hot_none", "pairs"},
        "losses.penalty_on_tags": {True, False},
    }.items():
        assert {params[key] for params in drawn} == values


def test_a_system_of_anything_brings_its_own_networks_and_custom_mixes_them() -> None:
    drawn = draws("anything", 300)
    networks = {}
    for params in drawn:
        pair = (params["generator.architecture"], params["discriminator.architecture"])
        networks.setdefault(params["system"], set()).add(pair)
    mixed = networks.pop("custom")
    # The pairs as the reports give them, from each system's own recipe.
    own = {name: find_space(name).recipe for name in networks}
    assert networks == {
        name: {(recipe["generator.architecture"], recipe["discriminator.architecture"])} for name, recipe in own.items()
    }
    assert len(mixed) > 8
