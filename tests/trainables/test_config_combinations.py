"""Combinations that cannot be built are refused with the reason, and their nearest neighbours are accepted."""

import pytest

from trainables.config import TRANSLATING, GanConfig
from trainables.errors import UsageError

TOLD = {"discriminator.conditioning": "concat", "generator.conditioning": "code", "losses.labels": "hard"}
TRANSLATED = {"losses.labels": "hard", "system": "stargan", **TRANSLATING["stargan"]}
PAIRED = {"losses.adversarial": "relativistic", "updates.split_discriminator": False}


@pytest.mark.parametrize(
    ("params", "repair", "says"),
    [
        ({"losses.adversarial_weight": 0.0}, {"losses.adversarial_weight": 0.001}, "losses.adversarial_weight is 0;"),
        ({"generator.conditioning": "none"}, {"discriminator.conditioning": "none"}, "both or neither"),
        ({"discriminator.conditioning": "none"}, {"discriminator.conditioning": "acgan"}, "both or neither"),
        (
            {"losses.adversarial": "wgan", "losses.labels": "hard"},
            {"losses.penalty": "wgan_gp"},
            "must be held to slope 1: use penalty wgan_gp, or weight_clip 0.01",
        ),
        (
            {"losses.adversarial": "wgan", "losses.labels": "hard", "losses.penalty": "r1"},
            {"losses.weight_clip": 0.01},
            "must be held to slope 1",
        ),
        (
            {"losses.adversarial": "wgan", "losses.labels": "hard", "losses.penalty": "dragan"},
            {"losses.adversarial": "hinge"},
            "must be held to slope 1",
        ),
        (
            {"losses.adversarial": "wgan", "losses.penalty": "wgan_gp", "losses.labels": "soft"},
            {"losses.labels": "hard"},
            "which has no targets; use labels hard",
        ),
        (
            {"losses.adversarial": "hinge", "losses.labels": "noisy"},
            {"losses.adversarial": "lsgan"},
            "which has no targets; use labels hard",
        ),
        (
            {**TOLD, "losses.penalty_on_tags": True},
            {"losses.penalty": "wgan_gp"},
            "it is for penalty wgan_gp and a discriminator that takes tags as input",
        ),
        (
            {**TOLD, "losses.penalty_on_tags": True, "losses.penalty": "dragan"},
            {"losses.penalty_on_tags": False},
            "it is for penalty wgan_gp",
        ),
        (
            {"losses.penalty_on_tags": True, "losses.penalty": "wgan_gp"},
            {"discriminator.conditioning": "projection"},
            "it is for penalty wgan_gp and a discriminator that takes tags as input",
        ),
        *(
            ({**TOLD, **PAIRED, **change}, {"losses.adversarial": "bce"}, "of the same tags in one step: use ")
            for change in (
                {"updates.split_discriminator": True},
                {"losses.wrong_tags": "data"},
                {"training.extra_data": True},
            )
        ),
        (
            {**PAIRED, **TRANSLATED},
            {"losses.adversarial": "bce"},
            "is 'relativistic' with system 'stargan'",
        ),
        (
            {
                "losses.labels": "hard",
                "system": "stargan",
                **TRANSLATING["stargan"],
                "generator.norm": "conditional_batch",
            },
            {"generator.norm": "instance"},
            "is 'conditional_batch' with system 'stargan'",
        ),
        ({**PAIRED, "losses.labels": "soft"}, {"losses.labels": "hard"}, "which has no targets"),
        ({"losses.wrong_tags": "balanced"}, {"discriminator.conditioning": "map"}, "which takes no tags as input"),
        (
            {"losses.wrong_tags": "data", "discriminator.conditioning": "multilabel"},
            {"losses.wrong_tags": "none"},
            "which takes no tags as input",
        ),
        (
            {**TOLD, "training.extra_data": True, "tags.encoding": "pairs"},
            {"tags.encoding": "one_hot_none"},
            "belongs to no pair",
        ),
        (
            {**TOLD, "training.extra_data": True, "tags.encoding": "pairs"},
            {"training.extra_data": False},
            "belongs to no pair",
        ),
        (
            {**TOLD, "training.extra_data": True, "tags.encoding": "pairs"},
            {"discriminator.conditioning": "acgan"},  # whose heads mask the missing tag, and no code is looked at
            "belongs to no pair",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_and_its_neighbour_is_not(params, repair, says) -> None:
    with pytest.raises(UsageError) as refusal:
        GanConfig.from_params(params)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
    GanConfig.from_params(params | repair)


@pytest.mark.parametrize(
    ("conditioning", "inputs"),
    [("acgan", False), ("multilabel", False), ("concat", True), ("map", True), ("combo", True), ("projection", True)],
)
def test_who_guesses_tags_and_who_is_told_them(conditioning, inputs) -> None:
    config = GanConfig.from_params({"discriminator.conditioning": conditioning})
    assert (config.conditional, config.tag_inputs) == (True, inputs)
    without = {"generator.conditioning": "none", "discriminator.conditioning": "none"}
    config = GanConfig.from_params(without)
    assert (config.conditional, config.tag_inputs) == (False, False)
