"""System G: unconditional WGAN-GP.

One alpha per picture is ours; the report's code draws one per picture row. E's batch norm stays in the critic:
Gulrajani et al. advise against it, so it is a dimension. LSGAN and weight clipping are the assignment's other options.
"""

from search_spaces import dimensions as shared
from search_spaces.dimensions import choice
from search_spaces.space import Dimension, Space

WGAN_GP = Space(
    name="wgan_gp",
    summary="G: unconditional WGAN-GP on the networks of E, 64x64",
    recipe={
        "system": "wgan_gp",
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
        "losses.adversarial": "wgan",
        "losses.penalty": "wgan_gp",
        "losses.penalty_weight": 10.0,
        "optimizer.name": "rmsprop",
        "optimizer.generator_lr": 0.0002,
        "optimizer.discriminator_lr": 0.0002,
    },
    notes={},
    dimensions=(
        shared.width("generator", 64, 16, 32, 64),
        shared.width("discriminator", 64, 16, 32, 64),
        choice("losses.adversarial", "wgan", "lsgan", "hinge", claim="14b (G) Good after one epoch, then collapses"),
        choice(
            "losses.penalty",
            "wgan_gp",
            "none",
            "dragan",
            "r1",
            claim=shared.PENALTY,
            when={"losses.adversarial": ("lsgan", "hinge")},
        ),
        Dimension(
            "losses.penalty_weight",
            10.0,
            low=1.0,
            high=100.0,
            log=True,
            claim="14b (G)",
            when={"losses.penalty": shared.SLOPED},
        ),
        choice(
            "losses.weight_clip",
            0.0,
            0.01,
            claim="14b (G) weight clipping, the assignment's other option",
            when={"losses.adversarial": ("wgan",)},
        ),
        shared.critic_norm(),
        choice("updates.discriminator_steps", 1, 3, 5, claim="9b (E) Three D steps per G step: better, steadier"),
        choice("optimizer.name", "rmsprop", "adam", claim="ours: G's RMSprop against Adam"),
        *shared.learning_rates(2e-4, 2e-4),
        *shared.augmentation(),
        shared.averaging(),
    ),
)
"""The report's recipe and the space of its tricks."""
