"""Combinations of values that cannot be built, or that train nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainables.config.sections import TRANSLATING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trainables.config.sections import Parts, Value


_DRAWING = (
    "tags.encoding", "generator.first_layer", "generator.upsampling", "generator.noise_dim", "generator.embedding_dim",
    "generator.embedding_noise", "generator.final_norm", "generator.final_activation", "generator.oversize",
    "losses.penalty_on_tags", "losses.wrong_tags", "losses.wrong_tag_weight",
)  # fmt: skip
_UNUSED = {
    "cyclegan": (*_DRAWING, "losses.tag_weight", "losses.tag_loss_on_fakes"),
    "stargan": (*_DRAWING, "training.pool_size"),
}
"""Parameters that each translating system does not use."""
R3GAN_PARTS: dict[str, dict[str, Value]] = {
    "generator": {"norm": "none", "dropout": 0.0, "bias": False},
    "discriminator": {
        "norm": "none", "dropout": 0.0, "bias": False, "activation": "leaky_relu", "spectral_norm": False,
    },
}  # fmt: skip
"""Values without which the architecture ``r3gan`` cannot be built."""


SIGNED = ("bce", "hinge", "relativistic")
"""Losses under which the sign of a discriminator's score says real or generated."""


def find_faults(config: Parts, standard: Mapping[str, Value]) -> Iterator[str]:
    """Yield one line for each combination of values that cannot be built.

    Args:
        config: the configuration.
        standard: the default of every parameter.
    """
    for checks in (
        _find_foreign(config, standard),
        _find_misfits(config),
        _find_unadaptable(config),
        _find_impossible(config),
    ):
        yield from (complaint for broken, complaint in checks if broken)


def _find_foreign(config: Parts, standard: Mapping[str, Value]) -> Iterator[tuple[bool, str]]:
    """Yield checks for parts of drawing systems in a translating one, and the reverse."""
    own, params = TRANSLATING.get(config.system, {}), config.to_params()
    for name, wanted in own.items():
        yield params[name] != wanted, f"{name} is {params[name]!r} with system {config.system!r}; use {wanted!r}"
    for name in _UNUSED.get(config.system, ()):
        yield (
            params[name] != standard[name],
            f"{name} is {params[name]!r} with system {config.system!r}, which does not use it; leave it at "
            f"{standard[name]!r}",
        )
    yield (
        config.translates and config.generator.norm == "conditional_batch",
        f"generator.norm is 'conditional_batch' with system {config.system!r}, which draws from no code; use batch, "
        "instance, layer or none",
    )
    for name in TRANSLATING["cyclegan"] if not own else ():
        yield (
            params[name] in ("resnet", "direction", "patch", "domain"),
            f"{name} is {params[name]!r} with system {config.system!r}; it is for {' and '.join(TRANSLATING)}",
        )


def _find_misfits(config: Parts) -> Iterator[tuple[bool, str]]:
    """Yield checks for settings that a network's architecture does not have."""
    for part, network in (("generator", config.generator), ("discriminator", config.discriminator)):
        r3gan = network.architecture == "r3gan"
        for name, wanted in R3GAN_PARTS[part].items() if r3gan else ():
            value = getattr(network, name)
            yield value != wanted, f"{part}.{name} is {value!r} with {part}.architecture 'r3gan'; use {wanted!r}"
        yield (
            r3gan and network.max_width < network.width,
            f"{part}.max_width is {network.max_width} with {part}.width {network.width}; use at least the width",
        )
        yield (
            network.init == "residual" and not r3gan,
            f"{part}.init is 'residual' with {part}.architecture {network.architecture!r}; it is for r3gan: use "
            "normal or lecun",
        )


def _find_unadaptable(config: Parts) -> Iterator[tuple[bool, str]]:
    """Yield checks for an augmentation that adapts to overfitting without what it needs."""
    losses = config.losses
    for broken, setting, remedy in (
        (not config.training.diff_augment, "training.diff_augment false", "diff_augment true"),
        (config.training.augment_schedule != "constant", "a schedule of its own", "training.augment_schedule constant"),
        (
            losses.adversarial not in SIGNED,
            f"losses.adversarial {losses.adversarial!r}, whose scores have no zero between real and generated images",
            f"{', '.join(SIGNED[:-1])} or {SIGNED[-1]}",
        ),
    ):
        yield (
            config.training.augment_target > 0 and broken,
            f"training.augment_target is {config.training.augment_target:g} with {setting}; use {remedy}, or "
            "augment_target 0",
        )


def _find_impossible(config: Parts) -> Iterator[tuple[bool, str]]:
    losses, critic = config.losses, config.discriminator
    yield (
        losses.adversarial_weight == 0,
        "losses.adversarial_weight is 0; a GAN needs a real/fake loss: use more than 0",
    )
    yield (
        config.conditional == (critic.conditioning == "none"),
        f"generator.conditioning is {config.generator.conditioning!r} and discriminator.conditioning is "
        f"{critic.conditioning!r}; both or neither must be 'none': otherwise tags are drawn but never learnt",
    )
    yield (
        losses.adversarial == "wgan" and losses.penalty != "wgan_gp" and losses.weight_clip == 0,
        f"losses.adversarial is 'wgan' with losses.penalty {losses.penalty!r} and losses.weight_clip 0; a critic "
        "must be held to slope 1: use penalty wgan_gp, or weight_clip 0.01",
    )
    yield (
        losses.labels != "hard" and losses.adversarial in ("wgan", "hinge", "relativistic"),
        f"losses.labels is {losses.labels!r} with losses.adversarial {losses.adversarial!r}, which has no targets; "
        "use labels hard",
    )
    yield (
        config.training.ema_decay > 0 and config.training.ema_halflife > 0,
        f"training.ema_halflife is {config.training.ema_halflife:g} with training.ema_decay "
        f"{config.training.ema_decay:g}; there is one moving average: set one of them to 0",
    )
    yield (
        losses.penalty_on_tags and not (config.tag_inputs and losses.penalty == "wgan_gp"),
        f"losses.penalty_on_tags is true with losses.penalty {losses.penalty!r} and "
        f"discriminator.conditioning {critic.conditioning!r}; it is for "
        "penalty wgan_gp and a discriminator that takes tags as input: concat, map, combo, projection or product",
    )
    yield (
        losses.wrong_tags != "none" and not config.tag_inputs,
        f"losses.wrong_tags is {losses.wrong_tags!r} with discriminator.conditioning {critic.conditioning!r}, "
        "which takes no tags as input; use concat, map, combo, projection or product, or wrong_tags none",
    )
    for broken, setting, remedy in (
        (config.translates, f"system {config.system!r}", "another loss; translated images have no pair"),
        (config.updates.split_discriminator, "updates.split_discriminator true", "updates.split_discriminator false"),
        (losses.wrong_tags != "none", f"losses.wrong_tags {losses.wrong_tags!r}", "losses.wrong_tags none"),
        (config.training.extra_data, "training.extra_data true", "training.extra_data false"),
    ):
        yield (
            losses.adversarial == "relativistic" and broken,
            f"losses.adversarial is 'relativistic' with {setting}; it compares real images with generated ones of "
            f"the same tags in one step: use {remedy}",
        )
    yield (
        config.training.extra_data and config.tags.encoding == "pairs" and config.tag_inputs,
        "training.extra_data is true with tags.encoding 'pairs'; an image with one tag belongs to no pair: use "
        "another encoding, or extra_data false",
    )
