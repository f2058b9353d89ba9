"""System D: conditional DCGAN with wrong-tag discrimination.

The report does not give widths and betas; these values are ours, as is the reading that the last two of its 25 tag
columns stand for "none" of each kind.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Space

CDCGAN = Space(
    name="cdcgan",
    summary="D: conditional DCGAN with wrong-tag discrimination, 64x64",
    recipe={
        "system": "cdcgan",
        "image_size": 64,
        "tags.encoding": "one_hot_none",
        "generator.architecture": "dense",
        "generator.conditioning": "code",
        "generator.width": 64,
        "generator.noise_dim": 100,
        "generator.norm_momentum": 0.1,
        "generator.final_activation": "tanh",
        "discriminator.architecture": "dcgan",
        "discriminator.conditioning": "concat",
        "discriminator.width": 64,
        "discriminator.activation": "relu",
        "discriminator.norm_momentum": 0.1,
        "losses.labels": "hard",
        "losses.wrong_tags": "balanced",
        "losses.wrong_tag_weight": 0.5,
        "updates.split_discriminator": False,
        "optimizer.generator_lr": 0.0002,
        "optimizer.discriminator_lr": 0.0002,
        "optimizer.beta1": 0.5,
        "training.batch_size": 64,
    },
    notes={
        "generator.width": "ours",
        "discriminator.width": "ours",
        "optimizer.beta1": "ours",
        "losses.wrong_tag_weight": "ours",
    },
    dimensions=(
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice(
            "losses.wrong_tags", "balanced", "data", "none", claim="17 (D) Balanced wrong tags beat data-drawn ones"
        ),
        shared.wrong_tag_weight(),
        choice(
            "discriminator.conditioning",
            "concat",
            "map",
            "projection",
            claim="18 (D) Concatenating tags to dense features avoids the collapse that expanding them causes",
        ),
        *shared.update_ratio(),
        *shared.learning_rates(2e-4, 2e-4),
        choice("training.extra_data", False, True, claim="11 (A) Masked extra data changes little"),
        choice("discriminator.spectral_norm", False, True, claim=shared.PENALTY),
        choice("losses.labels", "hard", "soft", "noisy", claim="8 (A, E) Soft and noisy labels"),
        *shared.augmentation(),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
