"""System F: conditional DCGAN on the combinations of tags that occur in the data.

Everything is the report's. On other data the table of combinations is built from the data, in order of appearance.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Space

COMBO_DCGAN = Space(
    name="combo_dcgan",
    summary="F: conditional DCGAN on 119 hair/eye combinations, 64x64",
    recipe={
        "system": "combo_dcgan",
        "image_size": 64,
        "generator.architecture": "dcgan",
        "generator.conditioning": "code",
        "generator.width": 64,
        "generator.noise_dim": 100,
        "generator.norm_momentum": 0.1,
        "generator.bias": False,
        "generator.final_activation": "tanh",
        "discriminator.architecture": "dcgan",
        "discriminator.conditioning": "combo",
        "discriminator.width": 64,
        "discriminator.norm_momentum": 0.1,
        "discriminator.bias": False,
        "losses.labels": "hard",
        "updates.split_discriminator": False,
        "training.batch_size": 64,
        "tags.encoding": "pairs",
        "optimizer.generator_lr": 2e-05,
        "optimizer.discriminator_lr": 2e-05,
        "optimizer.beta1": 0.5,
        "optimizer.beta2": 0.999,
    },
    notes={},
    dimensions=(
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice("tags.encoding", "pairs", "one_hot", claim="22 (F) ours: a place per combination against one per tag"),
        choice(
            "discriminator.conditioning",
            "combo",
            "map",
            "concat",
            "projection",
            claim="18 (D) Concatenating tags to dense features avoids the collapse that expanding them causes",
        ),
        choice("losses.wrong_tags", "none", "balanced", "data", claim="17 (D) F has no wrong-tag term"),
        *shared.update_ratio(),
        *shared.learning_rates(2e-5, 2e-5),
        *shared.augmentation(),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
