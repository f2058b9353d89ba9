"""System E: unconditional DCGAN.

All values are from the report. Its noisy targets are clamped to 1: above it the cross-entropy has no lower bound.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Space

DCGAN = Space(
    name="dcgan",
    summary="E: unconditional DCGAN, 64x64",
    recipe={
        "system": "dcgan",
        "image_size": 64,
        "generator.architecture": "dcgan",
        "generator.conditioning": "none",
        "generator.width": 64,
        "generator.noise_dim": 100,
        "generator.norm_momentum": 0.1,
        "generator.bias": False,
        "generator.final_activation": "tanh",
        "discriminator.architecture": "dcgan",
        "discriminator.conditioning": "none",
        "discriminator.width": 64,
        "discriminator.norm_momentum": 0.1,
        "discriminator.bias": False,
        "losses.labels": "hard",
        "updates.split_discriminator": False,
        "training.batch_size": 64,
        "optimizer.generator_lr": 2e-05,
        "optimizer.discriminator_lr": 2e-05,
        "optimizer.beta1": 0.5,
        "optimizer.beta2": 0.999,
    },
    notes={},
    dimensions=(
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice(
            "losses.labels",
            "hard",
            "noisy",
            "soft",
            claim="8 (E) Noisy labels: faster, less collapse, more oscillation",
        ),
        choice("updates.discriminator_steps", 1, 3, claim="9b (E) Three D steps per G step: better, steadier"),
        choice("generator.dropout", 0.0, 0.5, claim="20 (E) Dropout in G hurts"),
        *shared.learning_rates(2e-5, 2e-5),
        choice("discriminator.spectral_norm", False, True, claim=shared.PENALTY),
        *shared.initialisation("normal"),
        *shared.augmentation(),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
