"""System C: matching-aware conditional WGAN-GP.

The report does not give the penalty weight and the D:G ratio; these values are ours. We read the 24th column of its
tag vector as "unknown".
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space

MATCHING_WGAN = Space(
    name="matching_wgan",
    summary="C: matching-aware conditional WGAN-GP, 64x64",
    recipe={
        "system": "matching_wgan",
        "image_size": 64,
        "tags.encoding": "one_hot_unknown",
        "generator.architecture": "matching",
        "generator.conditioning": "code",
        "generator.width": 16,
        "generator.first_layer": "dense",
        "generator.noise_dim": 40,
        "generator.norm": "none",
        "generator.init": "lecun",
        "generator.final_activation": "sigmoid",
        "discriminator.architecture": "matching",
        "discriminator.conditioning": "map",
        "discriminator.width": 64,
        "discriminator.norm": "none",
        "discriminator.activation": "relu",
        "discriminator.dropout": 0.2,
        "discriminator.init": "lecun",
        "losses.adversarial": "wgan",
        "losses.labels": "hard",
        "losses.penalty": "wgan_gp",
        "losses.penalty_on_tags": True,
        "losses.penalty_weight": 10.0,
        "losses.wrong_tags": "data",
        "losses.wrong_tag_weight": 0.5,
        "updates.split_discriminator": False,
        "updates.discriminator_steps": 1,
        "optimizer.generator_lr": 0.0002,
        "optimizer.discriminator_lr": 0.0002,
        "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.9,
    },
    notes={
        "losses.penalty_weight": "ours, after Gulrajani et al. 2017",
        "updates.discriminator_steps": "ours",
        "training.batch_size": "ours",
    },
    dimensions=(
        shared.width("generator", 16, 8, 16, 32),
        shared.width("discriminator", 64, 16, 32, 64),
        choice(
            "losses.adversarial",
            "wgan",
            "bce",
            claim="14a (C) WGAN-GP learns shape and colour faster than plain GAN, breaks less, tolerates structure",
        ),
        choice(
            "losses.penalty_on_tags",
            True,
            False,
            claim="14a (C) the penalty's gradient with respect to image and tags, or the image alone",
        ),
        Dimension(
            "losses.penalty_weight", 10.0, low=1.0, high=100.0, log=True, claim="ours: lambda is not in the report"
        ),
        *shared.initialisation("lecun"),
        choice(
            "generator.first_layer",
            "dense",
            "convolution",
            claim="16 (C) Dense first: no grid, more detail late, colours later; valid convolution first: the reverse",
        ),
        choice("generator.final_activation", "sigmoid", "tanh", claim="ours: C's pixel range [0, 1] against [-1, 1]"),
        choice("losses.wrong_tags", "data", "balanced", claim="17 (D) Balanced wrong tags beat data-drawn ones"),
        choice("discriminator.dropout", 0.2, 0.0, claim="ours: C's alpha dropout"),
        shared.critic_norm("none"),
        *shared.update_ratio(),
        *shared.learning_rates(2e-4, 2e-4),
        *shared.augmentation(),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
